"""False alarms are as rare as the documentation says, and drift of stated sizes is found.

With GPUCLUST_FUZZ=full 1000 runs of every shape; fewer otherwise. Limits are those that a right method passes in all
but one of a million times.
"""

from __future__ import annotations

import os

import numpy as np
import pytest
from scipy import stats

from gpuclust.monitoring import Thresholds

FULL = os.environ.get("GPUCLUST_FUZZ") == "full"
pytestmark = [pytest.mark.usefixtures("one_thread"), pytest.mark.timeout(3000)]


@pytest.fixture(scope="module")
def drift():
    from benchmarks import drift

    return drift


def most(runs, chance):
    return stats.binom.isf(1e-6, runs, chance)


@pytest.mark.parametrize("shape", ["clusters", "blob", "heavy", "ties", "mixed"])
def test_there_are_no_more_false_alarms_than_alpha(drift, shape):
    draw, runs = drift.SHAPES[shape], 1000 if FULL else 8 if shape == "mixed" else 30
    sizes = [(200, 50), (1000, 300), (1000, 4000)]
    found = [drift.once(draw, draw, sizes[seed % 3], 10_000 + seed) for seed in range(runs)]
    p = np.array([least for least, _ in found])
    assert np.sum(p <= 0.05) <= most(runs, 0.05)
    assert np.sum(p <= drift.ALPHA) <= most(runs, drift.ALPHA)
    assert np.sum([verdict != "ok" for _, verdict in found]) <= most(runs, drift.ALPHA)
    if FULL:  # nor so few that the tests could be stricter
        assert np.sum(p <= 0.05) >= stats.binom.ppf(1e-6, runs, 0.01)


def flags(rng, n):
    """Few kinds of rows, and as few distances."""
    return (rng.random((n, 8)) < [0.5, 0.01, 0.001, 0.9, 0.3, 0.02, 0.99, 0.5]).astype(np.float64)


def zeros(rng, n):
    """Most rows are the same, and the nearest to their centre."""
    rows = rng.exponential(size=(n, 10))
    rows[rng.random((n, 10)) < 0.97] = 0
    return rows


@pytest.mark.parametrize(("draw", "sizes"), [(flags, (2000, 3000)), (zeros, (150, 30))])
def test_rows_that_share_a_distance_are_no_drift(drift, draw, sizes):
    runs = 300 if FULL else 15
    found = [drift.once(draw, draw, sizes, seed)[0] for seed in range(runs)]
    assert np.sum(np.array(found) <= drift.ALPHA) <= most(runs, drift.ALPHA)


@pytest.mark.parametrize(
    ("name", "n", "verdict"),
    [("mean 0.2", 3000, "watch"), ("mean 0.5", 1000, "retrain"), ("variance", 1000, "watch"), ("looser", 300, "watch"),
     ("new 2 %", 1000, "watch"), ("new 10 %", 300, "retrain"), ("vanished", 1000, "retrain"),
     ("missing", 300, "watch")],
)  # fmt: skip
def test_drift_is_found(drift, name, n, verdict):
    """In 95 % of the runs or more."""
    runs = 100 if FULL else 4
    found = [drift.once(drift.clusters, drift.SHIFTS[name].draw, (5000, n), seed)[1] for seed in range(runs)]
    at_least = ("watch", "retrain") if verdict == "watch" else ("retrain",)
    assert np.sum([each not in at_least for each in found]) <= most(runs, 0.05)


def test_alpha_is_what_was_simulated(drift):
    assert Thresholds().alpha == drift.ALPHA
