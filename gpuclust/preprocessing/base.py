"""What the preprocessors share: they are fitted by folds over rows of any kind, and change rows where they are."""

from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from numbers import Integral
from typing import Any, ClassVar

import numpy as np
import scipy.sparse as sp
from sklearn.base import TransformerMixin
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import check_array, check_is_fitted, validate_data

from ..backends.base import Array, Backend
from ..backends.select import select
from ..config import get_config
from ..data.collection import applied, dtype_of, is_collection
from ..data.columns import wrong_columns_told
from ..data.mapped import Rule
from ..data.readers import float_type
from ..data.source import Source
from ..data.stream import Stream, opened
from ..profiling.rows import device_at
from ..validation import dtypes, is_stream, on_device, open_source

DEVICE: dict[str, list[Any]] = {
    "device": [str, list, tuple],
    "chunk_size": [None, Interval(Integral, 1, None, closed="left")],
}
_ALLOWED: dict[str, Any] = {"force_writeable": True, "ensure_all_finite": "allow-nan"}


@dataclass(frozen=True)
class Step:
    """What is done to rows: `function(xp, X, *tables)` of a copy X, whose module is `xp`; tables f64 or i64 [d]."""

    function: Callable[..., Array]
    tables: tuple[np.ndarray | None, ...]
    n_features: int  # of what comes out

    def typed(self, dtype: Any) -> list[np.ndarray | None]:
        """The tables in the rows' dtype; indices as they are."""
        return [t if t is None or t.dtype.kind == "i" else np.ascontiguousarray(t, dtype) for t in self.tables]

    def __call__(self, X: np.ndarray) -> np.ndarray:
        return self.in_place(np.array(X))

    def in_place(self, X: np.ndarray) -> np.ndarray:
        out: np.ndarray = self.function(np, X, *self.typed(X.dtype))
        return out


class Streamed:
    """Mixed in before one of scikit-learn's classes (or one that transforms as those do): adds rows that are read in
    chunks, which come out as a stream that is read anew at every pass, and rows on a GPU, which stay there.
    """

    _twin: ClassVar[type | None] = None  # scikit-learn's class
    n_features_in_: int

    def _forward(self) -> Step:
        raise NotImplementedError

    def _backward(self) -> Step:
        raise NotImplementedError

    def transform(self, X: Any, copy: bool | None = None) -> Any:
        """Transform X.

        Parameters
        ----------
        X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        copy : bool, optional
            In place of the parameter `copy`. False: in place, where X allows it.

        Returns
        -------
        X_out : as X
            An array of X's dtype (float64 for integers), where X is; of a stream or path a `gpuclust.stream` that
            transforms rows as they are read; of a dask collection a lazy dask array. NaN stays NaN.
        """
        if elsewhere(X):
            return self._transformed(X, self._forward, "transform")
        with wrong_columns_told(X):
            out = super().transform(X, **_given(copy))  # type: ignore[misc]
        widened = type(out) is np.ndarray and out.dtype == np.float64 and dtypes(X) is np.float32
        return out.astype(np.float32) if widened else out  # scikit-learn asks some frames for an array first

    def inverse_transform(self, X: Any, copy: bool | None = None) -> Any:
        """Undo `transform`.

        Parameters
        ----------
        X : array-like, sparse CSR, stream or path of shape (n_samples, n_features)
        copy : bool, optional
            As in `transform`.

        Returns
        -------
        X_original : as X
        """
        if elsewhere(X):
            return self._transformed(X, self._backward, "inverse_transform")
        with wrong_columns_told(X):
            return super().inverse_transform(X, **_given(copy))  # type: ignore[misc]

    def to_sklearn(self) -> Any:
        """The fitted scikit-learn twin: same parameters, same fitted attributes."""
        check_is_fitted(self)
        assert self._twin is not None
        names = self._twin().get_params()
        state = {key: deepcopy(value) for key, value in vars(self).items() if key not in DEVICE}
        twin = self._twin(**{name: state.pop(name) for name in names})
        vars(twin).update(state)
        return twin

    def _open(self, X: Any, sample_weight: Any = None) -> Source:
        """X as a source for a fit; infinity is left to the fold to find in streams and on GPUs."""
        device = device_at(X, self.device)  # type: ignore[attr-defined]
        chunk_size = self.chunk_size  # type: ignore[attr-defined]
        return open_source(self, X, sample_weight, device, reset=True, chunk_size=chunk_size, finite="allow-nan")

    def _open_dense(self, X: Any) -> Source:
        """As `_open`, where sparse rows make no sense.

        Raises
        ------
        TypeError
            If X is sparse.
        """
        if sp.issparse(X):
            name = type(self).__name__
            raise TypeError(f"Sparse data was passed, but {name} needs dense rows. Use X.toarray() to make it dense.")
        return self._open(X)

    def _transformed(self, X: Any, step: Callable[[], Step], method: str) -> Any:
        """Rows of a stream, of a collection or on a GPU."""
        check_is_fitted(self)
        if is_collection(X):
            device = self.device if self.device != "auto" else get_config().device  # type: ignore[attr-defined]
            return applied(getattr(self, method), X, dtype_of(X), step().n_features, stays=device != "cpu")
        if is_stream(X):
            return lazily(self, X, step())
        backend = select(self.device).backend  # type: ignore[attr-defined]
        made, rows = step(), _device_rows(X, backend, self.n_features_in_)
        return backend.mapped(rows, made.function, made.typed(rows.dtype))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()  # type: ignore[misc]
        tags.array_api_support = False
        tags.transformer_tags.preserves_dtype = ["float64", "float32"]
        return tags


