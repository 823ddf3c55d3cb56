"""Sorting and selection inside kernels."""

from __future__ import annotations

import numpy as np
import pytest

from gpuclust.backends.kernels import order

SIZES = [0, 1, 2, order.FEW - 1, order.FEW, order.FEW + 1, 2 * order.FEW + 1, 100, 1000]


def cases(rng, n, dtype):
    yield rng.normal(size=n).astype(dtype)
    yield rng.integers(0, 3, n).astype(dtype)
    yield np.arange(n, dtype=dtype)
    yield np.arange(n, dtype=dtype)[::-1].copy()
    yield rng.choice([0.0, -0.0, np.inf, -np.inf], n).astype(dtype)


@pytest.mark.parametrize("n", SIZES)
def test_values_are_sorted_and_equal_ones_keep_their_order(rng, n, dtype):
    for values in cases(rng, n, dtype):
        first, sorted_, place = np.argsort(values, kind="stable"), values.copy(), np.arange(n, dtype=np.float64)
        order.sort(sorted_, place)
        np.testing.assert_array_equal(sorted_, values[first])
        np.testing.assert_array_equal(place, first)
        alone = values.copy()
        order.sort(alone, np.empty(0))
        np.testing.assert_array_equal(alone, values[first])


@pytest.mark.parametrize("n", SIZES[1:])
def test_a_rank_parts_smaller_values_from_larger_ones(rng, n, dtype):
    for values in cases(rng, n, dtype):
        for k in {0, n // 3, n - 1}:
            a = values.copy()
            order.select(a, 0, n - 1, k)
            assert a[k] == np.sort(values)[k]
            assert np.all(a[:k] <= a[k]) and np.all(a[k:] >= a[k])
            np.testing.assert_array_equal(np.sort(a), np.sort(values))


class Gas:
    """A value that is decided when it is compared, so that pivots are bad (McIlroy, "A killer adversary for quicksort",
    1999)."""

    solid, candidate = 0, None

    def __init__(self):
        self.value = None

    def freeze(self):
        self.value, Gas.solid = Gas.solid, Gas.solid + 1

    def minus(self, other):
        if self.value is None and other.value is None:
            (self if self is Gas.candidate else other).freeze()
        if self.value is None:
            Gas.candidate = self
        elif other.value is None:
            Gas.candidate = other
        return (1e9 if self.value is None else self.value) - (1e9 if other.value is None else other.value)

    def __lt__(self, other):
        return self.minus(other) < 0

    def __gt__(self, other):
        return self.minus(other) > 0


def test_an_order_that_the_pivots_do_not_fit(monkeypatch, dtype):
    n, left = 3000, []
    monkeypatch.setattr(order, "sort", lambda values, _: left.append(len(values)))
    items = np.array([Gas() for _ in range(n)])
    order.select.py_func(items.copy(), 0, n - 1, n - 1)
    values = np.array([1e9 if item.value is None else item.value for item in items], dtype)
    left.clear()
    order.select.py_func(values.copy(), 0, n - 1, n - 1)
    assert left == [left[0]] and left[0] > n / 2  # the pivots have found hardly anything
    order.select(values, 0, n - 1, n - 1)
    assert values[n - 1] == values.max()
