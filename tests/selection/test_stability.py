"""Whether clusters are found again."""

import numpy as np
import pandas as pd
import pytest
from sklearn.datasets import make_blobs
from sklearn.metrics import adjusted_rand_score

from gpuclust import KMeans, KMedians, MiniBatchKMeans, stream
from gpuclust.selection import stability
from gpuclust.selection.agreement import best_jaccard, word

BLOBS = make_blobs(150, centers=[(0, 0), (9, 0), (0, 9)], cluster_std=0.6, random_state=0)[0]


def test_jaccard_by_hand():
    # reference 0: {0..3}, 1: {4..9}, 2: nothing drawn; run: {0, 1, 2}, {3, 4, 5}, {6..9}
    table = np.array([[3, 1, 0], [0, 2, 4], [0, 0, 0]])
    np.testing.assert_allclose(best_jaccard(table), [3 / 4, 4 / 6, np.nan])
    np.testing.assert_array_equal(best_jaccard(np.diag([5, 1])), [1, 1])


@pytest.mark.parametrize("method", ["seeds", "bootstrap", "half"])
@pytest.mark.parametrize("kind", [KMeans, KMedians, MiniBatchKMeans])
def test_separated_clusters_are_stable(kind, method):
    found = stability(kind(3, n_init=3), BLOBS, method=method, n_runs=4, random_state=0)
    np.testing.assert_array_equal(found.ari, np.ones(6))
    np.testing.assert_array_equal(found.jaccard, np.ones(3))
    assert found.jaccard_runs.shape == (4, 3) and found.sizes.tolist() == [50] * 3
    assert all("highly stable" in verdict and "4 of 4 runs" in verdict for verdict in found.verdicts)
    assert "3 of 3 clusters are stable" in found.summary


def test_what_is_not_there_is_not_stable():
    X = np.concatenate([np.random.default_rng(0).random((200, 2)), [[30.0, 30.0]] * 40])
    found = stability(KMeans(5), X, method="bootstrap", n_runs=10, random_state=0)
    (clear,) = np.flatnonzero(found.sizes == 40)
    assert found.jaccard[clear] == 1 and np.all(np.delete(found.jaccard, clear) < 0.85)
    assert found.ari.shape == (45,) and found.ari.mean() < 0.9
    assert "found again in 10 of 10 runs" in found.verdicts[clear]


def test_the_reference_is_the_fitted_model():
    rng = np.random.default_rng(0)
    centers = np.array([[4.5, 0.0], [0.0, 9.0]])
    model = KMeans(2, init=centers, n_init=1, max_iter=1).fit(BLOBS)
    found = stability(model.set_params(init="k-means++"), BLOBS, n_runs=3, random_state=0)
    np.testing.assert_array_equal(found.centers, model.cluster_centers_)
    np.testing.assert_array_equal(found.sizes, np.bincount(model.labels_))
    with pytest.raises(ValueError, match="X has 3 features, the fitted estimator 2"):
        stability(model, rng.normal(size=(9, 3)))


def test_seeds_of_one_optimum_by_hand(monkeypatch):
    """The numbers follow from the labels: ARI as scikit-learn has it, Jaccard as it is defined."""
    from gpuclust.selection import agreement as module

    runs = iter([[0, 0, 0, 1, 1, 1], [0, 0, 1, 1, 1, 1], [1, 1, 1, 0, 0, 0]])
    made = [np.array(labels, np.uint8) for labels in runs]
    left = iter(made)
    monkeypatch.setattr(module, "_labels", lambda opened, centers: next(left))
    found = module.stability(KMeans(2), np.arange(6.0)[:, None], n_runs=2, random_state=0)
    assert found.ari.tolist() == [adjusted_rand_score(made[1], made[2])]
    np.testing.assert_allclose(found.jaccard_runs, [[2 / 3, 3 / 4], [1, 1]])
    np.testing.assert_allclose(found.jaccard, [5 / 6, 7 / 8])


def test_the_seed_decides_and_chunks_do_not(tmp_path):
    X = np.random.default_rng(1).random((120, 2))
    np.save(tmp_path / "X.npy", X)
    given = [
        (KMeans(4), X), (KMeans(4, random_state=3), X), (KMeans(4, chunk_size=31), X),
        (KMeans(4, chunk_size=50), tmp_path / "X.npy"), (KMeans(4), stream([X[:50], X[50:]])),
    ]  # fmt: skip
    for method in ("seeds", "bootstrap", "half"):
        found = [
            stability(model, data, method=method, n_runs=3, random_state=None if model.random_state else 3)
            for model, data in given
        ]
        for other in found[1:]:
            np.testing.assert_array_equal(other.ari, found[0].ari)
            np.testing.assert_array_equal(other.jaccard_runs, found[0].jaccard_runs)
    other = stability(KMeans(4), X, method="half", n_runs=3, random_state=4)
    assert not np.array_equal(other.ari, found[0].ari)


