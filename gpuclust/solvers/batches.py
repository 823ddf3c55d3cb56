"""The rows of mini-batches, and those that a fit starts from."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import closing

import numpy as np

from ..backends.base import Array, Backend, Chunk
from ..backends.frame import Frame
from ..backends.metric import Metric
from ..data.array import ArraySource
from ..data.readers import check_weight
from ..data.source import Source
from ..errors import DataError
from .scan import scan

NO_WEIGHT = "Sample weights must contain at least one non-zero number."


Piece = tuple[Array, Array | None]  # rows and their weights


def batches(
    source: Source, size: int, random_state: np.random.RandomState
) -> Generator[ArraySource, None, None]:
    """Mini-batches without end: drawn where the source can seek, else blocks in the stream's order."""
    if source.seekable:
        yield from _drawn(source, size, random_state)
    left: list[Piece] = []
    while True:
        left, found = yield from _blocks(source, size, left)
        if not found:
            raise DataError(NO_WEIGHT)


def blocks(source: Source, size: int) -> Generator[ArraySource, None, None]:
    """The rows of positive weight in blocks of `size`, the last may be smaller. One pass."""
    left, _ = yield from _blocks(source, size, [])
    if sum(X.shape[0] for X, _ in left):
        yield ArraySource(*_joined(source.backend, left), source.backend)


def _drawn(
    source: Source, size: int, random_state: np.random.RandomState
) -> Generator[ArraySource, None, None]:
    """Rows in proportion to their weight, with repeats: scikit-learn's `random_state.choice(n, size, p=p)`.

    The weight is in the draw, so every row of a batch counts once.
    """
    n, running = source.n_rows, _cumulative(source.host_weight)
    while True:
        uniform = random_state.random_sample(size)
        if running is None:
            index = np.minimum((uniform * n).astype(np.int64), n - 1)
        else:
            index = np.searchsorted(running, uniform, side="right")
        yield ArraySource(source.gather(index)[0], None, source.backend)


def _cumulative(weight: np.ndarray | None) -> np.ndarray | None:
    """Share of the weight up to each row. f64 [n]"""
    if weight is None:
        return None
    check_weight(weight)
    total = weight.sum()
    if not total > 0:
        raise DataError(NO_WEIGHT)
    running = weight / total
    np.cumsum(running, out=running)
    running /= running[-1]
    return running


def _blocks(
    source: Source, size: int, left: list[Piece]
) -> Generator[ArraySource, None, tuple[list[Piece], int]]:
    """Blocks of `size` rows of positive weight, those `left` over first; returns what is left at the end of the pass,
    and how many rows of positive weight it found. Where chunks end does not show.
    """
    parts, missing, found = list(left), size - sum(X.shape[0] for X, _ in left), 0
    with closing(source.chunks()) as chunks:
        for chunk in chunks:
            X, weight = _weighty(source.backend, chunk)
            found += X.shape[0]
            at = 0
            while X.shape[0] - at >= missing:
                parts.append(_cut(X, weight, at, at + missing))
                at += missing
                yield ArraySource(*_joined(source.backend, parts), source.backend)
                parts, missing = [], size
            parts.append(_joined(source.backend, [_cut(X, weight, at, None)]))  # a copy: the chunk is read over
            missing -= X.shape[0] - at
    return parts, found


def _weighty(backend: Backend, chunk: Chunk) -> Piece:
    if chunk.weight is None:
        return chunk.X, None
    with backend.current():
        counts = chunk.weight > 0
        return (chunk.X, chunk.weight) if bool(counts.all()) else (chunk.X[counts], chunk.weight[counts])


def _cut(X: Array, weight: Array | None, start: int, stop: int | None) -> Piece:
    return X[start:stop], None if weight is None else weight[start:stop]


def _joined(backend: Backend, parts: list[Piece]) -> Piece:
    weights = [weight for _, weight in parts if weight is not None]
    return backend.joined([X for X, _ in parts]), backend.joined(weights) if weights else None


def sample(source: Source, index: np.ndarray) -> ArraySource:
    """Rows by index as a source of their own, in memory."""
    return ArraySource(*source.gather(index), source.backend)


def starting_rows(
    source: Source, size: int, random_state: np.random.RandomState, metric: Metric
) -> tuple[Source, Frame]:
    """Rows in memory to choose first centres from, `size` drawn ones or all that there are, and their frame.

    Raises
    ------
    ValueError
        If none of them has a weight.
    """
    if size < source.n_rows:
        source = sample(source, random_state.randint(0, source.n_rows, size))
    elif not isinstance(source, ArraySource):
        source = sample(source, np.arange(source.n_rows))
    frame = scan(source, metric)
    if not frame.mass > 0:
        raise ValueError(
            f"None of the init_size={size} rows drawn to start from has a weight; raise init_size."
        )
    return source, frame


def mass(source: Source) -> float:
    """Sum of all weights."""
    weight = source.host_weight
    return float(source.n_rows if weight is None else weight.sum())


