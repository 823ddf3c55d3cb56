"""Agreement of two clusterings by information: mutual information and what is made of it.

Natural logarithms throughout. Vinh, Epps and Bailey, "Information theoretic measures for clusterings comparison",
JMLR 11, 2010; Rosenberg and Hirschberg, "V-measure", EMNLP 2007.
"""

from __future__ import annotations

from collections.abc import Iterator
from math import log
from numbers import Real
from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from sklearn.utils import check_array
from sklearn.utils._param_validation import Interval, StrOptions, validate_params

from .labels import checked_pair, pair_counts

BATCH: Final = 1 << 18  # probabilities that are evaluated at once
NEGLIGIBLE: Final = 60.0  # minus the logarithm of the probability that is left out at each end
EPS: Final = float(np.finfo(np.float64).eps)

_PAIR = {"labels_true": ["array-like"], "labels_pred": ["array-like"]}
_AVERAGED = {**_PAIR, "average_method": [StrOptions({"arithmetic", "max", "min", "geometric"})]}
_BETA = {**_PAIR, "beta": [Interval(Real, 0, None, closed="left")]}


def _margins(table: Any) -> tuple[np.ndarray, np.ndarray]:
    """Sums of the rows and of the columns."""
    return np.asarray(table.sum(axis=1)).ravel(), np.asarray(table.sum(axis=0)).ravel()


def _entropy(counts: np.ndarray) -> float:
    """Of a clustering with clusters of these sizes."""
    if len(counts) <= 1:
        return 0.0
    share, total = counts / counts.sum(), float(counts.sum())
    return float(-np.sum(share * (np.log(counts) - log(total))))


def _information(table: Any) -> float:
    """Mutual information of a table of counts, dense or sparse."""
    rows, columns = _margins(table)
    if rows.size <= 1 or columns.size <= 1:
        return 0.0
    i, j, count = sp.find(table)
    total = float(count.sum())
    share = count / total
    outer = rows.astype(np.float64)[i] * columns.astype(np.float64)[j]
    terms = share * (np.log(count) - log(total)) + share * (-np.log(outer) + 2 * log(total))
    return float(np.clip(np.where(np.abs(terms) < EPS, 0.0, terms).sum(), 0.0, None))


@validate_params(
    {
        "labels_true": ["array-like", None],
        "labels_pred": ["array-like", None],
        "contingency": ["array-like", "sparse matrix", None],
    },
    prefer_skip_nested_validation=True,
)
def mutual_info_score(labels_true: Any, labels_pred: Any, *, contingency: Any = None) -> float:
    """Mutual information of two clusterings, in nats.

    Parameters
    ----------
    labels_true, labels_pred : array-like of shape (n_samples,)
    contingency : array or sparse matrix of shape (n_classes_true, n_classes_pred), optional
        From `contingency_matrix`; the labels are ignored where it is given.

    Returns
    -------
    float
        Not negative.

    Raises
    ------
    ValueError
        As `pair_confusion_matrix`.
    """
    if contingency is None:
        return _information(pair_counts(*checked_pair(labels_true, labels_pred)))
    kinds = [int, np.int32, np.int64]
    return _information(check_array(contingency, accept_sparse=["csr", "csc", "coo"], dtype=kinds))


def expected_mutual_information(contingency: Any, n_samples: int) -> float:
    """Mutual information that two clusterings with clusters of these sizes have by chance (Vinh, Epps and Bailey, 2010,
    equation 24).

    How many rows a pair of clusters shares is hypergeometric. Each probability follows from the one before by their
    ratio, which loses no digits where factorials of n_samples would; what has a probability below e^-60 is left out.

    Parameters
    ----------
    contingency : array or sparse matrix of shape (n_classes_true, n_classes_pred)
    n_samples : int
        Sum of its entries.

    Returns
    -------
    float
    """
    rows, columns = _margins(contingency)
    if rows.size == 1 or columns.size == 1:
        return 0.0
    (a, times_a), (b, times_b) = (np.unique(each.astype(np.int64), return_counts=True) for each in (rows, columns))
    a, b = (each.ravel() for each in np.meshgrid(a, b, indexing="ij"))
    times = np.outer(times_a, times_b).ravel()
    first, last = _likely(a, b, n_samples)
    total = 0.0
    for some in _batches(last - first + 1):
        x = first[some, None] + np.arange((last - first)[some].max() + 1)
        total += float(times[some] @ _expected(x, last[some, None], a[some, None], b[some, None], n_samples))
    return total


