"""Law 6, the counts in buckets that tell where medians lie when there is no room for brackets."""

from __future__ import annotations

import numpy as np
import pytest

from gpuclust.backends import cpu_ranks
from gpuclust.backends.brackets import Fine
from gpuclust.objectives.search import simplest

from .cases import KINDS


def fine_of(mid, width, buckets):
    """Buckets for every second pair of cluster and feature."""
    size = len(mid)
    pair = np.arange(0, size, 2)
    place = np.full(size, -1, np.int32)
    place[pair] = np.arange(len(pair))
    return Fine(pair, place, mid, 1 / width, buckets)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("buckets", [8, 34, 96])
def test_buckets_hold_what_lies_between_their_edges(rng, pretend_threads, kind, buckets, dtype):
    """Every row is in one bucket of its pair, none beyond the edges of its bucket, and more to the right as it grows."""
    pretend_threads(3)
    d, k, n = 5, 4, 400
    X, label = KINDS[kind](rng, n, d, dtype), rng.integers(0, k, n).astype(np.int32)
    mid = np.tile(np.median(X, axis=0).astype(float), k) + rng.normal(size=k * d)
    fine = fine_of(mid, 10.0 ** rng.uniform(-6, 6, k * d), buckets)
    counts = cpu_ranks.count_fine(X, label, fine)
    assert counts.shape == (len(fine.pair), buckets)
    for at, pair in enumerate(fine.pair):
        values = np.sort(X[label == pair // d, pair % d])
        bucket = np.repeat(np.arange(buckets), counts[at])
        assert len(bucket) == len(values)
        low, high = fine.edges(np.full(len(bucket), pair), bucket, bucket)
        assert (low <= values).all()
        assert (values <= high).all()


@pytest.mark.parametrize("buckets", [8, 34, 96, 244, 1022])
def test_values_at_an_edge_lie_within_the_edges_of_their_bucket(buckets):
    """Far out a rounding error of the bucket is one of many digits of the value."""
    fine = fine_of(np.zeros(1), np.ones(1), buckets)
    every = np.arange(1, buckets)
    edge = fine.edges(np.zeros(buckets - 1, int), every, every)[0]
    X = np.sort(np.concatenate([edge, np.rint(edge)] + [edge * (1 + m * 2.0**-52) for m in range(-40, 41)]))
    counts = cpu_ranks.count_fine(X[:, None], np.zeros(len(X), np.int32), fine)[0]
    bucket = np.repeat(np.arange(buckets), counts)
    low, high = fine.edges(np.zeros(len(X), int), bucket, bucket)
    assert (low <= X).all()
    assert (high >= X).all()


def test_half_of_the_buckets_lie_within_a_width():
    fine = fine_of(np.array([3.0]), np.array([2.0]), 40)
    X = np.linspace(1.001, 4.999, 1000)[:, None]
    counts = cpu_ranks.count_fine(X, np.zeros(1000, np.int32), fine)[0]
    assert counts[10:30].sum() == 1000
    assert (counts[10:30] > 0).all()


def test_values_at_the_ends_of_the_range_have_a_bucket(dtype):
    most = np.finfo(dtype).max
    X = np.array([-most, -1, 0, 1, most], dtype)[:, None]
    counts = cpu_ranks.count_fine(X, np.zeros(5, np.int32), fine_of(np.zeros(1), np.full(1, 1e-250), 8))
    np.testing.assert_array_equal(counts, [[2, 0, 0, 0, 1, 0, 0, 2]])


@pytest.mark.parametrize(
    ("low", "high", "number"),
    [(0.9, 1.1, 1), (-3.2, -2.9, -3), (-1, 2, 0), (5, 5, 5), (1e30, 1.0001e30, None), (0.26, 0.3, 0.28125), (7, 9, 8)],
)
def test_the_simplest_number_of_a_range(low, high, number, dtype):
    low, high = np.array([low], dtype), np.array([high], dtype)
    found = simplest(low, high)
    assert found.dtype == dtype
    assert low <= found <= high
    if number is not None:
        assert found == number


def test_the_simplest_number_finds_whole_ones(rng):
    whole = rng.integers(-1000, 1000, 500).astype(np.float32)
    away = rng.uniform(0.01, 0.2, (2, 500)).astype(np.float32)
    np.testing.assert_array_equal(simplest(whole - away[0], whole + away[1]), whole)
