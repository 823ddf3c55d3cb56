"""CSR rows on the CPU. Centres are dense; the rows are never densified and the caller's matrix is never changed."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from .frame import Frame
from .kernels import csr, csr_assign, csr_trials
from .kernels.gather import WIDTH
from .layout import Drift, loosening
from .packing import alias
from .threads import run


class CSRRows(sp.csr_matrix):
    """CSR rows whose slices are views; scipy copies them."""

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, slice) or key.step not in (None, 1):
            return super().__getitem__(key)
        start, stop, _ = key.indices(self.shape[0])
        stop = max(start, stop)
        first, last = self.indptr[start], self.indptr[stop]
        pointers = self.indptr[start : stop + 1] - first
        part = self.data[first:last], self.indices[first:last], pointers
        return CSRRows(part, shape=(stop - start, self.shape[1]))


def upload(X: Any, dtype: Any) -> CSRRows:
    """X in `dtype` with indices that ascend inside a row, none twice: a view of X where it is so already.

    Raises
    ------
    ValueError
        If an index or a row pointer is out of range.
    """
    X = X.astype(dtype, copy=False)
    view = CSRRows((X.data, X.indices, X.indptr), shape=X.shape)
    form = csr.form(alias(view.indices), alias(view.indptr), X.shape[1])
    if form == csr.BROKEN:
        raise ValueError("The sparse matrix is broken: an index or a row pointer is out of range.")
    if form == csr.SORTED:
        return view
    # Two transpositions sort without reordering duplicates: these add up as in X.toarray().
    fresh = view.tocsc().tocsr()
    fresh.has_canonical_format = False
    fresh.sum_duplicates()
    return CSRRows(fresh)


def rows(X: Any) -> csr.Rows:
    return csr.Rows(alias(X.data), alias(X.indices), alias(X.indptr))


def pack_centers(centers: np.ndarray, frame: Frame, drift: Drift) -> csr_assign.PackedCSR:
    """Scaled, float32, feature by feature; with what loosens the rows' bounds."""
    (k, d), scale = centers.shape, float(frame.scale)
    padded = k + -k % WIDTH
    columns = np.zeros(d * padded, np.float32)
    hi, lo = np.empty(k), np.empty(k)
    run(csr_assign.pack_pass, centers, scale, columns, hi, lo)
    with np.errstate(over="ignore"):
        start = np.full(padded, np.inf, np.float32)
        start[:k] = hi * scale * scale
        norms = np.sqrt(hi) * scale * (1 + 1e-6)
        tiny = csr_assign.TINY + csr_assign.FLOOR * np.float64(scale) * scale
        own, other, _, apart = loosening(drift)
    return csr_assign.PackedCSR(
        centers, hi, lo, columns, start, norms, float(norms.max()), own, other, apart, scale, float(tiny)
    )


def scan(X: Any, parts: np.ndarray, square: np.ndarray) -> None:
    """Range and moments about zero: f64 [threads, FIELDS, d] and [threads, 2]."""
    run(csr.scan_pass, rows(X), parts, square)


def reassign(
    X: Any, weight: np.ndarray, ledger: tuple[np.ndarray, ...], packed: csr_assign.PackedCSR, magic: np.ndarray,
    kept: bool,
) -> tuple[np.ndarray, int]:
    """New labels and bounds into the ledger; the exact sums of the rows that moved [k, K, d + 1], and their number."""
    label, upper, lower, _ = ledger
    fresh = np.empty(len(label), np.int32)
    run(csr_assign.assign_pass, rows(X), label, upper, lower, packed, kept, fresh)
    moved = int(np.count_nonzero(fresh != label))
    sums = np.zeros((len(packed.centers) + 1, *magic.shape))
    run(csr.move_rows, rows(X), weight, label, fresh, magic, sums)
    label[:] = fresh
    return sums[:-1], moved


def scatter(X: Any, weight: np.ndarray, label: np.ndarray, magic: np.ndarray, sums: np.ndarray) -> None:
    """Exact sums by label are added to sums f64 [k + 1, K, d + 1]; the last is of no meaning."""
    own = label.astype(np.int32)
    run(csr.move_rows, rows(X), weight, np.full_like(own, -1), own, magic, sums)


def nearest(X: Any, label: np.ndarray, packed: csr_assign.PackedCSR) -> None:
    run(csr_assign.nearest_pass, rows(X), label, packed)


def costs(X: Any, centers: np.ndarray, label: np.ndarray, cost: np.ndarray, *, direct: bool = False) -> None:
    """Squared distance of every row to its own centre, to (m + 4) 2^-53 for m nonzeros.

    `direct` adds up all features in order, zeros included, as dense rows are: d operations a row instead of m.
    """
    hi, lo = _squares(centers)
    run(csr.row_costs, rows(X), centers, hi, lo, label, direct, cost)


def settle(X: Any, centers: np.ndarray, label: np.ndarray, cost: np.ndarray, bound: float) -> float:
    """Sum the costs that reach `bound` directly, so that ties fall as they do for dense rows; returns a safe bound."""
    bound -= 1e-9 * abs(bound)
    near = np.flatnonzero((cost >= bound) & (cost > 0))
    exact = np.empty(len(near))
    costs(X[near], centers, label[near], exact, direct=True)
    cost[near] = exact
    return bound


def distances(X: Any, centers: np.ndarray, out: np.ndarray) -> None:
    hi, lo = _squares(centers)
    run(csr.distances, rows(X), centers, np.ascontiguousarray(centers.T), hi, lo, out)


def _squares(centers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    hi, lo = np.empty(len(centers)), np.empty(len(centers))
    run(csr.squares, centers, hi, lo)
    return hi, lo


def trials(
    X: Any, weight: np.ndarray, cost: np.ndarray, frame: Frame, known: np.ndarray | None, trial: np.ndarray,
    inverse: float, start: int, blocks: np.ndarray, largest: np.ndarray,
) -> None:  # fmt: skip
    """Fold `known` into the rows' costs, and the potentials under each trial centre into blocks of rows."""
    packed = _pack_trials(known, trial, frame)
    run(
        csr_trials.trials_pass, rows(X), weight, cost, known is not None, packed, len(trial), inverse, start,
        blocks, largest,
    )  # fmt: skip


def potentials(
    X: Any, weight: np.ndarray, cost: np.ndarray, frame: Frame, known: np.ndarray | None, inverse: float,
    out: np.ndarray,
) -> None:
    """Integer potential of every row, once `known` is folded in."""
    packed = _pack_trials(known, np.empty((0, X.shape[1])), frame)
    csr_trials.row_potentials(rows(X), weight, cost, packed, inverse, out)


def _pack_trials(known: np.ndarray | None, trial: np.ndarray, frame: Frame) -> csr_trials.Trials:
    centers = trial if known is None else np.concatenate([known[None], trial])
    count, d = centers.shape
    features = np.flatnonzero(np.any(centers != 0, axis=0))
    place = np.zeros(d, np.int32)
    place[features] = np.arange(1, len(features) + 1)
    table = np.zeros((len(features) + 1, count + -count % WIDTH))
    table[1:, :count] = centers[:, features].T
    table *= float(frame.scale)
    square = np.empty(count)
    csr_trials.squares(table.ravel(), table.shape[1], square)
    return csr_trials.Trials(place, table.ravel(), square, float(frame.scale))