class Here(TransformerMixin):
    """Dense rows in the host's memory, by the same arithmetic as all others; CSR rows by scikit-learn's."""

    def transform(self, X: Any, copy: bool | None = None) -> Any:
        check_is_fitted(self)
        if sp.issparse(X):
            return super().transform(X)
        X = validate_data(self, X, copy=self._copies(copy), dtype=dtypes(X), reset=False, **_ALLOWED)
        return self._forward().in_place(X)

    def inverse_transform(self, X: Any, copy: bool | None = None) -> Any:
        check_is_fitted(self)
        if sp.issparse(X):
            return super().inverse_transform(X)
        X = check_array(X, copy=self._copies(copy), dtype=dtypes(X), **_ALLOWED)
        return self._backward().in_place(X)

    def _copies(self, copy: bool | None) -> bool:
        return bool(self.copy if copy is None else copy)


def _given(copy: bool | None) -> dict[str, bool]:
    """The argument `copy` for classes that have it."""
    return {} if copy is None else {"copy": copy}


def elsewhere(X: Any) -> bool:
    """Whether rows are not simply in the host's memory."""
    return is_stream(X) or is_collection(X) or on_device(X) is not None


def _device_rows(X: Any, backend: Backend, n_features: int) -> Array:
    """Rows of a GPU as float32 or float64, on the backend's device.

    Raises
    ------
    ValueError
        If X is not 2-D, or of another width.
    """
    X = on_device(X)
    if X.ndim != 2:
        raise ValueError(f"Expected 2D array, got {X.ndim}D array instead.")
    if X.shape[1] != n_features:
        raise ValueError(f"X has {X.shape[1]} features, but {n_features} features are expected as input.")
    return backend.upload(X.get() if backend.name == "cpu" else X, float_type(X.dtype))


def lazily(estimator: Any, X: Any, step: Step) -> Stream:
    """A stream of X's rows after the step."""
    return opened(X).mapped(Rule(step, step.n_features, estimator.n_features_in_))


def restoring_scale(scale: np.ndarray, constant: np.ndarray) -> np.ndarray:
    """Divisors: 1 where a feature is constant, so that it becomes 0 and not NaN."""
    return np.where(constant, np.ones((), scale.dtype), scale)


