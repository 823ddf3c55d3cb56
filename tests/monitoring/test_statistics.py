"""The statistics of drift, by hand and against SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import stats

from gpuclust.monitoring import statistics as st
from gpuclust.monitoring.curves import Curve, wanted
from gpuclust.monitoring.tally import count, edges_of, unseen


def sampled(values):
    """Kept values and edges of a sample, and the share of it at most each edge."""
    curve = Curve.of(np.asarray(values, float), None, wanted(1))
    return edges_of(curve.values), np.concatenate([[0.0], curve.shares])


def test_psi_by_hand():
    p, q = np.array([0.5, 0.3, 0.2]), np.array([0.25, 0.5, 0.25])
    expected = -0.25 * math.log(0.5) + 0.2 * math.log(5 / 3) + 0.05 * math.log(1.25)
    assert st.psi(p, 1000, q, 1000) == pytest.approx(expected, rel=1e-14)


def test_an_empty_cell_counts_as_half_a_row():
    p, q = np.array([0.9, 0.1, 0.0]), np.array([1.0, 0.0, 0.0])
    expected = 0.1 * math.log(1 / 0.9) + (0.5 / 50 - 0.1) * math.log(0.5 / 50 / 0.1)
    assert st.psi(p, 200, q, 50) == pytest.approx(expected, rel=1e-14)


def test_the_psi_of_equal_shares_is_0_and_chance_is_taken_off():
    p = np.full(10, 0.1)
    assert st.psi(p, 70, p, 7) == 0
    q = np.where(np.arange(10) < 5, 0.12, 0.08)
    found = st.stability(p, 1000, q, 500)
    assert found.effect == pytest.approx(found.statistic - 9 * (1 / 1000 + 1 / 500))


def test_psi_without_drift_is_what_chance_adds(rng):
    p = np.full(10, 0.1)
    psi = [st.psi(rng.multinomial(2000, p) / 2000, 2000, rng.multinomial(500, p) / 500, 500) for _ in range(400)]
    assert np.mean(psi) == pytest.approx(9 * (1 / 2000 + 1 / 500), rel=0.15)


def test_chi_squared_is_scipys():
    old, new = np.array([30.0, 50, 20]), np.array([60.0, 70, 70])
    assert st.homogeneity(old, new) == pytest.approx(stats.chi2_contingency([old, new]).pvalue, rel=1e-12)


def test_chi_squared_by_hand():
    # both samples expect 15 and 15: sum of 5^2 / 15 over four cells = 20/3, one degree of freedom
    assert st.homogeneity(np.array([10.0, 20]), np.array([20.0, 10])) == pytest.approx(math.erfc(math.sqrt(10 / 3)))


def test_small_cells_are_put_together():
    old, new = st.merged(np.array([500.0, 5, 3, 492]), np.array([50.0, 0, 1, 49]))
    assert old.tolist() == [500, 500] and new.tolist() == [50, 50]
    assert [len(part) for part in st.merged(np.array([1.0, 1]), np.array([1.0, 1]))] == [1, 1]


@pytest.mark.parametrize(("m", "n"), [(80, 30), (1000, 1000), (300, 20_000)])
def test_kolmogorov_is_scipys_where_every_value_is_kept(rng, m, n):
    old, new = rng.integers(0, 50, m) / 4, rng.integers(0, 56, n) / 4
    edges, share = sampled(old)
    found = st.kolmogorov(share, m, count(edges, new))
    theirs = stats.ks_2samp(old, new, method="asymp")
    assert found.statistic == pytest.approx(theirs.statistic, rel=1e-12)
    assert found.p == pytest.approx(theirs.pvalue, rel=1e-9)


def test_kolmogorov_of_kept_values_is_a_little_less_than_of_all(rng):
    old, new = rng.normal(size=30_000), rng.normal(0.05, 1, 5000)
    edges, share = sampled(old)
    found, theirs = st.kolmogorov(share, len(old), count(edges, new)), stats.ks_2samp(old, new, method="asymp")
    assert 0 <= theirs.statistic - found.statistic < 2e-3 and found.p >= theirs.pvalue


def test_what_is_allowed_is_taken_off_before_the_test():
    share, counts = np.array([0.0, 0.5, 1.0]), np.array([0, 60, 40, 0])
    strict, lenient = st.kolmogorov(share, 100, counts), st.kolmogorov(share, 100, counts, 0.1)
    assert strict.effect == lenient.effect == pytest.approx(0.1) and strict.p < lenient.p == 1


def test_wasserstein_is_scipys_with_values_at_the_next_kept_one(rng):
    old, new = rng.normal(size=400), rng.normal(0.3, 1.5, 900)
    edges, share = sampled(old)
    kept = np.sort(old)
    theirs = stats.wasserstein_distance(old, kept[np.searchsorted(kept, new).clip(max=399)])
    assert st.wasserstein(share, edges, count(edges, new)) == pytest.approx(theirs, rel=1e-9)


def test_wasserstein_of_few_values_is_exact():
    edges, share = sampled([0.0, 0, 1, 3])
    assert st.wasserstein(share, edges, count(edges, np.array([0.0, 1, 3, 3]))) == pytest.approx(0.75)


def test_more_than_a_limit_is_never_called_rarer_than_it_is():
    """The chance that c of n new values are beyond the largest of m is hypergeometric."""
    for m, n, s in ((100, 20, 0), (50, 500, 3), (1000, 1000, 1)):
        for c in (1, 2, 5):
            exact = stats.hypergeom.sf(c - 1, m + n, n, s + c)
            assert exact <= st.more(c, n, s, m) <= exact * 2 or exact > 0.1
    assert st.more(0, 10, 0, 10) == 1


def test_changed_counts_both_ways():
    assert st.changed(100, 1000, 100.0, 1000.0) == pytest.approx(1)
    assert st.changed(0, 1000, 0.0, 1000.0) == 1
    rarer, more = st.changed(0, 10_000, 12.0, 10_000.0), st.changed(12, 10_000, 0.0, 10_000.0)
    assert rarer == more == pytest.approx(2 * 0.5**12)
    assert st.changed(12, 20, 8.0, 20.0) == st.changed(8, 20, 12.0, 20.0) > 0.1
    table = [[300, 700], [150, 850]]
    assert st.changed(300, 1000, 150.0, 1000.0) == pytest.approx(stats.chi2_contingency(table, False).pvalue)


def test_holm_by_hand():
    np.testing.assert_allclose(st.holm(np.array([0.03, 0.01, 0.5, 0.02])), [0.06, 0.04, 0.5, 0.06])
    assert st.holm(np.array([0.6, 0.9])).tolist() == [1, 1]


def test_deciles_are_cut_where_values_are():
    _, share = sampled(np.arange(100.0))
    assert share[st.deciles(share)].tolist() == [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9]
    _, share = sampled([0.0] * 95 + [1] * 5)
    assert share[st.deciles(share)].tolist() == [0.95]
    _, share = sampled([7.0] * 10)
    assert not len(st.deciles(share))


def test_rare_categories_end_where_no_category_was_there_as_often():
    assert st.rare(np.array([50, 30, 12, 11, 9, 2, 1, 0]) / 115, 115) == 2  # 12 and 11 go with 9
    assert st.rare(np.array([50, 30, 9, 2, 1, 0]) / 92, 92) == 2


def test_unknown_categories_are_expected_as_often_as_some_were_there_once(rng):
    p = np.arange(1, 2001.0) ** -1.2
    p /= p.sum()
    ratio = []
    for _ in range(100):
        counts = rng.multinomial(1000, p)
        expected, _ = st.unknown(counts[counts > 0] / 1000, 1000)
        ratio.append(p[counts == 0].sum() - expected)
    assert abs(np.mean(ratio)) < 0.005
    assert st.unknown(np.array([0.5, 0.5]), 10) == (0, 10)


@pytest.mark.parametrize("n", [5, 50])
def test_new_rows_lie_farther_from_a_mean_than_those_that_made_it(rng, n):
    old, new = rng.normal(size=(4000, n)), rng.normal(size=4000)
    centre = old.mean(axis=1)
    inside, outside = np.mean((old - centre[:, None]) ** 2), np.mean((new - centre) ** 2)
    assert outside * unseen(np.array([n]))[0] ** 2 == pytest.approx(inside, rel=0.08)
