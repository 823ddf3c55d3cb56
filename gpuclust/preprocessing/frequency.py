"""FrequencyEncoder: a category becomes the share of the rows that have it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, OneToOneFeatureMixin, TransformerMixin, _fit_context
from sklearn.utils.validation import check_is_fitted, validate_data

from ..data.columns import decoded


class FrequencyEncoder(OneToOneFeatureMixin, TransformerMixin, BaseEstimator):
    """Strings and other categories as the share of the training rows that have the same value.

    For categories of which there are too many for a column each. Missing values (None, NaN, pandas.NA) are one
    category. Two categories that are equally frequent get the same code.

    Parameters
    ----------
    unknown_value : float, default=0.0
        For categories that the fit did not see.
    dtype : {numpy.float64, numpy.float32}, default=numpy.float64
        Of what `transform` returns.

    Attributes
    ----------
    categories_ : list of arrays
        The values of each feature, sorted; a missing one is last, as None.
    frequencies_ : list of float64 arrays
        Their shares.
    n_features_in_, feature_names_in_

    Examples
    --------
    >>> from gpuclust.preprocessing import FrequencyEncoder
    >>> FrequencyEncoder().fit([["a"], ["b"], ["a"], ["a"]]).transform([["a"], ["b"], ["c"]]).ravel().tolist()
    [0.75, 0.25, 0.0]
    """

    _parameter_constraints: ClassVar[dict[str, Any]] = {"unknown_value": [float, int], "dtype": "no_validation"}

    def __init__(self, *, unknown_value: float = 0.0, dtype: Any = np.float64):
        self.unknown_value = unknown_value
        self.dtype = dtype

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any = None) -> Self:
        """Count the categories of every feature.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)
        y : ignored

        Returns
        -------
        self
        """
        rows = self._checked(X, reset=True)
        return self.fit_counts(counted(rows), len(rows))

    def fit_counts(self, counts: Sequence[Counter[Any]], n_rows: int) -> Self:
        """As `fit`, of what `counted` found in several parts of the rows, added up. Names are the caller's to set."""
        self.categories_ = [_sorted(each) for each in counts]
        self.frequencies_ = [
            np.array([each[value] for value in values.tolist()], np.float64) / n_rows
            for each, values in zip(counts, self.categories_, strict=True)
        ]
        self.n_features_in_ = len(counts)
        return self

    def transform(self, X: Any) -> Any:
        """The shares of X's categories.

        Parameters
        ----------
        X : array-like or DataFrame of shape (n_samples, n_features)

        Returns
        -------
        X_out : array of shape (n_samples, n_features)

        Raises
        ------
        NotFittedError
            If `fit` was not called.
        """
        check_is_fitted(self)
        rows = self._checked(X, reset=False)
        out = np.empty(rows.shape, self.dtype)
        for f, (values, shares) in enumerate(zip(self.categories_, self.frequencies_, strict=True)):
            table = dict(zip(values.tolist(), shares.tolist(), strict=True))
            out[:, f] = [table.get(value, self.unknown_value) for value in plain(rows[:, f])]
        return out

    def to_sklearn(self) -> Any:
        """Raises NotImplementedError: scikit-learn has no such class."""
        raise NotImplementedError(
            "scikit-learn has no frequency encoder: use its OneHotEncoder, or TargetEncoder where there is a target, or"
            " keep this one as a step of its Pipeline."
        )

    def _checked(self, X: Any, *, reset: bool) -> np.ndarray:
        X = decoded(X)
        listed = isinstance(X, (list, tuple))  # text beside numbers would all become text
        dtype = object if listed and np.asarray(X).dtype.kind == "U" else None
        rows: np.ndarray = validate_data(self, X, dtype=dtype, ensure_all_finite=False, reset=reset)
        return rows

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = tags.input_tags.categorical = tags.input_tags.string = True
        tags.transformer_tags.preserves_dtype = []
        return tags


def counted(rows: np.ndarray) -> list[Counter[Any]]:
    """How often each value occurs, feature by feature."""
    return [Counter(plain(rows[:, f])) for f in range(rows.shape[1])]


def plain(column: np.ndarray) -> list[Any]:
    """The values as Python's own, missing ones as None."""
    if column.dtype.kind not in "fO":
        return column.tolist()
    absent = getattr(sys.modules.get("pandas"), "NA", None)
    return [None if value is absent or value != value else value for value in column.tolist()]


def _sorted(counts: Counter[Any]) -> np.ndarray:
    """The categories, ascending where they can be compared, a missing one last."""
    values = [value for value in counts if value is not None]
    try:
        values.sort()
    except TypeError:  # of several types
        values.sort(key=lambda value: (type(value).__name__, str(value)))
    kinds = {type(value) for value in values}
    alike = None not in counts and len(kinds) == 1 and kinds <= {bool, int, float}
    out = np.empty(len(counts), kinds.pop() if alike else object)
    out[:] = [*values, *([None] if None in counts else [])]
    return out
