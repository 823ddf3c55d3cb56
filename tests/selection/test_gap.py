"""The gap statistic and samples of rows."""

import numpy as np
import pytest

from gpuclust import KMeans, KMedians
from gpuclust.selection import choose_k
from gpuclust.selection.gap import PROCESS_BYTES, _jobs, _Uniform, gap
from gpuclust.selection.measure import stratified
from gpuclust.selection.sweep import open_rows, sweep


def test_one_cluster_by_hand(rng):
    """k=1: W is known in closed form for the rows and for every reference."""
    X = rng.normal(size=(50, 2)) * [3, 1]
    opened = open_rows(KMeans(), X, None, 1)
    found = gap(opened, sweep(opened, [1], 0), 7, n_references=4, reference="box", sample_size=1000)
    generator = np.random.default_rng(7)
    logs = []
    for child in generator.spawn(4):
        drawn = child.uniform(X.min(axis=0), X.max(axis=0), X.shape)
        logs.append(np.log(((drawn - drawn.mean(axis=0)) ** 2).sum()))
    own = np.log(((X - X.mean(axis=0)) ** 2).sum())
    assert found.value[0] == pytest.approx(np.mean(logs) - own, rel=1e-9)
    assert found.error[0] == pytest.approx(np.std(logs) * np.sqrt(1 + 1 / 4), rel=1e-6)
    assert found.rows == 50


def test_medians_have_manhattan_dispersion(rng):
    X = rng.normal(size=(51, 2))
    opened = open_rows(KMedians(tol=0), X, None, 1)
    found = gap(opened, sweep(opened, [1], 0), 7, n_references=1, reference="box", sample_size=1000)
    drawn = np.random.default_rng(7).spawn(1)[0].uniform(X.min(axis=0), X.max(axis=0), X.shape)
    logs = [np.log(np.abs(rows - np.median(rows, axis=0)).sum()) for rows in (drawn, X)]
    assert found.value[0] == pytest.approx(logs[0] - logs[1], rel=1e-9)


def test_uniform_rows_lie_in_the_box(rng):
    X = rng.normal(size=(400, 3)) * [5, 1, 0.1] + 7
    drawn = _Uniform(X, "box")(rng)
    assert np.all(drawn >= X.min(axis=0)) and np.all(drawn <= X.max(axis=0))
    np.testing.assert_allclose(drawn.std(axis=0), np.ptp(X, axis=0) / np.sqrt(12), rtol=0.15)


def test_uniform_rows_lie_along_the_principal_components(rng):
    """A thin diagonal: the box along the axes is nearly empty, the one along the components is full."""
    X = np.repeat(np.linspace(0, 10, 300)[:, None], 2, axis=1) + rng.normal(0, 0.01, (300, 2))
    assert np.abs(_Uniform(X, "pca")(rng) @ [1, -1]).max() < 0.2
    assert np.abs(_Uniform(X, "box")(rng) @ [1, -1]).max() > 5


def test_more_features_than_rows(rng):
    X = rng.normal(size=(6, 20))
    assert _Uniform(X, "pca")(rng).shape == X.shape


def test_the_reference_matters():
    rng = np.random.default_rng(0)
    X = np.repeat(np.linspace(0, 10, 100)[:, None], 2, axis=1) + rng.normal(0, 0.1, (100, 2))
    pca, box, auto = (
        choose_k(X, [1, 2, 3], criteria=["gap"], reference=reference, random_state=0).table["gap"].to_numpy()
        for reference in ("pca", "box", "auto")
    )
    assert np.all(box[1:] > pca[1:] + 0.3)  # rows on a line are far from a square, not from a line
    np.testing.assert_array_equal(pca, auto)


def test_weights_stay_with_the_rows(rng):
    """A row of weight 0 is neither in the box nor among the rows."""
    X = np.concatenate([rng.normal(size=(60, 2)), [[1e3, 1e3]]])
    weight = np.append(np.ones(60), 0)
    opened, plain = open_rows(KMeans(), X, weight, 1), open_rows(KMeans(), X[:60], None, 1)
    given = {"n_references": 2, "reference": "box", "sample_size": 100}
    one, other = (gap(each, sweep(each, [1], 0), 3, **given) for each in (opened, plain))
    assert one.rows == 60
    np.testing.assert_allclose(one.value, other.value, rtol=1e-9)


def test_a_stratified_sample(rng):
    labels = np.repeat([0, 1, 2, 4], [9000, 900, 99, 1])
    rows = stratified(labels, 1000, rng)
    assert np.all(np.diff(rows) > 0)
    np.testing.assert_array_equal(np.bincount(labels[rows]), [900, 90, 10, 0, 1])
    assert len(stratified(np.repeat([0, 1], [9990, 10]), 100, rng)) == 102  # two rows of a cluster at least
    np.testing.assert_array_equal(stratified(labels, 10_000, rng), np.arange(10_000))


def test_processes_do_not_show(rng):
    """References clustered side by side are the same references; progress is told in order."""
    X, told = rng.normal(size=(200, 2)), []
    tell = lambda *what: told.append(what)  # noqa: E731
    given = {"criteria": ["gap"], "n_references": 3, "random_state": 0}
    one, two = (choose_k(X, range(1, 4), n_jobs=jobs, progress=tell, **given) for jobs in (1, 2))
    np.testing.assert_array_equal(one.table["gap"], two.table["gap"])
    np.testing.assert_array_equal(one.table["gap_se"], two.table["gap_se"])
    assert [step for step in told if step[0] == "references"] == 2 * [("references", b, 3) for b in (1, 2, 3)]


def test_no_more_processes_than_the_memory_has_room_for(rng, monkeypatch):
    from gpuclust.backends.cpu import CPUBackend

    rows = rng.normal(size=(1000, 4))
    monkeypatch.setattr(CPUBackend, "free_bytes", lambda self: 3 * (PROCESS_BYTES + 10 * rows.nbytes))
    assert [_jobs(asked, CPUBackend(), rows) for asked in (1, 2, 8)] == [1, 2, 3]
    monkeypatch.setattr(CPUBackend, "free_bytes", lambda self: 0)
    assert _jobs(8, CPUBackend(), rows) == 1
