"""What separates clusters, against scipy.stats and by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats

import gpuclust
from gpuclust.profiling import pairwise_tests, separation

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def labels(rng):
    return rng.choice(["b", "a", "c"], size=300, p=[0.5, 0.3, 0.2])


@pytest.fixture
def X(rng, labels):
    """Strong, weak and no separation, ties, a far origin."""
    shift = np.select([labels == "a", labels == "b"], [0.0, 1.0], 3.0)
    X = rng.normal(size=(300, 5)) * (1 + shift[:, None])
    X[:, 0] += 4 * shift
    X[:, 1] = np.round(X[:, 1] + 0.3 * shift)
    X[:, 3] += 1e6
    X[:, 4] = 2.0
    return X


def parts(X, labels, f):
    return [X[labels == j, f] for j in np.unique(labels)]


def test_equal_to_scipy(X, labels):
    found = separation(X, labels)
    for f in range(4):
        row, groups = found.loc[f"x{f}"], parts(X, labels, f)
        F, H = stats.f_oneway(*groups), stats.kruskal(*groups)
        assert row[["F", "F_p", "H", "H_p"]].tolist() == pytest.approx([*F, *H], rel=1e-8)
        every = np.concatenate(groups)
        between = sum(len(g) * (g.mean() - every.mean()) ** 2 for g in groups)
        assert row["eta_squared"] == pytest.approx(between / ((every - every.mean()) ** 2).sum(), rel=1e-6)
        assert row["epsilon_squared"] == pytest.approx(H.statistic / 299, rel=1e-9)
    assert found.loc["x4"].isna().all()
    assert found.index[0] == "x0" and found.index[-1] == "x4"
    assert found.columns[:2].tolist() == ["eta_squared", "epsilon_squared"]
    for name in ("F", "welch", "H"):
        p = found[f"{name}_p"].dropna()
        wanted = stats.false_discovery_control(p)
        np.testing.assert_array_equal(found.loc[p.index, f"{name}_p_adjusted"], wanted)


def test_welch_by_hand():
    """The formulas of Welch (1951) worked through on three small groups, and two groups: t squared."""
    groups = [np.array([1.0, 2, 3]), np.array([2.0, 4, 6, 8]), np.array([9.0, 10])]
    X, labels = np.concatenate(groups)[:, None], np.repeat([0, 1, 2], [3, 4, 2])
    w = np.array([3 / 1, 4 / (20 / 3), 2 / 0.5])
    centre = (w * [2, 5, 9.5]).sum() / w.sum()
    spread = ((1 - w / w.sum()) ** 2 / [2, 3, 1]).sum()
    F = ((w * ([2, 5, 9.5] - centre) ** 2).sum() / 2) / (1 + 2 / 8 * spread)
    found = separation(X, labels).iloc[0]
    assert found["welch_F"] == pytest.approx(F, rel=1e-12)
    assert found["welch_p"] == pytest.approx(stats.f.sf(F, 2, 8 / (3 * spread)), rel=1e-12)
    two = separation(X[:7], labels[:7]).iloc[0]
    t = stats.ttest_ind(*groups[:2], equal_var=False)
    assert two[["welch_F", "welch_p"]].tolist() == pytest.approx([t.statistic**2, t.pvalue], rel=1e-12)


def test_pairs_against_scipy(X, labels):
    found = pairwise_tests(pd.DataFrame(X, columns=list("vwxyz")), labels, "a", "c")
    for f, name in enumerate("vwxy"):
        one, two = (X[labels == j, f] for j in "ac")
        t = stats.ttest_ind(one, two, equal_var=False)
        assert found.loc[name, ["t", "p"]].tolist() == pytest.approx([*t], rel=1e-6)
        assert found.loc[name, "difference"] == pytest.approx(one.mean() - two.mean(), rel=1e-6)
        free = len(one) + len(two) - 2
        pooled = np.sqrt((((one - one.mean()) ** 2).sum() + ((two - two.mean()) ** 2).sum()) / free)
        assert found.loc[name, "cohens_d"] == pytest.approx((one.mean() - two.mean()) / pooled, rel=1e-6)
        share = found.loc[name, "hedges_g"] / found.loc[name, "cohens_d"]
        assert share == pytest.approx(1 - 3 / (4 * free - 1), rel=1e-4)
    assert found.index[0] == "v"
    assert np.isnan(found.loc["z", "t"])
    np.testing.assert_array_equal(found["p_adjusted"].dropna(), stats.false_discovery_control(found["p"].dropna()))
    back = pairwise_tests(X, labels, "c", "a").loc["x0"]
    assert (back["t"], back["mean_a"]) == (-found.loc["v", "t"], found.loc["v", "mean_b"])


@pytest.mark.parametrize("test", [separation, lambda X, labels: pairwise_tests(X, labels, 0, 2)])
def test_streams_chunks_and_noise(X, labels, test, monkeypatch):
    code = np.unique(labels, return_inverse=True)[1]
    whole = test(X, code)
    monkeypatch.setattr("gpuclust.profiling.rows.COLUMN_BYTES", X.nbytes // 2)
    streamed = test(gpuclust.stream([X[:7], X[7:]]), code)
    pd.testing.assert_frame_equal(whole, streamed, check_exact=True)
    more = np.concatenate([X, 100 + X[:50]])
    pd.testing.assert_frame_equal(whole, test(more, np.concatenate([code, np.full(50, -1)])), rtol=1e-9)


def test_clusters_that_cannot_be_compared(X, labels):
    with pytest.raises(ValueError, match="labels has 1 beside noise; 2 are needed"):
        separation(X, np.where(labels == "a", -1, 3))
    with pytest.raises(ValueError, match="'d' is none of the labels 'a', 'b', 'c'"):
        pairwise_tests(X, labels, "a", "d")
    with pytest.raises(ValueError, match="both 'a'"):
        pairwise_tests(X, labels, "a", "a")
    labels = labels.astype(object)
    labels[0] = "alone"
    with pytest.raises(ValueError, match="'alone' has one row"):
        pairwise_tests(X, labels, "a", "alone")
    assert separation(X, labels)["welch_F"].isna().all()
    assert separation(X, labels)["F"].notna().sum() == 4
