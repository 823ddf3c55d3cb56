"""Middle values on the device held against sorted columns."""

from __future__ import annotations

import math

import numpy as np

KINDS = (
    "normal", "offset", "few values", "integers", "equal", "two values", "zeros", "extremes", "skewed", "nearly equal",
)  # fmt: skip


def drawn(rng, kind, n, d, dtype):
    """Rows of a kind."""
    info = np.finfo(dtype)
    values = {
        "normal": lambda: rng.normal(size=(n, d)),
        "offset": lambda: 1e6 + rng.normal(size=(n, d)),
        "few values": lambda: rng.integers(0, 4, (n, d)),
        "integers": lambda: np.round(9 * rng.normal(size=(n, d))),
        "equal": lambda: np.full((n, d), -3.5),
        "two values": lambda: np.arange(n)[:, None] % 2 * np.ones(d),
        "zeros": lambda: rng.choice([0.0, -0.0, 1.0], (n, d), p=[0.4, 0.4, 0.2]),
        "extremes": lambda: rng.choice([info.max, -info.max, info.tiny, -info.smallest_subnormal, 1, -1], (n, d)),
        "skewed": lambda: np.exp(rng.normal(0, 9, (n, d))),
        "nearly equal": lambda: 1 + info.eps * rng.integers(0, 40, (n, d)),
    }[kind]()
    return values.astype(dtype)


def limited(*, sample, room, spread=1.0, whole=None, size=None):
    """The plan from now on: samples of so many rows, brackets of so many standard deviations, items of `size` rows
    that keep `room` values, clusters of up to `whole` rows searched as they are."""
    from gpuclust.backends import cuda_medians

    margin = math.ceil(spread / 2 * math.sqrt(sample))
    plan = cuda_medians.Plan(whole or sample, sample, margin, room, size or int(0.7 * room * sample / (2 * abs(margin))))
    cuda_medians.Plan.of = lambda n, k, itemsize: plan
    cuda_medians.GUESSERS, cuda_medians.COLLECTORS = 128, 160
    return plan


def middles_of(X, label, wanted):
    from gpuclust.backends import cuda_medians, cuda_memory

    out = cuda_memory.send(np.zeros((2, len(wanted), X.shape[1])))
    cuda_medians.middles(cuda_memory.send(X), cuda_memory.send(label), cuda_memory.send(wanted), out)
    return out.get()


def check_middles(X, label, wanted):
    one, two = middles_of(X, label, wanted)
    for j in range(len(wanted)):
        rows = np.sort(X[label == j], axis=0)
        if not wanted[j] or not len(rows):
            rows = np.full((1, X.shape[1]), np.nan)
        np.testing.assert_array_equal((one[j], two[j]), (rows[(len(rows) - 1) // 2], rows[len(rows) // 2]))


def clusters(rng, sizes):
    """Labels of so many rows each, in no order."""
    return rng.permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.int32)


def exercise_medians(rng, d):
    """Clusters that are samples of themselves, of one item and of several; values that brackets hold, miss and lose."""
    from gpuclust.backends import cuda_memory

    cuda_memory.TILE_BYTES = 1 << 18  # a few clusters
    plan = limited(sample=20, room=60, whole=30)
    sizes = [0, 1, 2, 29, 30, 31, 44, plan.size, plan.size + 1, 2 * plan.size + 1, 5 * plan.size + 2]
    label = clusters(rng, sizes)
    for kind in ("normal", "few values", "integers"):
        check_middles(drawn(rng, kind, len(label), min(d, 33), np.float32), label, rng.random(len(sizes)) < 0.9)
