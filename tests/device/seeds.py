"""Greedy k-means++ by `seeds.cu`, against the CPU, whose steps are the definition; and what its kernels hand on."""

from __future__ import annotations

import numpy as np

from gpuclust.backends.base import Chunk
from gpuclust.backends.cpu import CPUBackend
from gpuclust.backends.kernels.trials import grid_of
from gpuclust.data.array import ArraySource
from gpuclust.solvers.scan import scan
from gpuclust.solvers.seeding import one_by_one


def rows_to_seed(rng, kind, n, d, dtype):
    X = rng.normal(size=(n, d))
    if kind == "few":  # once all are centres, nothing has a cost
        X = rng.normal(size=(3, d))[rng.integers(0, 3, n)]
    elif kind == "outlier":  # the others' costs are nothing on its grid
        X[n // 2] = 1e10
    elif kind == "groups":
        X += 100 * rng.integers(0, 9, (n, 1))
    return X.astype(dtype)


def check_seeds(rng, X, k, trials, metric, weighted=False):
    """The rows chosen, and the costs that are left but for the last centre's."""
    from gpuclust.backends import cuda_memory, cuda_seeding

    weight = rng.integers(0, 3, len(X)) * rng.uniform(0.5, 2, len(X)) if weighted else None
    source = ArraySource(X, weight, CPUBackend())
    frame, first, shares = scan(source, metric), int(rng.integers(len(X))), rng.uniform(size=(k - 1, trials))
    source.allocate("cost", X.dtype, np.inf)
    cost = cuda_memory.send(source.rows("cost").copy())
    heavy = None if weight is None else cuda_memory.send(weight)
    found, passes = cuda_seeding.plus_plus(Chunk(cuda_memory.send(X), heavy, 0, {"cost": cost}), frame, first, shares)
    before = source.n_passes
    np.testing.assert_array_equal(found, one_by_one(source, frame, first, shares)[1])
    assert passes == source.n_passes - before
    np.testing.assert_array_equal(cost.get(), source.rows("cost"))


def check_choice(rng, columns, count):
    """The best trial, its cumulative sums, and the grid of what comes next; sums are left as zeros."""
    from gpuclust.backends import cuda_memory, cuda_seeding
    from gpuclust.backends.cuda_kernels import launch

    for largest in (1.0, 0.75, 2.0**-1060, 1e308, 1.0 + 2.0**-52, 0.0):
        blocks = rng.integers(0, 1 << 30, (columns, count))
        blocks[columns // 2] //= 2  # twice, of which the first is chosen
        blocks[columns - 1] = blocks[columns // 2]
        for again in (0, 1) if columns == 1 else (0,):
            state = np.zeros(cuda_seeding.STATE, np.int64)
            state[3], state.view(np.float64)[6] = again, 0.125
            there, most = cuda_memory.send(blocks), cuda_memory.send(np.full(columns, largest))
            rows, index = cuda_memory.send(np.arange(columns) + 5), cuda_memory.send(np.zeros(3, np.int64))
            running, state = cuda_memory.send(np.zeros(count, np.int64)), cuda_memory.send(state)
            args = (there, most, rows, columns, count, 3.0, again, 1, running, index, state)
            launch("seeds.choose", 1, args, shared=cuda_seeding.CHOOSERS // 4, threads=cuda_seeding.CHOOSERS)
            best, total, told = columns // 2, blocks[columns // 2].sum(), state.get()
            np.testing.assert_array_equal(running.get(), np.cumsum(blocks[best]))
            assert index.get().tolist() == [0, 1 if again else 5 + best, 0]
            fine = not again and total < 1 << 38 and largest > 0
            assert told[:4].tolist() == [total, 0 if again else 5 + best, not again, fine]
            assert told[4:].view(np.float64).tolist() == [largest, 0.125, 1 / grid_of(3.0 * largest)]
            assert not there.get().any() and not most.get().any()


def exercise_seeds(rng, metrics):
    """All of it, in shapes that a fault would show in."""
    check_choice(rng, 4, 2500)
    check_choice(rng, 1, 30)
    for metric in metrics:
        check_seeds(rng, rows_to_seed(rng, "groups", 2500, 5, np.float32), 9, 4, metric, weighted=True)
        check_seeds(rng, rows_to_seed(rng, "few", 300, 3, np.float32), 6, 3, metric)
        check_seeds(rng, rows_to_seed(rng, "outlier", 1030, 17, np.float64), 5, 13, metric)
