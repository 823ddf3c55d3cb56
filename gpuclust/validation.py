"""The one door: what a user hands over becomes a Source."""

from __future__ import annotations

import functools
import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

import numpy as np
import scipy.sparse as sp
from sklearn.base import BaseEstimator
from sklearn.utils.validation import _check_sample_weight, validate_data

from .backends.base import Backend
from .backends.metric import Metric
from .backends.select import named, select
from .config import Device, config_context, get_config
from .data.array import ArraySource, DensifiedSource
from .data.collection import fetched, is_collection
from .data.columns import decoded, wrong_columns_told
from .data.plan import ROW_STATE, statistics_bytes
from .data.readers import ArrayReader, float_type
from .data.readers import Reader as RowReader
from .data.shards import ALL, share, spread
from .data.source import Source
from .data.stream import Stream, StreamSource, opened, wants_stream
from .errors import DeviceFallbackWarning, DeviceUnavailableError, NotFiniteError

logger = logging.getLogger("gpuclust")
DTYPES = [np.float64, np.float32]


class Chunks(NamedTuple):
    """How rows that do not stay are read."""

    size: int | None
    clusters: int  # what their memory is planned for
    metric: Metric
    check: bool = False  # whether nobody else looks for NaN


class Reader(BaseEstimator):
    """What rows are opened for that no estimator asks for: scikit-learn's checks write the features' names to it."""

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags


Reader.__name__ = "gpuclust"  # scikit-learn's messages say which estimator refuses the data; here it is none


def feature_names_of(estimator: Any, n_features: int) -> list[str]:
    """What features are called; x0, x1, ... where they have no names."""
    names = getattr(estimator, "feature_names_in_", None)
    return [f"x{f}" for f in range(n_features)] if names is None else [str(name) for name in names]


def open_source(
    estimator: Any,
    X: Any,
    sample_weight: Any,
    device: Device,
    *,
    reset: bool,
    chunk_size: int | None = None,
    finite: bool | Literal["allow-nan"] = True,
    clusters: int = 0,
    metric: Metric = Metric.EUCLIDEAN,
) -> Source:
    """Validated rows of any supported container, as a Source on a device; of a collection, on that of each worker.

    `finite=False` leaves it to the caller to find NaN and infinity in dense rows; 'allow-nan' as scikit-learn means it,
    where rows are in the host's memory. `clusters` and `metric`: what the memory of a stream is planned for; Manhattan:
    sparse rows are made dense, chunk by chunk.

    Raises
    ------
    ValueError
        What scikit-learn raises for the same input; DataError for files and streams that cannot be read.
    DeviceUnavailableError
        If the device cannot be used.
    """
    if is_collection(X):
        return _open_collection(estimator, X, sample_weight, device, reset, chunk_size, clusters, metric)
    backend = select(device).backend
    if is_stream(X):
        chunks = Chunks(chunk_size, clusters, metric, finite is True and not reset)  # a fit finds out in its first pass
        return _open_stream(estimator, opened(X), sample_weight, backend, reset, chunks)
    device_array = on_device(X)
    if device_array is not None:
        return _open_device(estimator, device_array, sample_weight, backend, reset, chunk_size)
    X = decoded(X)
    with wrong_columns_told(X):
        X = validate_data(
            estimator, X, accept_sparse="csr", dtype=dtypes(X), order="C", accept_large_sparse=False, reset=reset,
            ensure_all_finite=finite or sp.issparse(X),
        )  # fmt: skip
    weight = None if sample_weight is None else _weights(sample_weight, X)
    statistics = statistics_bytes(clusters, X.shape[1], X.dtype.itemsize)
    if not sp.issparse(X) and not _holds(backend, X.nbytes + ROW_STATE * X.shape[0], statistics):
        logger.warning("The data do not fit the memory of %s and are read in chunks.", backend.name)
        return _streamed(ArrayReader(X), weight, backend, Chunks(chunk_size, clusters, metric))

    def resident(member: Backend, rows: slice) -> Source:
        own = None if weight is None else member.upload(share(weight, rows), np.float64)
        if metric.l1 and sp.issparse(X):
            return DensifiedSource(share(X, rows), own, member, chunk_size)
        return ArraySource(member.upload(share(X, rows), X.dtype), own, member, chunk_size)

    return spread(backend, X.shape[0], resident)


