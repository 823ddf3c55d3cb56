"""Numbers of clusters that stay where they are."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from gpuclust.selection import align_labels
from gpuclust.selection.alignment import contingency

LABELS = arrays(np.int64, st.shared(st.integers(1, 30), key="n"), elements=st.integers(-2, 6))


def test_by_hand():
    np.testing.assert_array_equal(align_labels([0, 0, 1, 1, 2], [2, 2, 0, 0, 1]), [0, 0, 1, 1, 2])
    # greedy would give 5 its best partner, 0, and lose a row: 2 + 2 rows stay, not 3 + 0
    reference, labels = [0] * 5 + [1] * 2, [5] * 3 + [6] * 2 + [5] * 2
    np.testing.assert_array_equal(align_labels(reference, labels), [1] * 3 + [0] * 2 + [1] * 2)


def test_clusters_without_a_match_have_new_numbers_in_their_old_order():
    np.testing.assert_array_equal(align_labels([0, 0, 0, 4, 4, 4], [9, 1, 1, 2, 2, 7]), [6, 0, 0, 4, 4, 5])
    np.testing.assert_array_equal(align_labels([3, 3], [3, 3]), [3, 3])
    # 1 shares no row with what is left of the reference: it is not given that number
    np.testing.assert_array_equal(align_labels([0, 0, 0, 1], [0, 0, 1, 0]), [0, 0, 2, 0])


@settings(max_examples=60, deadline=None)
@given(LABELS, st.permutations(range(-2, 7)))
def test_permuted_numbers_are_found_again(labels, order):
    permuted = np.asarray(order)[labels + 2]
    np.testing.assert_array_equal(align_labels(labels, permuted), labels)


@settings(max_examples=60, deadline=None)
@given(LABELS, LABELS)
def test_laws(reference, labels):
    aligned = align_labels(reference, labels)
    np.testing.assert_array_equal(align_labels(reference, aligned), aligned)
    # the same clusters, under other numbers
    pairs = set(zip(labels.tolist(), aligned.tolist(), strict=True))
    assert len(pairs) == len(np.unique(labels)) == len(np.unique(aligned))
    assert (aligned == reference).sum() >= (labels == reference).sum()


def test_contingency():
    found = contingency(np.array([0, 1, 1], np.uint8), np.array([2, 0, 0], np.uint8), 2, 3)
    np.testing.assert_array_equal(found, [[0, 0, 1], [2, 0, 0]])


def test_kinds_of_labels():
    aligned = align_labels(np.array([1, 1, 0], np.uint8), np.array([0, 0, 5], np.int32))
    assert aligned.dtype == np.int64
    np.testing.assert_array_equal(aligned, [1, 1, 0])
    assert align_labels([], []).shape == (0,)


@pytest.mark.parametrize(
    ("reference", "labels", "message"),
    [
        ([0, 1], [0, 1, 2], "inconsistent numbers of samples"),
        (["a", "b"], [0, 1], "reference must be integers"),
        ([0, 1], [0.5, 1.0], "labels must be integers"),
        ([[0, 1], [1, 0]], [0, 1], "1d array"),
        (np.array([2**64 - 1, 1], np.uint64), [0, 1], "reference holds numbers that int64 cannot"),
    ],
)
def test_refusals(reference, labels, message):
    with pytest.raises(ValueError, match=message):
        align_labels(reference, labels)
