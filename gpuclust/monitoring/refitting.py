"""A model fitted again to new rows, from where it stands."""

from __future__ import annotations

from copy import copy
from dataclasses import dataclass, field
from typing import Any, Final

import numpy as np
from sklearn.base import clone

from .. import models
from ..errors import DataError
from ..profiling.fitted import metric_of
from ..profiling.rows import listed, pandas
from ..validation import host, is_stream
from .blocks import assign, unnamed
from .summary import TrainingSummary

WARM: Final = {"n_init": 1, "reassignment_ratio": 0.0, "compute_labels": True, "checkpoint": None}


@dataclass(frozen=True, eq=False)
class RefitReport:
    """A model that was fitted again, and what moved; see `refit`.

    Attributes
    ----------
    model : estimator or Pipeline
        Fitted to the new rows. Cluster j continues cluster j of the old model.
    table : DataFrame indexed by cluster
        shift (Euclidean or, for K-Medians, Manhattan distance between the old and the new centre, as the model measures
        it), shift_in_spreads (that, in median distances of a row to its own centre), share_training (NaN without a
        summary), share_before and share_after (of the new rows, under the old centres and under the new ones), left and
        joined (rows), empty (whether no new row was in it before, so that its new place has nothing to do with the old
        one).
    moves : DataFrame indexed by cluster, or None
        New centre minus old centre in the units of X, column by column (a column "name=category" for each category of
        an encoded one); None where a step of the preprocessing has no way back.
    n_rows, n_changed : int
        New rows, and those whose cluster changed.
    spread : float
        The median distance that shifts are told in: of the training rows, or of the new rows without a summary.
    """

    model: Any
    table: Any
    moves: Any
    n_rows: int
    n_changed: int
    spread: float
    labels: np.ndarray = field(repr=False)  # i32 [n]: under the new centres

    @property
    def empty(self) -> list[int]:
        """Clusters that no new row was in."""
        return [int(j) for j in self.table.index[self.table["empty"]]]

    @property
    def sentences(self) -> list[str]:
        """What moved, in words."""
        table = self.table
        far = table["shift_in_spreads"].sort_values(ascending=False, kind="stable")
        share = self.n_changed / self.n_rows
        told = [f"{self.n_changed:,} of {self.n_rows:,} rows ({share:.1%}) changed their cluster."]
        if far.iloc[0] > 0:
            told.append(
                f"The center of cluster {far.index[0]} moved most: by {far.iloc[0]:.2g} times the median distance of a"
                " row to its center."
            )
        if self.empty:
            told.append(
                f"No new row was in cluster {listed(self.empty)}: its center was put elsewhere, or left where it was."
            )
        return told

    def as_dict(self) -> dict[str, Any]:
        """Plain values, for JSON."""
        clusters = self.table.reset_index().to_dict(orient="records")
        return {
            "n_rows": self.n_rows,
            "n_changed": self.n_changed,
            "spread": self.spread,
            "sentences": self.sentences,
            "clusters": [{name: None if value != value else value for name, value in row.items()} for row in clusters],
            "moves": None if self.moves is None else self.moves.reset_index().to_dict(orient="records"),
        }


def refit(
    model: Any, X: Any, *, sample_weight: Any = None, summary: TrainingSummary | None = None,
    refit_preprocessing: bool = False,
) -> RefitReport:  # fmt: skip
    """Fit a model to new rows, starting from its centres, so that its clusters keep their numbers.

    The model that is given stays as it is. Parameters stay the same, but for one fit: `init` is the old centres,
    `n_init` is 1, and mini-batches place no centre anew. A cluster without a new row is an exception: K-Means and
    K-Medians put its centre on a row that is far from the others, as they do in every fit; mini-batches leave it.

    Parameters
    ----------
    model : fitted clustering estimator, or Pipeline that ends in one
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        New rows, as the model is given them: before any preprocessing.
    sample_weight : array-like of shape (n_samples,), optional
    summary : TrainingSummary, optional
        Of the rows that the old model was fitted on, for their shares and distances.
    refit_preprocessing : bool, default=False
        Whether scalers and encoders are fitted to the new rows as well. The clusters then start from the means of the
        new rows that the old model puts in them. Default: as they were, so that distances mean what they did.

    Returns
    -------
    RefitReport

    Raises
    ------
    NotFittedError
        If the model is not fitted.
    ValueError
        For what `fit` rejects; with `refit_preprocessing`, if a cluster has no new row.
    DataError
        With `refit_preprocessing`, if X is streamed; if a file cannot be read.
    ImportError
        If pandas is not installed.
    """
    pandas()
    preprocessor, old = models.parts(model)
    with unnamed():
        X = models.Given(model)(X)
        rows = X if preprocessor is None else preprocessor.transform(X)
        before, distance = assign(old, rows)
        start, fresh = old.cluster_centers_, preprocessor
        if refit_preprocessing and preprocessor is not None:
            fresh, rows, start = _prepared_again(preprocessor, X, before, len(old.cluster_centers_))
        new = _warm(old, start, rows, sample_weight)
    again, after = new if preprocessor is None else _joined(model, fresh, new), host(new.labels_)
    spread = _median(summary, distance)
    table = _table(_shift(old, new, fresh is preprocessor), spread, before, after, summary)
    return RefitReport(again, table, _moves(model, again), len(after), int(np.sum(before != after)), spread, after)


