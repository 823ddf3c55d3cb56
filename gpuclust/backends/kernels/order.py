"""Sorting and selection in place, without Numba's own sorts.

Those are closures, told apart by what they close over (values or their places are sorted) and by a number that starts
anew in every process. Two kernels from the cache may hold different ones under one name, and the one that is loaded
first is then run for both: wrong values or a crash. Functions of a module have one meaning.
"""

import numpy as np
from numba import njit

FEW = 16  # values that are inserted one by one


@njit
def _insert(values, weights, low, high):
    """Sort values[low : high], and the weights with them."""
    for s in range(low + 1, high):
        x, to = values[s], s
        if weights.shape[0]:
            w = weights[s]
            while to > low and values[to - 1] > x:
                values[to], weights[to] = values[to - 1], weights[to - 1]
                to -= 1
            weights[to] = w
        else:
            while to > low and values[to - 1] > x:
                values[to] = values[to - 1]
                to -= 1
        values[to] = x


@njit
def _merge(values, weights, low, middle, high, out, heavy):
    """out[low : high] <- two sorted runs, the first one's values first among equals."""
    i, j = low, middle
    for to in range(low, high):
        first = i < middle and (j >= high or values[i] <= values[j])
        at = i if first else j
        out[to] = values[at]
        if heavy.shape[0]:
            heavy[to] = weights[at]
        i += first
        j += not first


@njit
def sort(values, weights):
    """Sort values ascending, and their weights, if any, with them; equal values keep their order (merge sort)."""
    n, width, swapped = len(values), FEW, False
    for low in range(0, n, FEW):
        _insert(values, weights, low, min(low + FEW, n))
    if n <= FEW:
        return
    source, target = values, np.empty(n, values.dtype)
    heavy, other = weights, np.empty(len(weights), weights.dtype)
    while width < n:
        for low in range(0, n, 2 * width):
            _merge(source, heavy, low, min(low + width, n), min(low + 2 * width, n), target, other)
        source, target, heavy, other = target, source, other, heavy
        width, swapped = 2 * width, not swapped
    if swapped:
        for at in range(n):
            values[at] = source[at]
        for at in range(len(weights)):
            weights[at] = heavy[at]


@njit
def select(a, low, high, k):
    """Bring the value of rank k to a[k], smaller ones before it and larger ones after, within a[low : high + 1]."""
    for _ in range(64):
        if high - low < FEW:
            break
        x, y, z = a[low], a[(low + high) >> 1], a[high]
        pivot = max(min(x, y), min(max(x, y), z))
        i, j = low, high
        while i <= j:
            while a[i] < pivot:
                i += 1
            while a[j] > pivot:
                j -= 1
            if i <= j:
                a[i], a[j] = a[j], a[i]
                i += 1
                j -= 1
        if k <= j:
            high = j
        elif k >= i:
            low = i
        else:
            return
    sort(a[low : high + 1], a[:0])  # few values, or an order that the pivots do not fit
