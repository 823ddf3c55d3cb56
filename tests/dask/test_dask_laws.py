"""Whatever the shards and whoever holds them, a fit is that of one machine, to the bit."""

import pickle

import dask
import dask.array as da
import numpy as np
import pandas as pd
import pytest

import gpuclust
from gpuclust import DataError, KMeans, KMedians, MiniBatchKMeans, MiniBatchKMedians
from gpuclust.backends.metric import Metric
from gpuclust.data.dask import DaskSource

pytestmark = pytest.mark.usefixtures("local")


def blobs(rng, n=600, d=5, dtype=np.float32):
    return np.concatenate([rng.normal(m, 1, (n // 3, d)) for m in (-4, 0, 5)])[rng.permutation(n)].astype(dtype)


def cut(X, borders):
    """Return X in delayed pieces; borders may repeat, which makes empty ones."""
    return [dask.delayed(X[a:b].copy()) for a, b in zip([0, *borders], [*borders, len(X)], strict=True)]


def borders(n, shards, rng):
    return [] if shards == 1 else sorted(rng.integers(0, n + 1, shards - 1).tolist())


def check_same(one, other):
    assert np.array_equal(one.cluster_centers_, other.cluster_centers_)
    assert one.cluster_centers_.dtype == other.cluster_centers_.dtype
    assert (one.inertia_, one.n_iter_) == (other.inertia_, other.n_iter_)
    assert np.array_equal(np.asarray(one.labels_), np.asarray(other.labels_))


SEEDED = [
    (KMeans, {}),
    (KMeans, {"init": "k-means||"}),
    (KMeans, {"init": "random", "n_init": 2}),
    (KMedians, {}),
    (KMedians, {"init": "k-means||", "median": "lower"}),
    (MiniBatchKMeans, {"batch_size": 50, "max_iter": 3}),
    (MiniBatchKMedians, {"batch_size": 50, "max_iter": 3}),
]
WEIGHTED = [(KMeans, {}, True), (KMedians, {"init": "k-means||"}, True), (MiniBatchKMeans, {"batch_size": 50}, True)]


@pytest.mark.parametrize(("kind", "options", "weighted"), [*((*case, False) for case in SEEDED), *WEIGHTED])
def test_seven_shards_are_one_array(kind, options, weighted, rng):
    X = blobs(rng, 300, 4)
    weight = rng.integers(0, 4, len(X)).astype(float) if weighted else None
    model, alone = (kind(4, random_state=0, **options) for _ in range(2))
    at = borders(len(X), 7, rng)
    model.fit(gpuclust.shards(cut(X, at)), sample_weight=None if weight is None else gpuclust.shards(cut(weight, at)))
    check_same(model, alone.fit(X, sample_weight=weight))


@pytest.mark.parametrize(
    ("kind", "shards", "dtype"),
    [(KMeans, 1, np.float32), (KMeans, 2, np.float64), (KMeans, 40, np.float32), (KMedians, 1, np.float64), (KMedians, 40, np.float32)],
)
def test_shards_that_are_few_or_more_than_rows(kind, shards, dtype, rng):
    X = blobs(rng, 24, dtype=dtype)
    at = borders(len(X), shards, rng)
    model = kind(3, init=X[:3], tol=0).fit(gpuclust.shards(cut(X, at)))
    check_same(model, kind(3, init=X[:3], tol=0).fit(X))
    assert model.labels_.chunks == (tuple(np.diff([0, *at, len(X)])),)
    assert np.array_equal(model.inertia_history_, kind(3, init=X[:3], tol=0).fit(X).inertia_history_)


@pytest.mark.parametrize("kind", [KMeans, KMedians])
def test_clusters_that_run_empty_are_given_rows(kind, rng):
    X, far = blobs(rng, 90), np.full((2, 5), 1e3, np.float32)
    init = np.concatenate([X[:2], far + [[0.0], [50.0]]]).astype(np.float32)
    model = kind(4, init=init).fit(gpuclust.shards(cut(X, [10, 40])))
    check_same(model, kind(4, init=init).fit(X))


def test_chunk_size_changes_nothing(rng):
    X = blobs(rng)
    models = [KMedians(4, init=X[:4], max_iter=4, chunk_size=size).fit(gpuclust.shards(cut(X, [100, 400]))) for size in (40, None)]
    check_same(*models)


@pytest.mark.parametrize("chunks", [(600, 5), (100, 2)], ids=["rows", "tiles"])
def test_arrays(chunks, rng):
    X = blobs(rng)
    lazy = da.from_array(X, chunks=chunks)
    model, alone = KMeans(4, random_state=0).fit(lazy), KMeans(4, random_state=0).fit(X)
    check_same(model, alone)
    assert isinstance(model.labels_, da.Array) and model.labels_.dtype == np.int32
    assert model.labels_.chunks == (lazy.chunks[0],)
    for name in ("predict", "transform"):
        found, expected = getattr(model, name)(lazy), getattr(alone, name)(X)
        assert isinstance(found, da.Array) and found.shape == expected.shape and found.dtype == expected.dtype
        assert np.array_equal(found.compute(), expected)
    assert model.score(lazy) == alone.score(X)
    assert np.array_equal(model.fit_predict(lazy).compute(), alone.labels_)
    assert np.array_equal(model.fit_transform(lazy).compute(), alone.transform(X))


@pytest.mark.parametrize("given", ["collection", "other chunks", "array"])
def test_weights_wherever_they_are(given, rng):
    X, weight = blobs(rng), rng.uniform(0, 3, 600)
    options = {"init": X[:4], "max_iter": 5}
    lazy = {"collection": da.from_array(weight, chunks=150), "other chunks": da.from_array(weight, chunks=37)}
    model = KMeans(4, **options).fit(da.from_array(X, chunks=(150, 5)), sample_weight=lazy.get(given, weight))
    alone = KMeans(4, **options).fit(X, sample_weight=weight)
    check_same(model, alone)
    assert model.score(da.from_array(X, chunks=(150, 5)), sample_weight=weight) == alone.score(X, sample_weight=weight)


def test_integers_are_float64(rng):
    X = rng.integers(0, 50, (300, 3))
    check_same(KMeans(4, random_state=0).fit(da.from_array(X, chunks=(99, 3))), KMeans(4, random_state=0).fit(X))


def test_one_shard_of_float64_makes_all_so(rng):
    X = blobs(rng)
    pieces = [dask.delayed(X[:100].astype(np.float64)), dask.delayed(X[100:])]
    check_same(KMeans(3, random_state=0).fit(gpuclust.shards(pieces)), KMeans(3, random_state=0).fit(X.astype(float)))


def test_frames_bring_their_names(rng):
    frame = pd.DataFrame(blobs(rng), columns=list("vwxyz"))
    dd = pytest.importorskip("dask.dataframe")
    lazy = dd.from_pandas(frame, npartitions=4)
    model, alone = KMeans(3, random_state=0).fit(lazy), KMeans(3, random_state=0).fit(frame)
    check_same(model, alone)
    assert model.feature_names_in_.tolist() == list("vwxyz")
    found = model.predict(lazy)
    assert isinstance(found, da.Array) and np.array_equal(found.compute(), alone.labels_)
    with pytest.raises(ValueError, match="feature names"):
        model.score(lazy.rename(columns={"v": "other"}))


def test_futures_and_persisted_arrays(rng, local):
    X = blobs(rng)
    alone = KMeans(3, random_state=0).fit(X)
    check_same(KMeans(3, random_state=0).fit(gpuclust.shards(local.scatter([X[:200], X[200:]]))), alone)
    check_same(KMeans(3, random_state=0).fit(da.from_array(X, chunks=(99, 5)).persist()), alone)


@pytest.fixture
def files(tmp_path, rng):
    """Return rows, their weights, and the patterns of the files that hold them, one of which is empty."""
    pytest.importorskip("pyarrow")
    X, weight = blobs(rng), rng.uniform(0, 3, 600)
    for i, (a, b) in enumerate([(0, 250), (250, 250), (250, 251), (251, 600)]):
        np.save(tmp_path / f"part-{i}.npy", X[a:b])
        frame = pd.DataFrame(X[a:b], columns=list("vwxyz")).assign(weight=weight[a:b])
        frame.to_parquet(tmp_path / f"part-{i}.parquet")
    return X, weight, tmp_path / "part-*.npy", tmp_path / "part-*.parquet"


@pytest.mark.parametrize("memory", [None, "1MB"], ids=["held", "streamed"])
@pytest.mark.parametrize("kind", [KMeans, KMedians])
def test_files_are_read_by_the_workers(kind, memory, files):
    X, weight, arrays, tables = files
    with gpuclust.config_context(memory=memory):
        check_same(kind(3, random_state=0).fit(gpuclust.shards(arrays)), kind(3, random_state=0).fit(X))
        model = kind(3, random_state=0).fit(gpuclust.shards(tables, columns=list("vwxyz"), weight="weight"))
    alone = kind(3, random_state=0).fit(pd.DataFrame(X, columns=list("vwxyz")), sample_weight=weight)
    assert np.array_equal(model.cluster_centers_, alone.cluster_centers_)
    assert (model.inertia_, model.feature_names_in_.tolist()) == (alone.inertia_, list("vwxyz"))


def test_a_budget_is_that_of_each_worker(files):
    with gpuclust.config_context(memory="8KB"), pytest.raises(gpuclust.DeviceMemoryError, match="Worker .*too small"):
        KMeans(3, random_state=0).fit(gpuclust.shards(files[2]))


def test_mini_batches_of_files_that_cannot_seek(files):
    *_, tables = files
    with gpuclust.config_context(memory="2MB"):
        model = MiniBatchKMeans(3, random_state=0, batch_size=64).fit(gpuclust.shards(tables, columns=list("vwxyz")))
    assert model.cluster_centers_.shape == (3, 5) and np.isfinite(model.inertia_)


@pytest.mark.parametrize(
    ("X", "weight", "message"),
    [
        (lambda: gpuclust.shards([]), None, "no shards"),
        (lambda: gpuclust.shards("/nowhere/*.npy"), None, "No file is called"),
        (lambda: gpuclust.shards([dask.delayed(np.zeros((0, 2)))]), None, "no rows"),
        (lambda: gpuclust.shards(cut(np.zeros((9, 2)), [3]) + cut(np.zeros((9, 3)), [])), None, "differ in their features"),
        (lambda: gpuclust.shards([dask.delayed(np.array([["a"]]))]), None, "table of numbers"),
        (lambda: da.zeros((4, 4, 4)), None, "2 dimensions"),
        (lambda: pytest.importorskip("dask.bag").from_sequence([1, 2]), None, "2 dimensions"),
        (lambda: da.zeros((8, 2), chunks=(4, 2)), np.ones(7), "expected .8,."),
        (lambda: da.zeros((8, 2), chunks=(4, 2)), -np.ones(8), "[Nn]egative"),
        (lambda: da.zeros((8, 2), chunks=(4, 2)), 2.0, "a weight each"),
        (lambda: da.zeros((8, 2), chunks=(4, 2)), lambda: -da.ones(8, chunks=4), "not negative"),
        (lambda: da.zeros((8, 2), chunks=(4, 2)), lambda: da.ones(9, chunks=3), "same chunks"),
        (lambda: da.zeros((1, 2)), None, "n_samples=1 should be >= n_clusters=2"),
        (lambda: da.full((8, 2), np.nan), None, "NaN"),
        (lambda: da.from_array(np.array([[0.0, 1], [2, np.inf], [3, 4]]), chunks=(2, 2)), None, "infinity"),
    ],
)  # fmt: skip
def test_what_is_refused(X, weight, message):
    with pytest.raises(ValueError, match=message):
        KMeans(2).fit(X(), sample_weight=weight() if callable(weight) else weight)


def test_without_a_cluster_it_is_said_what_to_do(monkeypatch):
    import distributed

    def missing():
        raise ValueError("No clients found")

    monkeypatch.setattr(distributed, "default_client", missing)
    with pytest.raises(DataError, match=r"distributed\.Client"):
        KMeans(2).fit(da.zeros((8, 2)))


def test_rows_do_not_pass_through_the_client(monkeypatch, rng):
    """What the client is sent and sends depends on k and d, and not on the number of rows."""
    from gpuclust.data.crew import Crew

    seen = []
    awaited, packed = Crew._awaited, Crew._packed
    monkeypatch.setattr(Crew, "_awaited", lambda *args: seen.append(awaited(*args)) or seen[-1])
    monkeypatch.setattr(Crew, "_packed", lambda *args: seen.append(packed(*args)) or seen[-1])

    def most(kind, n):
        del seen[:]
        X = da.random.default_rng(0).normal(size=(n, 8), chunks=(n // 4, 8)).astype(np.float32)
        kind(5, init=np.eye(5, 8, dtype=np.float32), max_iter=4).fit(X)
        return max(map(len, seen))

    assert most(KMeans, 80_000) < 1.1 * most(KMeans, 8_000) < 60_000


def test_the_search_for_medians_stays_with_the_client(rng):
    from gpuclust.objectives.median import Median
    from gpuclust.solvers.scan import scan

    source = DaskSource(gpuclust.shards(cut(blobs(rng), [300])), None, "cpu")
    objective, _ = Median.start(source, scan(source, Metric.MANHATTAN), np.eye(50, 5))
    assert objective.search is not None and len(pickle.dumps(objective.partial)) < 5_000


def test_a_step_is_merged_in_the_order_of_the_shards(rng):
    from gpuclust.profiling.rows import columns

    X = blobs(rng)
    source = DaskSource(gpuclust.shards(cut(X, borders(600, 9, rng))), None, "cpu")
    assert np.array_equal(np.column_stack(list(columns(source))), X)
