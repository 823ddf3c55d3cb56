"""Are the clusters there again in other runs and other samples."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from numbers import Integral
from typing import Any, Final

import numpy as np

from ..estimators.lloyd import LloydEstimator
from ..estimators.online import OnlineEstimator
from ..estimators.start import check_init, first_centers, starts
from ..extras import require
from ..metrics import adjusted_rand_score
from ..solvers.nearest import label
from ..solvers.scan import scan
from .alignment import contingency
from .sweep import Opened, Tell, batch_model, check_estimator, open_rows, run, seeds_of

METHODS: Final = ("seeds", "bootstrap", "half")
RECOVERED, DISSOLVED = 0.75, 0.5
# mean Jaccard similarity from which on, and what that means (Hennig; the thresholds of `clusterboot` in R's fpc)
VERDICTS: Final = (
    (0.85, "highly stable"),
    (0.75, "stable"),
    (0.6, "a pattern, but which rows belong to it is doubtful"),
    (0.5, "not to be trusted"),
    (0.0, "dissolved: mostly something else is found in its place"),
)


@dataclass(frozen=True, eq=False)
class Stability:
    """How far other runs find the same clusters.

    Attributes
    ----------
    method : {'seeds', 'bootstrap', 'half'}
    ari : float64 ndarray of shape (n_runs * (n_runs - 1) / 2,)
        Adjusted Rand index of every two runs on all rows, in the order (0, 1), (0, 2), ..., (1, 2), ...
    jaccard : float64 ndarray of shape (n_clusters,)
        By cluster of the reference: mean over the runs of `jaccard_runs`.
    jaccard_runs : float64 ndarray of shape (n_runs, n_clusters)
        Jaccard similarity of the reference's cluster and the most similar one of the run; NaN where none of the
        cluster's rows was drawn.
    sizes : int64 ndarray of shape (n_clusters,)
        Rows of the reference's clusters.
    centers : float64 ndarray of shape (n_clusters, n_features)
        Of the reference.
    verdicts : list of str
        A sentence for each cluster.
    summary : str
    table : DataFrame
    """

    method: str
    ari: np.ndarray
    jaccard: np.ndarray
    jaccard_runs: np.ndarray
    sizes: np.ndarray
    centers: np.ndarray

    @property
    def verdicts(self) -> list[str]:
        """A sentence for each cluster."""
        runs = len(self.jaccard_runs)
        again = np.sum(self.jaccard_runs >= RECOVERED, axis=0)
        return [
            f"Cluster {j} ({self.sizes[j]:,} rows) is {word(value)}: mean Jaccard similarity {value:.2f},"
            f" found again in {again[j]} of {runs} runs."
            for j, value in enumerate(self.jaccard)
        ]

    @property
    def summary(self) -> str:
        """One sentence about all clusters."""
        low, middle, high = np.percentile(self.ari, (5, 50, 95))
        stable = int(np.sum(self.jaccard >= RECOVERED))
        return (
            f"{len(self.jaccard_runs)} runs ({self.method}): adjusted Rand index of two runs {middle:.2f}"
            f" ({low:.2f} to {high:.2f}); {stable} of {len(self.jaccard)} clusters are stable."
        )

    @property
    def table(self) -> Any:
        """DataFrame by cluster: rows, share, mean and standard deviation of the Jaccard similarity, share of the runs
        in which it was found again (0.75 or more) or dissolved (0.5 or less), verdict."""
        pd = require("pandas", "The table")
        return pd.DataFrame(
            {
                "rows": self.sizes,
                "share": self.sizes / self.sizes.sum(),
                "jaccard": self.jaccard,
                "jaccard_std": pd.DataFrame(self.jaccard_runs).std(ddof=0).to_numpy(),  # quiet where no run drew a row
                "recovered": np.mean(self.jaccard_runs >= RECOVERED, axis=0),
                "dissolved": np.mean(self.jaccard_runs <= DISSOLVED, axis=0),
                "verdict": [word(value) for value in self.jaccard],
            },
            index=pd.RangeIndex(len(self.sizes), name="cluster"),
        )

    def plot(self, *, kind: str | None = None, ax: Any = None) -> Any:
        """The Jaccard similarities by cluster (`kind='jaccard'`) or the agreement of the runs ('ari').

        Returns
        -------
        StabilityDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        from ..plotting import StabilityDisplay

        return StabilityDisplay.from_result(self, kind=kind, ax=ax)


