"""Two clusterings of the same rows: contingency tables and the scores from them."""

from __future__ import annotations

import math
import tracemalloc
import warnings
from fractions import Fraction

import numpy as np
import pandas as pd
import pytest
import sklearn.metrics.cluster as theirs

from gpuclust import metrics as ours

SCORES = (
    "adjusted_mutual_info_score", "adjusted_rand_score", "completeness_score", "contingency_matrix",
    "fowlkes_mallows_score", "homogeneity_completeness_v_measure", "homogeneity_score", "mutual_info_score",
    "normalized_mutual_info_score", "pair_confusion_matrix", "rand_score", "v_measure_score",
)  # fmt: skip
TEXT = np.array([f"label {i:05}" for i in range(1000)])
FORMS = {
    "int8": lambda labels: (labels - 100).astype(np.int8),
    "uint8": lambda labels: labels.astype(np.uint8),
    "int32": lambda labels: (labels - 3).astype(np.int32),
    "far apart": lambda labels: labels * 10**17 - 10**18,
    "the ends of int64": lambda labels: np.where(labels == 0, -(2**63), 2**63 - 1 - labels),
    "large uint64": lambda labels: np.uint64(2**64 - 1) - labels.astype(np.uint64),
    "float": lambda labels: labels.astype(np.float32),
    "text": lambda labels: TEXT[labels],
    "objects": lambda labels: TEXT[labels].astype(object),
    "list": lambda labels: labels.tolist(),
    "Series": lambda labels: pd.Series(labels, index=labels[::-1]),
    "strided": lambda labels: np.repeat(labels, 3)[::3],
}
SHAPES = [(40, 3, 4), (1000, 1, 5), (500, 20, 200), (300, 290, 295), (70_000, 7, 300), (30, 2, 1)]


def two_clusterings(rng, n, k, m):
    """Labels 0 .. k - 1 and others that agree with them by half."""
    one = rng.integers(0, k, n)
    return one, np.where(rng.random(n) < 0.5, one % m, rng.integers(0, m, n))


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_scores_are_scikit_learns(rng, shape, score):
    pair = two_clusterings(rng, *shape)
    expected = getattr(theirs, score)(*pair)
    np.testing.assert_allclose(getattr(ours, score)(*pair), expected, rtol=1e-9, atol=1e-13)


@pytest.mark.parametrize("method", ["min", "max", "arithmetic", "geometric"])
def test_all_averages(rng, method):
    pair = two_clusterings(rng, 400, 5, 9)
    for score in ("adjusted_mutual_info_score", "normalized_mutual_info_score"):
        expected = getattr(theirs, score)(*pair, average_method=method)
        assert getattr(ours, score)(*pair, average_method=method) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("form", FORMS)
def test_labels_may_be_of_any_kind(rng, form):
    """They are told apart and ordered, nothing else."""
    one, two = two_clusterings(rng, 500, 90, 60)
    changed = FORMS[form](one)
    np.testing.assert_array_equal(ours.contingency_matrix(changed, two), theirs.contingency_matrix(changed, two))
    assert ours.adjusted_rand_score(changed, two) == ours.adjusted_rand_score(one, two)
    assert ours.mutual_info_score(two, changed) == pytest.approx(ours.mutual_info_score(two, one), rel=1e-13)


def test_the_table_as_a_user_wants_it(rng):
    one, two = two_clusterings(rng, 200, 4, 6)
    sparse = ours.contingency_matrix(one, two, sparse=True)
    assert sparse.format == "csr" and sparse.dtype == np.int64
    np.testing.assert_array_equal(sparse.toarray(), ours.contingency_matrix(one, two))
    assert ours.contingency_matrix(one, two, dtype=np.float32).dtype == np.float32
    np.testing.assert_allclose(ours.contingency_matrix(one, two, eps=0.5), theirs.contingency_matrix(one, two, eps=0.5))
    with pytest.raises(ValueError, match="Cannot set 'eps' when sparse=True"):
        ours.contingency_matrix(one, two, eps=0.5, sparse=True)


def test_by_hand():
    assert ours.contingency_matrix(["b", "a", "b"], [7, 7, -1]).tolist() == [[0, 1], [1, 1]]
    assert ours.pair_confusion_matrix([0, 0, 1, 2], [0, 0, 1, 1]).tolist() == [[8, 2], [0, 2]]
    assert ours.rand_score([0, 0, 1, 2], [0, 0, 1, 1]) == 10 / 12
    assert ours.adjusted_rand_score([0, 0, 1, 2], [0, 0, 1, 1]) == 4 / 7
    assert ours.fowlkes_mallows_score([0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 2, 2]) == pytest.approx(4 / math.sqrt(72))
    assert ours.mutual_info_score([0, 0, 1, 1], [1, 1, 0, 0]) == pytest.approx(math.log(2))
    assert ours.homogeneity_completeness_v_measure([0, 0, 1, 1], [0, 1, 2, 3]) == pytest.approx((1, 0.5, 2 / 3))


