"""Law 9: no n x k array, at most 24 bytes a row beside the data, and a budget that is kept."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest

import gpuclust
from gpuclust import DeviceMemoryError, KMedians
from gpuclust.backends.layout import group_count
from gpuclust.data.plan import statistics_bytes

from .cases import blobs
from .peak import linux, measured
from .runs import fit, write_npy, write_parquet

pytestmark = pytest.mark.usefixtures("one_thread")
MB = 1 << 20


class traced:
    """Bytes that Python and NumPy had allocated at most, beyond those at the start."""

    def __enter__(self):
        tracemalloc.start()
        return self

    def __exit__(self, *error):
        self.bytes = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()


@linux
def test_no_array_of_rows_by_clusters():
    """Rows x clusters in float32 would take 240 MB."""
    (grown,) = measured("""
X = np.random.default_rng(0).standard_normal((200_000, 4), np.float32)
KMeans(300, init=X[:300], max_iter=2).fit(X[:5000]).predict(X[:5000])
with growth() as peak:
    model = KMeans(300, init=X[:300], max_iter=3).fit(X)
    model.predict(X)
print(peak.bytes)
""")
    assert grown < 64 * MB + 24 * 200_000


@pytest.mark.parametrize("init", ["array", "k-means++", "k-means||", "random"])
def test_state_of_a_row(rng, init, dtype):
    X = blobs(rng, 400_000, 2, dtype)
    how = {"init": X[:8]} if init == "array" else {"n_clusters": 8, "init": init, "n_init": 1}
    fit(X, max_iter=1, **how)  # loads every kernel that so many rows need
    with traced() as peak:
        fit(X, max_iter=3, **how)
    assert peak.bytes < 24 * len(X) + 2 * MB


def test_state_of_a_row_with_restarts_and_relocation(rng, dtype):
    X = blobs(rng, 400_000, 2, dtype)
    start = np.concatenate([X[:4], np.full((3, 2), 1e5, dtype)])
    fit(X[:1000], init=start, max_iter=2)
    with traced() as peak:
        fit(X, init=start, max_iter=3)
    assert peak.bytes < 24 * len(X) + 2 * MB


def test_state_of_a_row_in_predict_and_score(rng, dtype):
    X = blobs(rng, 400_000, 2, dtype)
    model = fit(X[:1000], n_clusters=8)
    for method in (model.predict, model.score):
        method(X[:1000])
        with traced() as peak:
            method(X)
        assert peak.bytes < 24 * len(X) + 2 * MB


def test_data_are_not_copied(rng, dtype):
    X = blobs(rng, 20_000, 100, dtype)
    fit(X[:500], init=X[:5], max_iter=2)
    for rows in (X, as_read_only(X)):
        with traced() as peak:
            fit(rows, init=X[:5], max_iter=2).predict(rows)
        assert peak.bytes < 0.25 * X.nbytes


def as_read_only(X):
    X = X.copy()
    X.flags.writeable = False
    return X


@pytest.mark.parametrize(("d", "k"), [(64, 10), (64, 600), (3, 10)])
@pytest.mark.parametrize("kind", ["npy", "npy-columns", "npy-uint8", "list"])
def test_budget_of_a_stream(rng, kind, d, k, tmp_path):
    """Buffers, ledger and statistics of a stream stay inside the budget; its rows would not."""
    rows = 200_000 if d < 64 else 60_000
    X = rng.standard_normal((rows, d), np.float32)
    X = (X * 20 + 100).clip(0, 255).astype(np.uint8) if kind == "npy-uint8" else X
    data = gpuclust.stream([X[i : i + 1000] for i in range(0, rows, 1000)])
    if kind != "list":
        columns = [0, 1] if kind == "npy-columns" else None
        data = gpuclust.stream(write_npy(tmp_path / "x.npy", X), columns=columns)
    start = X[:k, :2] if kind == "npy-columns" else X[:k]
    budget = 24 * rows + (6 * MB if k < 100 else 12 * MB)
    with gpuclust.config_context(memory=budget):
        fit(data, init=start, max_iter=1)
        with traced() as peak:
            fit(data, init=start, max_iter=2)
    assert peak.bytes < budget


@linux
def test_file_larger_than_the_budget(tmp_path):
    """200 MB of rows in 60 MB: 24 MB of row state, 36 MB of buffers. 16 MB more for the threads' scratch and malloc."""
    path = write_npy(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((1_000_000, 50), np.float32))
    (grown,) = measured("""
X = np.load(sys.argv[1], mmap_mode="r")
start = np.array(X[:20]); small = np.array(X[:5000]); del X
KMeans(20, init=start, max_iter=2).fit(gpuclust.stream([small]))
with gpuclust.config_context(memory="60MB"), growth() as peak:
    KMeans(20, init=start, max_iter=3).fit(sys.argv[1])
print(peak.bytes)
""", path)
    assert grown < 60e6 + 16 * MB