def word(jaccard: float) -> str:
    """What a mean Jaccard similarity means."""
    return next((text for least, text in VERDICTS if jaccard >= least), "not comparable: no run drew a row of it")


def stability(
    estimator: Any,
    X: Any,
    *,
    method: str = "seeds",
    n_runs: int = 20,
    sample_weight: Any = None,
    random_state: Any = None,
    progress: Tell | None = None,
) -> Stability:
    """Fit again and again, and see whether the same clusters come out.

    Parameters
    ----------
    estimator : KMeans, KMedians, MiniBatchKMeans or MiniBatchKMedians
        A fitted one is judged as it is: its clusters are the reference. Else the reference is a fit to all rows.
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        Validated and copied to the device once: a sample is a weight for each row.
    method : {'seeds', 'bootstrap', 'half'}, default='seeds'
        What differs between the runs: first centres (and mini-batches) alone; or also the rows, as many as there are,
        drawn with repeats; or half of them, drawn without. 'seeds' tells how sure the search is of its optimum, the
        other two tell whether the clusters are in the data.
    n_runs : int, default=20
    sample_weight : array-like of shape (n_samples,), optional
        Counts for the fits; agreement counts each row of positive weight once.
    random_state : int, RandomState or None, default=None
        Default: that of the estimator.
    progress : callable, optional
        Called with ('run', how many are done, of how many).

    Returns
    -------
    Stability
        `ari` compares every two runs by the labels that their centres give to all rows. `jaccard` compares each run
        with the reference: Jaccard similarity of each cluster and the most similar one of the run, among the rows that
        were drawn, each once (Hennig, "Cluster-wise assessment of cluster stability", Computational Statistics and
        Data Analysis 52, 2007).

    Raises
    ------
    TypeError, ValueError
        If the estimator is none of ours, for parameters of no meaning, and for what `fit` rejects.

    Notes
    -----
    Verdicts by mean Jaccard similarity, after the documentation of `clusterboot` in R's package fpc: 0.85 highly
    stable, 0.75 stable, 0.6 a pattern whose rows are doubtful, below that not to be trusted, below 0.5 dissolved.
    Keeps the labels of all runs: one byte a row and run up to 256 clusters.

    Examples
    --------
    >>> import numpy as np
    >>> from gpuclust import KMeans
    >>> from gpuclust.selection import stability
    >>> X = np.array([[0.0], [0.1], [0.2], [9.0], [9.1], [9.2]])
    >>> print(stability(KMeans(2, random_state=0), X).summary)
    20 runs (seeds): adjusted Rand index of two runs 1.00 (1.00 to 1.00); 2 of 2 clusters are stable.
    """
    _check(estimator, method, n_runs)
    opened = open_rows(estimator, X, sample_weight, estimator.n_clusters)
    seeds = seeds_of(random_state, estimator, n_runs + 1)
    usable, count = _usable(opened)
    if method == "half" and count // 2 < estimator.n_clusters:
        raise ValueError(
            f"Half of {count} rows is fewer than {estimator.n_clusters} clusters: use method='bootstrap', fewer"
            " clusters or more rows."
        )
    centers = _reference(estimator, opened, seeds[0])
    reference, k = _labels(opened, centers)[usable], len(centers)
    labels, similar = [], np.empty((n_runs, k))
    for i, seed in enumerate(seeds[1:]):
        drawn = _drawn(method, count, np.random.default_rng(seed))
        found = _labels(opened, _refit(_reweighted(opened, usable, drawn), seed))[usable]
        labels.append(found)
        rows = slice(None) if drawn is None else drawn > 0
        similar[i] = best_jaccard(contingency(reference[rows], found[rows], k, opened.model.n_clusters))
        if progress is not None:
            progress("run", i + 1, n_runs)
    ari = np.array([adjusted_rand_score(one, other) for one, other in combinations(labels, 2)])
    there = ~np.isnan(similar)
    mean = np.where(there, similar, 0).sum(axis=0) / np.where(there.any(axis=0), there.sum(axis=0), np.nan)
    return Stability(method, ari, mean, similar, np.bincount(reference, minlength=k), centers)