def _likely(a: np.ndarray, b: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """First and last number of shared rows whose probability matters, from 1 on.

    Bernstein's inequality, which holds for the hypergeometric distribution as for the binomial one (Hoeffding,
    "Probability inequalities for sums of bounded random variables", JASA 58, 1963, section 6).
    """
    few, share = np.minimum(a, b), np.maximum(a, b) / n
    mean, variance = few * share, few * share * (1 - share)
    away = NEGLIGIBLE / 3 + np.sqrt((NEGLIGIBLE / 3) ** 2 + 2 * NEGLIGIBLE * variance)
    first = np.maximum(np.maximum(a + b - n, 0), np.floor(mean - away).astype(np.int64))
    return first, np.minimum(few, np.ceil(mean + away).astype(np.int64))


def _batches(width: np.ndarray) -> Iterator[np.ndarray]:
    """Indices of pairs in groups of about BATCH probabilities, those of similar width together."""
    order, start = np.argsort(-width, kind="stable"), 0
    while start < len(order):
        stop = start + max(1, BATCH // int(width[order[start]]))
        yield order[start:stop]
        start = stop


def _expected(x: np.ndarray, last: np.ndarray, a: np.ndarray, b: np.ndarray, n: int) -> np.ndarray:
    """Expected contribution of each pair [pairs], from counts x [pairs, width] of which those up to `last` are real."""
    real = x <= last
    x = np.minimum(x, last)
    with np.errstate(divide="ignore"):
        ratio = np.log((a - x[:, :-1]) * ((b - x[:, :-1]) / ((x[:, :-1] + 1.0) * (n - a - b + x[:, :-1] + 1.0))))
    logs = np.zeros(x.shape)
    np.cumsum(np.where(real[:, 1:], ratio, 0.0), axis=1, out=logs[:, 1:])
    chance = np.where(real, np.exp(logs - logs.max(axis=1, keepdims=True)), 0.0)
    chance /= chance.sum(axis=1, keepdims=True)
    gain = np.log(np.maximum(x, 1)) + log(n) - np.log(a) - np.log(b)
    return np.sum(chance * (x / n) * gain, axis=1)


def _average(one: float, two: float, method: str) -> float:
    if method == "geometric":
        return float(np.sqrt(one * two))
    return {"min": min(one, two), "max": max(one, two), "arithmetic": (one + two) / 2}[method]


@validate_params(_AVERAGED, prefer_skip_nested_validation=True)
def adjusted_mutual_info_score(labels_true: Any, labels_pred: Any, *, average_method: str = "arithmetic") -> float:
    """Mutual information adjusted for chance (Vinh, Epps and Bailey, 2010): (MI - E[MI]) / (average of the entropies -
    E[MI]).

    Parameters
    ----------
    labels_true, labels_pred : array-like of shape (n_samples,)
    average_method : {'arithmetic', 'max', 'min', 'geometric'}, default='arithmetic'

    Returns
    -------
    float
        1 for the same clustering, about 0 for random labels.

    Raises
    ------
    ValueError
        As `pair_confusion_matrix`.
    """
    true, pred = checked_pair(labels_true, labels_pred)
    table = pair_counts(true, pred)
    if table.shape in ((0, 0), (1, 1)):
        return 1.0
    if 1 in table.shape:
        return 0.0
    expected = expected_mutual_information(table, len(true))
    rows, columns = _margins(table)
    possible = _average(_entropy(rows), _entropy(columns), average_method) - expected
    return _away_from_zero(_information(table) - expected) / _away_from_zero(possible)


def _away_from_zero(value: float) -> float:
    """At least EPS in size, so that 0 / 0 is 1: a perfect match that is also the expected one."""
    return min(value, -EPS) if value < 0 else max(value, EPS)


@validate_params(_AVERAGED, prefer_skip_nested_validation=True)
def normalized_mutual_info_score(labels_true: Any, labels_pred: Any, *, average_method: str = "arithmetic") -> float:
    """Mutual information over an average of the entropies; not adjusted for chance.

    Parameters
    ----------
    labels_true, labels_pred : array-like of shape (n_samples,)
    average_method : {'arithmetic', 'max', 'min', 'geometric'}, default='arithmetic'

    Returns
    -------
    float
        In [0, 1]; 1 for the same clustering.

    Raises
    ------
    ValueError
        As `pair_confusion_matrix`.
    """
    table = pair_counts(*checked_pair(labels_true, labels_pred))
    if table.shape in ((0, 0), (1, 1)):
        return 1.0
    information, (rows, columns) = _information(table), _margins(table)
    return information / _average(_entropy(rows), _entropy(columns), average_method) if information else 0.0


@validate_params(_BETA, prefer_skip_nested_validation=True)
def homogeneity_completeness_v_measure(
    labels_true: Any, labels_pred: Any, *, beta: float = 1.0
) -> tuple[float, float, float]:
    """Whether clusters hold one class each, whether classes lie in one cluster each, and the mean of both (Rosenberg
    and Hirschberg, 2007).

    Parameters
    ----------
    labels_true, labels_pred : array-like of shape (n_samples,)
    beta : float, default=1.0
        Weight of completeness relative to homogeneity in the V-measure.

    Returns
    -------
    homogeneity, completeness, v_measure : float
        In [0, 1].

    Raises
    ------
    ValueError
        As `pair_confusion_matrix`.
    """
    table = pair_counts(*checked_pair(labels_true, labels_pred))
    if 0 in table.shape:
        return 1.0, 1.0, 1.0
    information, (true, pred) = _information(table), map(_entropy, _margins(table))
    homogeneity = information / true if true else 1.0
    completeness = information / pred if pred else 1.0
    if homogeneity + completeness == 0:
        return homogeneity, completeness, 0.0
    both = (1 + beta) * homogeneity * completeness / (beta * homogeneity + completeness)
    return homogeneity, completeness, float(both)


@validate_params(_PAIR, prefer_skip_nested_validation=True)
def homogeneity_score(labels_true: Any, labels_pred: Any) -> float:
    """Whether each cluster holds rows of one class only; see `homogeneity_completeness_v_measure`.

    Parameters
    ----------
    labels_true, labels_pred : array-like of shape (n_samples,)

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        As `pair_confusion_matrix`.
    """
    return homogeneity_completeness_v_measure(labels_true, labels_pred)[0]


@validate_params(_PAIR, prefer_skip_nested_validation=True)
def completeness_score(labels_true: Any, labels_pred: Any) -> float:
    """Whether all rows of a class lie in one cluster; see `homogeneity_completeness_v_measure`.

    Parameters
    ----------
    labels_true, labels_pred : array-like of shape (n_samples,)

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        As `pair_confusion_matrix`.
    """
    return homogeneity_completeness_v_measure(labels_true, labels_pred)[1]


@validate_params(_BETA, prefer_skip_nested_validation=True)
def v_measure_score(labels_true: Any, labels_pred: Any, *, beta: float = 1.0) -> float:
    """Harmonic mean of homogeneity and completeness; see `homogeneity_completeness_v_measure`.

    Parameters
    ----------
    labels_true, labels_pred : array-like of shape (n_samples,)
    beta : float, default=1.0
        Weight of completeness relative to homogeneity.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        As `pair_confusion_matrix`.
    """
    return homogeneity_completeness_v_measure(labels_true, labels_pred, beta=beta)[2]
