"""Rows and labels to draw: all of them, or a sample that the plot states."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp
from sklearn.utils.random import sample_without_replacement
from sklearn.utils.validation import check_is_fitted

from ..data.source import Source
from ..validation import Reader, feature_names_of, open_source

CHUNK_ROWS = 1 << 17


@dataclass(frozen=True)
class Rows:
    """Some rows X [m, d] (dense, or CSR where the data are) out of `n_rows`, and their labels."""

    X: Any
    index: np.ndarray  # i64 [m], ascending
    n_rows: int
    names: list[str]  # of the features

    @property
    def note(self) -> str:
        return sample_note(len(self.index), self.n_rows)

    def column(self, feature: Any) -> tuple[np.ndarray, str]:
        """The values f64 [m] and the name of a feature, by name or number.

        Raises
        ------
        ValueError
            If there is no such feature.
        """
        at = self.position(feature)
        values = self.X[:, [at]]
        dense = values.toarray() if sp.issparse(values) else values
        return dense[:, 0].astype(np.float64), self.names[at]

    def position(self, feature: Any) -> int:
        """The number of a feature, by name or number."""
        if isinstance(feature, str):
            if feature not in self.names:
                raise ValueError(f"There is no feature {feature!r}; the features are {', '.join(self.names[:20])}.")
            return self.names.index(feature)
        if not 0 <= feature < len(self.names):
            raise ValueError(f"There is no feature {feature}; there are features 0 to {len(self.names) - 1}.")
        return int(feature)


def sample_note(drawn: int, n_rows: int) -> str:
    """What a title says about a sample; nothing where all rows are drawn."""
    return "" if drawn == n_rows else f"a random sample of {drawn:,} of {n_rows:,} rows"


def opened(X: Any) -> tuple[Source, list[str]]:
    """X as a source in chunks, on the device that it lives on, and the names of its features."""
    host = not hasattr(X, "__cuda_array_interface__")
    reader = Reader()
    source = open_source(reader, X, None, "cpu" if host else "auto", reset=True, chunk_size=CHUNK_ROWS)
    return source, feature_names_of(reader, source.n_features)


def draw(X: Any, most: int | None, random_state: Any, feature_names: Sequence[Any] | None = None) -> Rows:
    """At most `most` rows of X, drawn without replacement; None: all."""
    source, names = opened(X)
    n = source.n_rows
    if most is not None and most < n:
        index = np.sort(sample_without_replacement(n, most, random_state=random_state)).astype(np.int64)
    else:
        index = np.arange(n)
    rows, _ = source.gather(index)
    return Rows(rows if sp.issparse(rows) else source.backend.to_host(rows), index, n, named(feature_names, names))


def taken(X: Any, index: np.ndarray) -> Any:
    """Rows of X by number, in the order asked for, on the host."""
    source, _ = opened(X)
    return source.backend.to_host(source.gather(index)[0])


def named(given: Sequence[Any] | None, found: list[str]) -> list[str]:
    """The names that the caller gave, if any.

    Raises
    ------
    ValueError
        If they are too many or too few.
    """
    if given is None:
        return found
    if len(given) != len(found):
        raise ValueError(f"feature_names has {len(given)} names, but X has {len(found)} features.")
    return [str(name) for name in given]


def names_of(estimator: Any, feature_names: Sequence[Any] | None) -> Sequence[Any] | None:
    """The names that the caller gave, or those that the estimator saw."""
    return getattr(estimator, "feature_names_in_", None) if feature_names is None else feature_names


def centers_of(estimator: Any) -> np.ndarray:
    """The centres of a fitted estimator, f64 [k, d].

    Raises
    ------
    NotFittedError
        If it has none.
    """
    check_is_fitted(estimator, "cluster_centers_")
    return np.asarray(estimator.cluster_centers_, np.float64)


def predicted(estimator: Any, X: Any) -> np.ndarray:
    """Labels of X on the host; rows that were drawn carry no names for scikit-learn to compare."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X (does not have valid|has) feature names", UserWarning)
        return on_host(estimator.predict(X))


def on_host(array: Any) -> np.ndarray:
    return np.asarray(array.get() if hasattr(array, "__cuda_array_interface__") else array)


def matching(labels: Any, n_rows: int) -> np.ndarray:
    """Labels [n] on the host.

    Raises
    ------
    ValueError
        If they are not one for each row.
    """
    labels = on_host(labels)
    if labels.shape != (n_rows,):
        raise ValueError(f"labels has shape {labels.shape}, but X has {n_rows} rows: give one label a row.")
    return labels


def counted(labels: np.ndarray, k: int) -> np.ndarray:
    """Rows by label i32 [n], in blocks: bincount widens labels to int64. i64 [k]."""
    parts = range(0, len(labels), CHUNK_ROWS)
    return np.sum([np.bincount(labels[start : start + CHUNK_ROWS], minlength=k) for start in parts], axis=0)


def coded(labels: np.ndarray, clusters: np.ndarray) -> np.ndarray:
    """The place of each label among the clusters, which are in ascending order. i64 [m]."""
    return np.searchsorted(clusters, labels)