def best_jaccard(table: np.ndarray) -> np.ndarray:
    """By row of a contingency table: the best Jaccard similarity with a column; NaN for rows that are empty."""
    rows, columns = table.sum(axis=1), table.sum(axis=0)
    together = rows[:, None] + columns - table
    share = np.divide(table, together, out=np.zeros(table.shape), where=together > 0)
    return np.where(rows > 0, share.max(axis=1), np.nan)


def _check(estimator: Any, method: str, n_runs: int) -> None:
    check_estimator(estimator)
    if method not in METHODS:
        raise ValueError(f"method={method!r} is none of {', '.join(METHODS)}.")
    if not isinstance(n_runs, Integral) or n_runs < 2:
        raise ValueError(f"n_runs={n_runs!r} must be at least 2: runs are compared with one another.")
    fixed = not isinstance(estimator.init, str) and not callable(estimator.init)
    if method == "seeds" and isinstance(estimator, LloydEstimator) and fixed:
        raise ValueError("method='seeds' with an array for init makes all runs the same: use 'bootstrap' or 'half'.")


def _usable(opened: Opened) -> tuple[np.ndarray | slice, int]:
    """Rows of positive weight, and how many there are."""
    weight = opened.source.host_weight
    if weight is None:
        return slice(None), opened.source.n_rows
    usable = np.flatnonzero(weight)
    return usable, len(usable)


def _drawn(method: str, n: int, random: np.random.Generator) -> np.ndarray | None:
    """How often each of n rows is drawn; None: once."""
    if method == "seeds":
        return None
    if method == "bootstrap":
        return np.bincount(random.integers(0, n, n), minlength=n)
    half = np.zeros(n, np.int64)
    half[random.choice(n, n // 2, replace=False)] = 1
    return half


def _reweighted(opened: Opened, usable: np.ndarray | slice, drawn: np.ndarray | None) -> Opened:
    if drawn is None:
        return opened
    weight = np.zeros(opened.source.n_rows)
    weight[usable] = drawn
    source = opened.source.reweighted(weight)
    return Opened(source, scan(source, opened.model._metric), opened.model)


def _reference(estimator: Any, opened: Opened, seed: int) -> np.ndarray:
    """Centres f64 [k, d] of the clusters that are judged."""
    if not hasattr(estimator, "cluster_centers_"):
        return _refit(opened, seed)
    centers = estimator.cluster_centers_.astype(np.float64)
    if centers.shape[1] != opened.source.n_features:
        raise ValueError(f"X has {opened.source.n_features} features, the fitted estimator {centers.shape[1]}.")
    return centers


def _refit(opened: Opened, seed: int) -> np.ndarray:
    """Centres f64 [k, d] of one fit as the estimator does it."""
    source, frame, model = opened
    if isinstance(model, OnlineEstimator):
        return batch_model(opened, model.n_clusters, seed, False).cluster_centers_.astype(np.float64)
    random_state, init = np.random.RandomState(seed), check_init(model.init, model.n_clusters, source)
    count = starts(init, model.n_init, 10, type(model).__name__)
    found = (
        run(opened, first_centers(source, frame, init, model.n_clusters, random_state)) for _ in range(count)
    )
    return min(found, key=lambda one: one.inertia).centers


def _labels(opened: Opened, centers: np.ndarray) -> np.ndarray:
    """Labels of all rows in as few bytes as hold them."""
    source = opened.source
    label(source, centers, opened.model._metric)
    return source.backend.to_host(source.rows("label")).astype(np.min_scalar_type(len(centers) - 1))
