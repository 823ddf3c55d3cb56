"""K-Means and mini-batch K-Means as scikit-learn's classes of the same names, and back."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.utils._openmp_helpers import _openmp_effective_n_threads
from sklearn.utils.validation import check_is_fitted

_SHARED = ("cluster_centers_", "inertia_", "n_iter_", "n_steps_", "n_features_in_", "feature_names_in_")
_STEPS = ("_counts", "_batch_size", "_n_since_last_reassign")  # what `partial_fit` goes on from
_OUTPUT = "_sklearn_output_config"


def to_twin(fitted: Any, Twin: Any) -> Any:
    """scikit-learn's estimator with what a fitted one of ours has learnt.

    Raises
    ------
    NotFittedError
        If `fit` was not called.
    """
    check_is_fitted(fitted)
    given = fitted.get_params(deep=False)
    twin = Twin(**{name: given[name] for name in Twin._get_param_names()})
    if isinstance(twin.init, str) and twin.init == "k-means||":
        twin.set_params(init="k-means++")  # scikit-learn has no other
    _hand_over(fitted, twin)
    if hasattr(fitted, "labels_"):
        twin.labels_ = np.asarray(fitted.labels_.get() if hasattr(fitted.labels_, "get") else fitted.labels_)
    twin._n_features_out = len(twin.cluster_centers_)
    twin._n_threads = _openmp_effective_n_threads()
    if hasattr(twin, "_counts"):
        twin._counts = twin._counts.astype(twin.cluster_centers_.dtype)  # its kernels take one type
    return twin


def from_twin(Class: Any, twin: Any, Twin: Any) -> Any:
    """An estimator of ours with what scikit-learn's has learnt.

    Raises
    ------
    TypeError
        If it is of another class.
    NotFittedError
        If `fit` was not called.
    """
    if type(twin) is not Twin:
        raise TypeError(f"{Class.__name__}.from_sklearn takes sklearn.cluster.{Twin.__name__}, not {twin!r}.")
    check_is_fitted(twin)
    fitted = Class(**twin.get_params(deep=False))
    _hand_over(twin, fitted)
    if hasattr(twin, "labels_"):
        fitted.labels_ = np.asarray(twin.labels_, np.int32)
    fitted.device_ = "cpu"
    return fitted


def _hand_over(one: Any, other: Any) -> None:
    """Copies of arrays: a step of the one must not move the other's centres."""
    for name in (*_SHARED, *_STEPS, _OUTPUT):
        if hasattr(one, name):
            value = getattr(one, name)
            setattr(other, name, value.copy() if isinstance(value, (np.ndarray, dict)) else value)
