"""Where a fit starts: the `init` parameter of every estimator."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.utils import check_array

from ..backends.frame import Frame
from ..data.source import Source
from ..errors import DataError
from ..solvers.parallel_seeding import parallel
from ..solvers.seeding import plus_plus, random_rows


def check_init(init: Any, n_clusters: int, source: Source) -> Any:
    """`init` with array-likes turned into arrays of the right shape and dtype.

    Raises
    ------
    ValueError
        If an array has another shape than (n_clusters, n_features).
    """
    if isinstance(init, str) or callable(init):
        return init
    init = check_array(init, dtype=source.dtype, copy=True, order="C")
    check_shape(init, n_clusters, source.n_features)
    return init


def check_shape(centers: np.ndarray, n_clusters: int, n_features: int) -> None:
    if centers.shape[0] != n_clusters:
        raise ValueError(
            f"The shape of the initial centers {centers.shape} does not match the number of clusters {n_clusters}."
        )
    if centers.shape[1] != n_features:
        raise ValueError(
            f"The shape of the initial centers {centers.shape} does not match the number of features of the data"
            f" {n_features}."
        )


def starts(init: Any, n_init: Any, default: int, name: str) -> int:
    """How many starts: `n_init='auto'` is 1 for seeded or given centres, else `default`; given centres allow one."""
    if n_init == "auto":
        seeded = isinstance(init, str) and init != "random"
        return 1 if seeded or hasattr(init, "__array__") or isinstance(init, (list, tuple)) else default
    if n_init != 1 and not isinstance(init, str) and not callable(init):
        warnings.warn(
            f"Explicit initial center position passed: performing only one init in {name} instead of n_init={n_init}.",
            RuntimeWarning,
            stacklevel=3,
        )
        return 1
    return int(n_init)


def first_centers(
    source: Source, frame: Frame, init: Any, k: int, random_state: np.random.RandomState
) -> np.ndarray:
    """k centres f64 [k, d] by the method that `init` names.

    Raises
    ------
    DataError
        If a callable is to see data that are streamed.
    """
    if isinstance(init, np.ndarray):
        return init.astype(np.float64)
    if callable(init):
        X = source.host_rows
        if X is None:
            raise DataError("A callable init needs the data in memory; pass an array or a seeding method for streams.")
        centers = check_array(init(X, k, random_state=random_state), dtype=source.dtype, copy=False, order="C")
        check_shape(centers, k, source.n_features)
        return centers.astype(np.float64)
    if init == "k-means++":
        return plus_plus(source, frame, k, random_state)[0].astype(np.float64)
    if init == "k-means||":
        return parallel(source, frame, k, random_state)
    return random_rows(source, k, random_state).astype(np.float64)