@pytest.mark.parametrize(("d", "k"), [(64, 10), (64, 600), (3, 10)])
@pytest.mark.parametrize("weighted", [False, True])
def test_budget_of_a_stream_of_medians(rng, weighted, d, k, tmp_path):
    """Brackets, and the values inside, stay inside the budget too."""
    rows = 200_000 if d < 64 else 60_000
    X = rng.standard_normal((rows, d), np.float32)
    data, weight = gpuclust.stream(write_npy(tmp_path / "x.npy", X)), rng.uniform(1, 2, rows) if weighted else None
    budget = 24 * rows + (6 * MB if k < 100 else 30 * MB)
    with gpuclust.config_context(memory=budget):
        model = KMedians(k, init=X[:k], max_iter=5).fit(data, sample_weight=weight)  # all kernels are there after this
        with traced() as peak:
            model.fit(data, sample_weight=weight)
    assert peak.bytes < budget


@linux
def test_medians_of_a_file_larger_than_the_budget(tmp_path):
    """200 MB of rows in 60 MB, as above."""
    path = write_npy(tmp_path / "x.npy", np.random.default_rng(0).standard_normal((1_000_000, 50), np.float32))
    (grown,) = measured("""
from gpuclust import KMedians
X = np.load(sys.argv[1], mmap_mode="r")
start = np.array(X[:20]); small = np.array(X[:5000]); del X
KMedians(20, init=start, max_iter=2).fit(gpuclust.stream([small]))
with gpuclust.config_context(memory="60MB"), growth() as peak:
    KMedians(20, init=start, max_iter=4).fit(sys.argv[1])
print(peak.bytes)
""", path)
    assert grown < 60e6 + 16 * MB


@linux
def test_parquet_larger_than_the_budget(tmp_path):
    """80 MB of rows in 60 MB. pyarrow's own page of each column, 1 MB, and its dictionary are not in the budget."""
    X = np.random.default_rng(0).standard_normal((500_000, 40), np.float32)
    path = write_parquet(tmp_path / "x.parquet", X, group=100_000, use_dictionary=False)
    (grown,) = measured("""
start = np.random.default_rng(1).standard_normal((20, 40)).astype(np.float32)
with gpuclust.config_context(memory="60MB"):
    KMeans(20, init=start, max_iter=1).fit(gpuclust.stream([start] * 50))
    import pyarrow.parquet
    with growth() as peak:
        KMeans(20, init=start, max_iter=3).fit(sys.argv[1])
print(peak.bytes)
""", path)
    assert grown < 60e6 + 16 * MB


def test_budget_too_small_says_what_is_needed(rng, tmp_path):
    path = write_npy(tmp_path / "x.npy", rng.normal(size=(10_000, 3)))
    needed = 24 * 10_000 + statistics_bytes(2, 3, 8) + 5 * 64 * 24
    with gpuclust.config_context(memory=needed - 1), pytest.raises(DeviceMemoryError, match=f"at least {needed} bytes"):
        fit(path, n_clusters=2)
    with gpuclust.config_context(memory=needed):
        fit(path, n_clusters=2)


def test_bounds_take_at_most_a_quarter_of_the_rows(dtype):
    for k in (1, 8, 191, 192, 1000, 5000):
        for d in (1, 2, 9, 64, 784):
            groups = group_count(k, d, np.dtype(dtype).itemsize)
            assert 4 * (groups + (groups > 1)) <= max(4, d * np.dtype(dtype).itemsize / 4)