def test_weights(rng):
    X = rng.random((80, 2))
    weight = np.repeat([1.0, 0.0], [60, 20])
    X[60:] += 50
    for method in ("seeds", "half", "bootstrap"):
        found = stability(KMeans(3), X, method=method, n_runs=3, sample_weight=weight, random_state=0)
        assert found.sizes.sum() == 60 and np.all(found.centers < 1)


def test_a_sample_is_a_weight(rng):
    """Samples are weights of the rows that are there: they are read once, whatever is drawn."""
    from gpuclust.backends.cpu import CPUBackend

    uploads = []
    plain = CPUBackend.upload
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(CPUBackend, "upload", lambda self, rows, dtype: uploads.append(rows.ndim) or plain(self, rows, dtype))
        stability(KMeans(3), BLOBS, method="bootstrap", n_runs=3, random_state=0)
    assert uploads.count(2) == 1


@pytest.mark.parametrize("suffix", ["array", "npy", "iterable"])
def test_reweighted_rows(suffix, rng, tmp_path):
    X, first, second = rng.random((40, 2)), rng.integers(1, 4, 40), rng.integers(0, 3, 40)
    np.save(tmp_path / "X.npy", X)
    data = {"array": X, "npy": tmp_path / "X.npy", "iterable": stream([(X[:9], first[:9]), (X[9:], first[9:])])}[suffix]
    from gpuclust.selection.sweep import open_rows

    source = open_rows(KMeans(), data, None if suffix == "iterable" else first, 2).source
    other = source.reweighted(second.astype(float))
    np.testing.assert_array_equal(other.host_weight, first * second)
    np.testing.assert_array_equal(source.host_weight, first)
    weights = [source.backend.to_host(chunk.weight) for chunk in other.chunks()]
    np.testing.assert_array_equal(np.concatenate(weights), first * second)
    assert other.n_rows == 40 and not other._ledger


def test_words():
    values = [1.0, 0.85, 0.84, 0.75, 0.74, 0.6, 0.59, 0.5, 0.49, 0.0, np.nan]
    expected = ["highly", "highly", "stable", "stable", "a pattern", "a pattern", "not to", "not to", "dissolved", "dissolved",
                "not comparable"]  # fmt: skip
    assert all(word(value).startswith(text) for value, text in zip(values, expected, strict=True))


def test_table_and_plot():
    found = stability(KMeans(3), BLOBS, n_runs=2, random_state=0)
    table = found.table
    assert table.index.name == "cluster" and table["rows"].sum() == 150 and table["share"].sum() == pytest.approx(1)
    assert isinstance(table, pd.DataFrame) and table["recovered"].tolist() == [1, 1, 1]
    from matplotlib import pyplot as plt

    plt.close(found.plot().figure_)
    plt.close(found.plot(kind="ari").figure_)


def test_progress_is_told():
    told = []
    stability(KMeans(2), BLOBS, n_runs=2, random_state=0, progress=lambda *given: told.append(given))
    assert told == [("run", 1, 2), ("run", 2, 2)]


@pytest.mark.parametrize(
    ("estimator", "given", "error", "message"),
    [
        (KMeans(3), {"method": "jackknife"}, ValueError, "none of seeds, bootstrap, half"),
        (KMeans(3), {"n_runs": 1}, ValueError, "at least 2"),
        (KMeans(3, init=BLOBS[:3]), {}, ValueError, "makes all runs the same"),
        (KMeans(200), {}, ValueError, "n_samples=150"),
        ("k-means", {}, TypeError, "none of gpuclust's"),
    ],
)
def test_refusals(estimator, given, error, message):
    with pytest.raises(error, match=message):
        stability(estimator, BLOBS, **given)


def test_given_centres_may_be_bootstrapped():
    found = stability(KMeans(3, init=BLOBS[:3]), BLOBS, method="bootstrap", n_runs=2, random_state=0)
    assert found.ari.shape == (1,)


def test_halves_with_fewer_rows_than_clusters_are_refused(rng):
    with pytest.raises(ValueError, match="Half of 31 rows is fewer than 30 clusters: use method='bootstrap'"):
        stability(KMeans(30, random_state=0), rng.normal(size=(31, 2)), method="half", n_runs=2)