@pytest.mark.parametrize("score", SCORES)
@pytest.mark.parametrize(
    "pair", [([], []), ([1], [5]), ([0, 0, 0], [0, 0, 0]), ([0, 1, 2], [0, 1, 2]), ([0, 0, 0], [0, 1, 2])], ids=str
)
def test_edges_are_scikit_learns(pair, score):
    nothing = score == "mutual_info_score" and not pair[0]  # of which scikit-learn takes the logarithm
    np.testing.assert_array_equal(getattr(ours, score)(*pair), 0.0 if nothing else getattr(theirs, score)(*pair))


def test_what_is_refused():
    for score in set(SCORES) - {"contingency_matrix"}:
        for pair in (([0, 1], [1, 1, 1]), ([[0, 1]], [0, 1]), ([0, np.nan], [0, 1])):
            with pytest.raises(ValueError) as expected:
                getattr(theirs, score)(*pair)
            with pytest.raises(ValueError) as found:
                getattr(ours, score)(*pair)
            assert str(found.value).replace("Input labels_true", "Input") == str(expected.value)
    with pytest.raises(ValueError, match=r"inconsistent numbers of samples: \[2, 3\]"):
        ours.contingency_matrix([0, 1], [1, 1, 1])


def test_labels_that_are_no_labels_are_told():
    with pytest.warns(UserWarning, match="received continuous values for label, and binary values for target"):
        ours.rand_score([0.5, 0.7, 0.1], [0, 1, 0])


def test_pairs_of_many_rows_do_not_overflow():
    """Products of pair counts pass 2^63; scikit-learn's Fowlkes-Mallows computes in float64 as well."""
    one, two = np.arange(200_000) % 2, np.arange(200_000) // 100_000
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert ours.adjusted_rand_score(one, two) == pytest.approx(theirs.adjusted_rand_score(one, two), abs=1e-15)
        assert ours.fowlkes_mallows_score(one, two) == pytest.approx(theirs.fowlkes_mallows_score(one, two))


# --- expected mutual information ---


def exact_expectation(rows, columns):
    """Vinh's sum in rational numbers; only the logarithms are rounded."""
    n, total = sum(rows), 0.0
    for a in rows:
        for b in columns:
            for x in range(max(1, a + b - n), min(a, b) + 1):
                chance = Fraction(math.comb(a, x) * math.comb(n - a, b - x), math.comb(n, b))
                total += float(chance * x / n) * math.log(n * x / (a * b))
    return total


@pytest.mark.parametrize("sizes", [([2, 3], [1, 4]), ([40, 1, 60], [33, 33, 34]), ([500, 700], [2, 1198]), ([7] * 9, [21] * 3)])
def test_expected_information_is_the_exact_sum(sizes):
    rows, columns = sizes
    table = np.round(np.outer(rows, columns) / sum(rows)).astype(int)
    table[:, -1] += np.array(rows) - table.sum(axis=1)
    table[-1] += np.array(columns) - table.sum(axis=0)
    table[-1, -1] += sum(rows) - table.sum()
    found = ours.expected_mutual_information(table, sum(rows))
    assert found == pytest.approx(exact_expectation(table.sum(axis=1).tolist(), table.sum(axis=0).tolist()), rel=1e-12)


def test_expected_information_of_large_clusters(rng):
    """Windows about the means and batches of them; scikit-learn adds up everything, with rounded factorials."""
    one, two = two_clusterings(rng, 60_000, 9, 13)
    table = ours.contingency_matrix(one, two)
    expected = theirs.expected_mutual_information(table, len(one))
    assert ours.expected_mutual_information(table, len(one)) == pytest.approx(expected, rel=1e-8)


def test_expected_information_does_not_depend_on_batches(rng, monkeypatch):
    from gpuclust.metrics import information

    table = ours.contingency_matrix(*two_clusterings(rng, 3000, 17, 40), sparse=True)
    found = ours.expected_mutual_information(table, 3000)
    monkeypatch.setattr(information, "BATCH", 100)
    assert ours.expected_mutual_information(table, 3000) == pytest.approx(found, rel=1e-13)


# --- memory ---


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
def test_integers_are_counted_in_blocks(rng, dtype):
    """No copy of the labels, which are 8 or 16 MB."""
    one, two = (each.astype(dtype) for each in two_clusterings(rng, 1_000_000, 50, 40))
    ours.adjusted_rand_score(one[:100], two[:100])
    tracemalloc.start()
    ours.adjusted_rand_score(one, two)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3 << 20
