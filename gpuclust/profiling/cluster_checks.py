"""What to look at in clusters after they were made."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np

from ..backends.base import Backend, Centers, Chunk
from ..backends.moments import Moments, of_rows
from .fitted import costs, fitted
from .rows import blocks, host, listed, pandas

AXES: Final = 256  # features, above which principal axes are not computed
OWN, NEXT, COST = range(3)  # what is summed by cluster
SMALL: Final = 0.1  # of an even share
LARGE: Final = 3.0  # even shares
LONG: Final = 5.0  # ratio of the axes of two features; of d, sqrt(d / 2) times as much
CLOSE: Final = 0.8  # ratio of the distances to the own and the next centre
WORSE: Final = 1.1  # ratio of held-out to training loss
SURE: Final = 3.0  # standard errors that they differ by


@dataclass(frozen=True, eq=False)
class ClusterCheck:
    """What was found in the clusters; see `check_clusters`.

    Attributes
    ----------
    table : DataFrame indexed by cluster
    warnings : list of str
        Sentences that say what was found and what to do; empty where nothing was.
    loss_per_row : float
        Squared distance to the own centre, or Manhattan distance for K-Medians, of a row on average.
    held_out_loss_per_row : float
        The same of the held-out rows; NaN without.
    """

    table: Any
    warnings: list[str]
    loss_per_row: float
    held_out_loss_per_row: float


def check_clusters(estimator: Any, X: Any, *, X_held_out: Any = None) -> ClusterCheck:
    """Look at clusters: balance, roundness, distance to the next one, and what held-out rows cost.

    Parameters
    ----------
    estimator : fitted estimator with `cluster_centers_`
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        The rows that it was fitted on.
    X_held_out : as X, optional
        Rows that it was not fitted on.

    Returns
    -------
    ClusterCheck
        Columns of its table: rows, share, axis_ratio (the largest over the smallest standard deviation along the
        cluster's principal axes, to 6 digits: 1 is round, inf is flat; NaN for no more rows than features, and above
        256 features), own_distance and next_distance (of its rows to their own and to the next nearest centre, mean),
        loss_per_row; with `X_held_out`, held_out_rows and held_out_loss_per_row as well.

    Raises
    ------
    NotFittedError
        If `fit` was not called.
    ValueError
        If X or X_held_out has another number of features, or NaN or infinite values.
    DataError
        If a file cannot be read, or a stream comes with weights.
    ImportError
        If pandas is not installed.
    """
    pandas()
    seen = _measured(estimator, X, AXES)
    held = None if X_held_out is None else _measured(estimator, X_held_out, 0)
    table = _table(seen, held)
    warnings = [*_about_sizes(table), *_about_shapes(table, seen.total.shape[1])]
    warnings += [] if held is None else _about_held_out(seen, held)
    return ClusterCheck(table, warnings, seen.loss()[0], np.nan if held is None else held.loss()[0])


@dataclass(frozen=True)
class _Measured:
    """Sums over the rows of each cluster."""

    moments: Moments  # of OWN, NEXT and COST, [k, 3]
    total: np.ndarray  # f64 [k, d]: x - centre
    products: np.ndarray  # f64 [k, d, d] of x - centre

    def merge(self, other: _Measured) -> _Measured:
        return _Measured(
            self.moments.merge(other.moments), self.total + other.total, self.products + other.products
        )  # fmt: skip

    @property
    def rows(self) -> np.ndarray:
        return self.moments.count[:, OWN]

    def mean(self, which: int) -> np.ndarray:
        """f64 [k]; NaN where there is none."""
        with np.errstate(invalid="ignore"):
            return self.moments.total.value()[:, which] / self.moments.count[:, which]

    def loss(self) -> tuple[float, float]:
        """Mean over all rows, and its squared standard error: inf where float64 cannot hold the squares."""
        n = int(self.rows.sum())
        total, square = (part.value()[:, COST].sum() for part in (self.moments.total, self.moments.square))
        with np.errstate(over="ignore", invalid="ignore"):
            error = np.nan_to_num(square / n - (total / n) ** 2, nan=np.inf, posinf=np.inf)
        return float(total / n), max(float(error), 0.0) / n

    def axis_ratio(self) -> np.ndarray:
        """Of the features that vary within a cluster, f64 [k]; inf where they lie in a plane."""
        out, eps = np.full(len(self.rows), np.nan), np.finfo(np.float64).eps
        for j, (n, total, products) in enumerate(zip(self.rows, self.total, self.products, strict=True)):
            if len(products) and n > len(total):
                spread = products - np.outer(total, total) / n
                varies = np.diagonal(spread) > n * eps * np.diagonal(products)
                if not varies.any():
                    continue
                axes = np.linalg.eigvalsh(spread[np.ix_(varies, varies)])
                least, most = axes[0], axes[-1]
                flat = least <= len(axes) * eps * most
                out[j] = np.nan if most <= 0 else np.inf if flat else float(f"{np.sqrt(most / least):.6g}")
        return out


def _measured(estimator: Any, X: Any, most: int) -> _Measured:
    """`most`: features for which products are summed."""
    with fitted(estimator, X) as rows:
        return rows.source.fold(_measure, rows.stage(), rows.source.n_features <= most)


def _measure(backend: Backend, chunk: Chunk, stage: Centers, axes: bool) -> _Measured:
    centers = backend.to_host(stage.given)
    k, d = centers.shape
    parts = []
    for where, rows in blocks(chunk, k):
        label, cost = map(backend.to_host, costs(backend, rows, where.start, stage))
        away = np.array(backend.to_host(backend.distances(rows, centers, np.float64, stage.frame.metric)))
        at = np.arange(len(label))
        own = away[at, label]
        away[at, label] = np.inf  # a single cluster has no next: what is infinite is left out of its moments
        sums = of_rows(np.stack([own, away.min(axis=1), cost], axis=1), label, np.zeros((k, 3)))
        total, products = np.zeros((k, d)), np.zeros((k, d, d) if axes else (k, 0, 0))
        if axes:
            _scatter(host(backend, rows) - centers[label], label, total, products)
        parts.append(_Measured(sums, total, products))
    return reduce(_Measured.merge, parts)


def _scatter(away: np.ndarray, label: np.ndarray, total: np.ndarray, products: np.ndarray) -> None:
    """Sums of rows, and of their products, by label."""
    order = np.argsort(label, kind="stable")
    for j, part in enumerate(np.split(away[order], np.cumsum(np.bincount(label, minlength=len(total)))[:-1])):
        total[j], products[j] = part.sum(axis=0), part.T @ part


def _table(seen: _Measured, held: _Measured | None) -> Any:
    pd = pandas()
    made = {
        "rows": seen.rows, "share": seen.rows / seen.rows.sum(), "axis_ratio": seen.axis_ratio(),
        "own_distance": seen.mean(OWN), "next_distance": seen.mean(NEXT), "loss_per_row": seen.mean(COST),
    }  # fmt: skip
    if held is not None:
        made |= {"held_out_rows": held.rows, "held_out_loss_per_row": held.mean(COST)}
    return pd.DataFrame(made, index=pd.RangeIndex(len(seen.rows), name="cluster"))


def _which(clusters: Any) -> str:
    return f"Cluster{'s' * (len(clusters) > 1)} {listed(clusters)}"


def _about_sizes(table: Any) -> list[str]:
    found, even = [], 1 / len(table)
    empty, share = table.index[table["rows"] == 0], table["share"]
    if len(empty):
        found.append(f"{_which(empty)}: no row belongs there. Use fewer clusters.")
    small = table.index[(table["rows"] > 0) & (share < SMALL * even)]
    if len(small):
        found.append(
            f"{_which(small)}: less than a tenth of an even share of the rows, outliers perhaps. Look at them with"
            " typical_rows, or use fewer clusters."
        )
    if share.max() > max(0.5, LARGE * even):
        found.append(
            f"Cluster {share.idxmax()}: {share.max():.0%} of the rows. The others may be outliers; look at the"
            " features' scales with check_data, or use more clusters."
        )
    return found


def _about_shapes(table: Any, d: int) -> list[str]:
    most = LONG * np.sqrt(d / 2)
    found, long = [], table.index[table["axis_ratio"] > most]
    if len(long):
        found.append(
            f"{_which(long)}: more than {most:.2g} times as long as wide, and centres suit round clusters. Scale the"
            " features, drop those that repeat others (check_data, PCA), or use more clusters."
        )
    close = table.index[table["own_distance"] > CLOSE * table["next_distance"]]
    if len(close):
        found.append(
            f"{_which(close)}: rows are nearly as far from their own centre as from the next, as where a border is"
            " drawn through a cloud of rows. Try fewer clusters, and see whether they are stable."
        )
    return found


def _about_held_out(seen: _Measured, held: _Measured) -> list[str]:
    (loss, error), (other, blur) = seen.loss(), held.loss()
    if not other > max(WORSE * loss, loss + SURE * np.sqrt(error + blur)):
        return []
    return [
        f"Held-out rows lie farther from the centres: a loss of {other:.4g} a row against {loss:.4g}. Clusters follow"
        " their rows too closely, or the held-out rows are others: use fewer clusters or more rows, or look at them."
    ]
