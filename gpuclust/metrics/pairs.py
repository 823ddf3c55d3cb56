"""Agreement of two clusterings by pairs of rows: contingency table, Rand index, also adjusted, Fowlkes-Mallows."""

from __future__ import annotations

from numbers import Real
from typing import Any

import numpy as np
from sklearn.utils._param_validation import Interval, validate_params

from .labels import checked, checked_pair, pair_counts

_PAIR = {"labels_true": ["array-like"], "labels_pred": ["array-like"]}


@validate_params(
    {**_PAIR, "eps": [Interval(Real, 0, None, closed="left"), None], "sparse": ["boolean"], "dtype": "no_validation"},
    prefer_skip_nested_validation=True,
)
def contingency_matrix(
    labels_true: Any, labels_pred: Any, *, eps: float | None = None, sparse: bool = False, dtype: Any = np.int64
) -> Any:
    """How many rows have each pair of labels.

    Parameters
    ----------
    labels_true, labels_pred : array-like of shape (n_samples,)
        Integers, strings or anything else that can be ordered; CuPy arrays are copied to the host.
    eps : float, optional
        Added to every entry, which makes the table float64.
    sparse : bool, default=False
        A CSR matrix instead of an array.
    dtype : numeric type, default=np.int64
        Of the table, unless `eps` is given.

    Returns
    -------
    contingency : array or CSR matrix of shape (n_classes_true, n_classes_pred)
        Rows and columns in the order of the sorted labels.

    Raises
    ------
    ValueError
        If the labels are not one-dimensional or differ in number, or if `eps` is given with `sparse=True`.

    Examples
    --------
    >>> from gpuclust.metrics import contingency_matrix
    >>> contingency_matrix([0, 0, 1, 1, 2, 2], [1, 0, 2, 1, 0, 2])
    array([[1, 1, 0],
           [0, 1, 1],
           [1, 0, 1]])
    """
    if eps is not None and sparse:
        raise ValueError("Cannot set 'eps' when sparse=True")
    true, pred = checked(labels_true, "labels_true"), checked(labels_pred, "labels_pred")
    if len(true) != len(pred):
        raise ValueError(f"Found input variables with inconsistent numbers of samples: [{len(true)}, {len(pred)}]")
    found = pair_counts(true, pred).astype(dtype, copy=False)
    if sparse:
        return found
    return found.toarray() if eps is None else found.toarray() + eps


@validate_params(_PAIR, prefer_skip_nested_validation=True)
def pair_confusion_matrix(labels_true: Any, labels_pred: Any) -> np.ndarray:
    """Ordered pairs of rows by whether each clustering puts them together (Hubert and Arabie, "Comparing partitions",
    Journal of Classification 2, 1985).

    Parameters
    ----------
    labels_true, labels_pred : array-like of shape (n_samples,)

    Returns
    -------
    C : int64 array of shape (2, 2)
        C[i, j]: pairs that are together (1) or apart (0) in the true clustering, i, and in the predicted one, j.

    Raises
    ------
    ValueError
        If the labels are not one-dimensional, differ in number, or are NaN or infinite.
    """
    true, pred = checked_pair(labels_true, labels_pred)
    n, table = np.int64(len(true)), pair_counts(true, pred)
    squares = (table.data**2).sum()
    in_true, in_pred = (np.asarray(table.sum(axis=axis)).ravel() for axis in (1, 0))
    C = np.empty((2, 2), np.int64)
    C[1, 1] = squares - n
    C[0, 1] = (in_pred**2).sum() - squares
    C[1, 0] = (in_true**2).sum() - squares
    C[0, 0] = n**2 - C[0, 1] - C[1, 0] - squares
    return C


@validate_params(_PAIR, prefer_skip_nested_validation=True)
def rand_score(labels_true: Any, labels_pred: Any) -> float:
    """Rand index: the share of the pairs of rows on which both clusterings agree (Hubert and Arabie, 1985).

    Parameters
    ----------
    labels_true, labels_pred : array-like of shape (n_samples,)

    Returns
    -------
    float
        In [0, 1]; 1 for the same clustering.

    Raises
    ------
    ValueError
        As `pair_confusion_matrix`.
    """
    C = pair_confusion_matrix(labels_true, labels_pred)
    agree, pairs = C.diagonal().sum(), C.sum()
    return 1.0 if agree == pairs or pairs == 0 else float(agree / pairs)


@validate_params(_PAIR, prefer_skip_nested_validation=True)
def adjusted_rand_score(labels_true: Any, labels_pred: Any) -> float:
    """Rand index adjusted for chance (Hubert and Arabie, 1985).

    Parameters
    ----------
    labels_true, labels_pred : array-like of shape (n_samples,)

    Returns
    -------
    float
        At most 1, for the same clustering; about 0 for random labels; at least -0.5.

    Raises
    ------
    ValueError
        As `pair_confusion_matrix`.

    Examples
    --------
    >>> from gpuclust.metrics import adjusted_rand_score
    >>> adjusted_rand_score([0, 0, 1, 1], ["b", "b", "a", "a"])
    1.0
    """
    (tn, fp), (fn, tp) = pair_confusion_matrix(labels_true, labels_pred).tolist()  # Python's integers do not overflow
    if fn == 0 and fp == 0:
        return 1.0
    return 2.0 * (tp * tn - fn * fp) / ((tp + fn) * (fn + tn) + (tp + fp) * (fp + tn))


@validate_params(_PAIR, prefer_skip_nested_validation=True)
def fowlkes_mallows_score(labels_true: Any, labels_pred: Any) -> float:
    """Geometric mean of precision and recall over pairs of rows (Fowlkes and Mallows, "A method for comparing two
    hierarchical clusterings", JASA 78, 1983).

    Parameters
    ----------
    labels_true, labels_pred : array-like of shape (n_samples,)

    Returns
    -------
    float
        In [0, 1]; 1 for the same clustering.

    Raises
    ------
    ValueError
        As `pair_confusion_matrix`.
    """
    (_, fp), (fn, tp) = pair_confusion_matrix(labels_true, labels_pred).tolist()
    return float(np.sqrt(tp / (tp + fp)) * np.sqrt(tp / (tp + fn))) if tp else 0.0