def _holds(backend: Backend, rows: int, statistics: int) -> bool:
    """Whether each device has room for its share of so many bytes of rows, and for statistics."""
    members = backend.members
    shares = ((member, members.count(member)) for member in set(members))
    return all(member.holds(-(-rows * n // len(members)) + statistics * n) for member, n in shares)


@contextmanager
def refusing(estimator: Any, X: Any, device: Device) -> Iterator[None]:
    """NaN and infinity that were come upon inside are refused in scikit-learn's words, where it reads such data."""
    try:
        yield
    except NotFiniteError:
        if not (is_stream(X) or is_collection(X)):
            open_source(estimator, X, None, device, reset=False)
        raise


def _weights(sample_weight: Any, X: Any) -> np.ndarray:
    """Weights f64 [n], finite and not negative; a number stands for equal weights."""
    weight = _check_sample_weight(sample_weight, X, dtype=np.float64, ensure_non_negative=True)
    if not np.isfinite(weight).all():  # a number passes scikit-learn's check whatever it is
        raise ValueError("Input sample_weight contains NaN or infinity.")
    return weight


def _each_weight(sample_weight: Any) -> np.ndarray:
    """The same of rows that nobody has counted yet.

    Raises
    ------
    ValueError
        If it is a number.
    """
    weight = host(sample_weight)
    if not np.ndim(weight):
        raise ValueError(f"sample_weight={weight!r}: rows that are not in memory here need a weight each, or None.")
    return _weights(weight, np.empty((len(weight), 1)))


def is_stream(X: Any) -> bool:
    """Whether X is read in chunks: a path, `gpuclust.stream(...)`, or a memmap larger than it is worth to hold."""
    return isinstance(X, (str, os.PathLike, Stream)) or wants_stream(X)


def dtypes(X: Any) -> Any:
    """float32 frames stay float32: scikit-learn asks the frame for an array first, which widens some of them."""
    if isinstance(X, np.ndarray) or sp.issparse(X) or not (hasattr(X, "schema") or hasattr(X, "dtypes")):
        return DTYPES
    try:
        import narwhals.stable.v2 as nw
    except ImportError:  # scikit-learn below 1.9 does not bring it
        return DTYPES
    frame = nw.from_native(X, eager_only=True, pass_through=True)
    if not isinstance(frame, nw.DataFrame):
        return DTYPES
    return np.float32 if set(frame.schema.values()) == {nw.Float32} else DTYPES


def on_device(X: Any) -> Any:
    """A CUDA array (CuPy, or anything with its interface or DLPack on a CUDA device), else None."""
    if isinstance(X, np.ndarray) or not (hasattr(X, "__cuda_array_interface__") or _dlpack_on_cuda(X)):
        return None
    import cupy

    out = cupy.asarray(X) if hasattr(X, "__cuda_array_interface__") else cupy.from_dlpack(X)
    if cupy.cuda.runtime.getDeviceCount() > 1:  # streams of another device do not wait for those of its own
        with out.device:
            cupy.cuda.get_current_stream().synchronize()
    return out


def _dlpack_on_cuda(X: Any) -> bool:
    return hasattr(X, "__dlpack_device__") and int(X.__dlpack_device__()[0]) == 2


def _open_device(
    estimator: Any, X: Any, sample_weight: Any, backend: Backend, reset: bool, chunk_size: int | None
) -> Source:
    """Rows that live on a GPU: shape and dtype are checked here, values in the first pass."""
    if backend.name == "cpu":
        return open_source(estimator, X.get(), host(sample_weight), "cpu", reset=reset, chunk_size=chunk_size)
    if X.ndim != 2:
        raise ValueError(f"Expected 2D array, got {X.ndim}D array instead.")
    dtype = float_type(X.dtype)
    validate_data(estimator, np.zeros((1, X.shape[1]), dtype), reset=reset)
    weight = None if sample_weight is None else _weights(host(sample_weight), np.empty((X.shape[0], 1)))

    def resident(member: Backend, rows: slice) -> Source:
        own = None if weight is None else member.upload(share(weight, rows), np.float64)
        return ArraySource(member.upload(share(X, rows), dtype), own, member, chunk_size, stays=True)

    return spread(backend, X.shape[0], resident, stays=True)


def host(array: Any) -> Any:
    """A CUDA array or a dask collection copied to the host; anything else as it is."""
    return fetched(array.compute() if is_collection(array) else array)


def _open_collection(
    estimator: Any,
    X: Any,
    sample_weight: Any,
    device: Device,
    reset: bool,
    chunk_size: int | None,
    clusters: int,
    metric: Metric,
) -> Source:
    """Rows on the workers of a cluster; values are checked in the first pass."""
    from .data.dask import DaskSource

    if sample_weight is not None and not is_collection(sample_weight):
        sample_weight = _each_weight(sample_weight)
    source = DaskSource(X, sample_weight, _of_worker(device), chunk_size, clusters, metric)
    _check_features(estimator, source.n_features, source.dtype, source.names, reset)
    return source


def _of_worker(device: Device) -> str:
    """What each worker is to use; 'auto' leaves it to the worker.

    Raises
    ------
    DeviceUnavailableError
        If that is several GPUs.
    """
    device = get_config().device if device == "auto" else device
    if device in ("auto", "cpu"):
        return str(device)
    if device == "cuda:all" or len(named(device)) > 1:
        raise DeviceUnavailableError(
            f"device={device!r}: a Dask worker uses one GPU. Start a worker for each, as dask-cuda does, and pass"
            " device='cuda'."
        )
    return f"cuda:{named(device)[0]}"


def _check_features(estimator: Any, width: int, dtype: Any, names: Any, reset: bool) -> None:
    """scikit-learn's checks of number and names, on one row of zeros."""
    face = np.zeros((1, width), dtype)
    if names is not None:
        import pandas as pd

        face = pd.DataFrame(face, columns=list(names))
    validate_data(estimator, face, reset=reset, dtype=DTYPES)


def _open_stream(
    estimator: Any,
    rows: Stream,
    sample_weight: Any,
    backend: Backend,
    reset: bool,
    chunks: Chunks,
) -> Source:
    reader, weight = rows.open(), None
    if sample_weight is not None and reader.weighted:
        raise ValueError("The stream carries weights already; pass those or sample_weight, not both.")
    if sample_weight is not None:
        weight = _each_weight(sample_weight)
    _check_features(estimator, reader.n_features, reader.dtype, reader.names, reset)
    return _streamed(reader, weight, backend, chunks)


def _streamed(reader: RowReader, weight: np.ndarray | None, backend: Backend, chunks: Chunks) -> Source:
    """Rows that are read in chunks, each device its own; on the first one alone where they can only be read in order.
    Of a memory budget, each has its share."""
    n, members = reader.n_rows, backend.members
    if len(members) > 1 and (n is None or reader.part(0, 1) is None):
        _tell_alone(members[0].name)
        backend, members = members[0], members[:1]
    if n is not None and weight is not None and len(weight) != n:
        raise ValueError(f"sample_weight.shape == {weight.shape}, expected ({n},)!")
    budget = get_config().memory

    def streaming(member: Backend, rows: slice) -> Source:
        own = (None if rows == ALL else reader.part(rows.start, rows.stop)) or reader
        with config_context(memory=None if budget is None else max(1, budget // len(members))):
            source = StreamSource(own, share(weight, rows), member, chunks.size, chunks.clusters, chunks.metric)
        source.check = chunks.check
        return source

    return spread(backend, n or 0, streaming)


@functools.cache
def _tell_alone(name: str) -> None:
    message = (
        f"A stream that can only be read from its first row on is not spread over several GPUs: it runs on {name}. Pass"
        " a .npy or .parquet file to use all of them."
    )
    warnings.warn(message, DeviceFallbackWarning, stacklevel=2)