def _warm(old: Any, start: np.ndarray, rows: Any, sample_weight: Any) -> Any:
    """A clone of the estimator, fitted from its centres; its parameters are the old one's afterwards."""
    params = old.get_params(deep=False)
    once = {name: value for name, value in WARM.items() if name in params}
    new = clone(old).set_params(init=np.array(start), **once)
    new.fit(rows, sample_weight=sample_weight)
    new.set_params(**{name: params[name] for name in ("init", *once)})
    names = getattr(old, "feature_names_in_", None)
    if names is not None and not hasattr(new, "feature_names_in_"):
        new.feature_names_in_ = names
    return new


def _prepared_again(preprocessor: Any, X: Any, label: np.ndarray, k: int) -> tuple[Any, Any, np.ndarray]:
    """The preprocessing fitted to X, what it makes of X, and the means of that by label."""
    if is_stream(X):
        raise DataError("Preprocessing is fitted again to rows in memory only; pass an array or a DataFrame.")
    empty = np.flatnonzero(np.bincount(label, minlength=k) == 0)
    if len(empty):
        raise ValueError(
            f"No new row is in cluster {listed(empty.tolist())}, so it has no place under new preprocessing: leave"
            " refit_preprocessing out."
        )
    fresh = clone(preprocessor)
    rows = fresh.fit_transform(X)
    dense = np.asarray(rows.toarray() if hasattr(rows, "toarray") else host(rows), np.float64)
    sums = np.zeros((k, dense.shape[1]))
    np.add.at(sums, label, dense)
    return fresh, rows, (sums / np.bincount(label, minlength=k)[:, None]).astype(dense.dtype)


def _joined(model: Any, preprocessor: Any, estimator: Any) -> Any:
    """A Pipeline like the model's, of other parts."""
    joined = copy(model)
    joined.steps = [*preprocessor.steps, (model.steps[-1][0], estimator)]
    return joined


def _shift(old: Any, new: Any, same: bool) -> np.ndarray:
    """How far the centres moved, f64 [k]; NaN where they are centres in different spaces."""
    if not same:
        return np.full(len(old.cluster_centers_), np.nan)
    away = new.cluster_centers_.astype(np.float64) - old.cluster_centers_.astype(np.float64)
    return np.asarray(np.abs(away).sum(axis=1) if metric_of(old).l1 else np.sqrt(np.square(away).sum(axis=1)))


def _median(summary: TrainingSummary | None, distance: np.ndarray) -> float:
    """The median distance of a row to its centre; 1 where that is 0."""
    if summary is None:
        return float(np.median(distance)) or 1.0
    return float(summary.distances[np.searchsorted(summary.distance_probabilities, 0.5)]) or 1.0


def _table(
    shift: np.ndarray, spread: float, before: np.ndarray, after: np.ndarray, summary: TrainingSummary | None
) -> Any:
    pd, k, moved = pandas(), len(shift), before != after
    one, two, left, joined = (np.bincount(each, minlength=k) for each in (before, after, before[moved], after[moved]))
    columns = {
        "shift": shift,
        "shift_in_spreads": shift / spread,
        "share_training": np.full(k, np.nan) if summary is None else summary.shares,
        "share_before": one / len(before),
        "share_after": two / len(after),
        "left": left,
        "joined": joined,
        "empty": one == 0,
    }
    return pd.DataFrame(columns, index=pd.RangeIndex(k, name="cluster"))


def _moves(model: Any, again: Any) -> Any:
    """New centres minus old ones in the units of the rows; None where there is no way back to them."""
    try:
        old, new = (models.centers_in_input_units(each) for each in (model, again))
    except ValueError:
        return None
    if old.columns != new.columns:
        return None
    pd = pandas()
    index = pd.RangeIndex(len(old.values), name="cluster")
    return pd.DataFrame(new.values - old.values, columns=old.columns, index=index)
