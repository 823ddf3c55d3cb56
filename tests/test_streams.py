"""Streams: what is read, how it is refused, and what is left behind."""

from __future__ import annotations

import os
import threading
import time
import warnings

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from laws.runs import assert_same_bits, differences, fit, streams, write_npy, write_parquet

import gpuclust
from gpuclust import DataError, DeviceMemoryError, KMeans, KMedians
from gpuclust.backends.cpu import CPUBackend
from gpuclust.data import plan
from gpuclust.data.array import ArraySource
from gpuclust.data.readers import IterableReader, NpyReader
from gpuclust.data.stream import StreamSource

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def X(rng, dtype):
    return rng.normal(size=(400, 5)).astype(dtype)


def rows_of(data, rows=64):
    """Return all rows and weights that a stream yields, as one array each."""
    blocks = list((X.copy(), None if w is None else w.copy()) for X, w in gpuclust.stream(data).open().blocks(rows))
    weights = [w for _, w in blocks if w is not None]
    return np.concatenate([X for X, _ in blocks]), np.concatenate(weights) if weights else None


# --- what is read ---


@pytest.mark.parametrize("stored", ["f4", "f8", "f2", "i2", "u1", "i8", "?", ">f4", ">i4"])
def test_npy_dtypes(rng, stored, tmp_path):
    X = (rng.uniform(size=(100, 3)) * 50).astype(stored)
    read, weight = rows_of(write_npy(tmp_path / "x.npy", X))
    assert read.dtype == (np.float32 if stored == "f4" else np.float64) and weight is None
    np.testing.assert_array_equal(read, X.astype(read.dtype))


@pytest.mark.parametrize("version", [(1, 0), (2, 0), (3, 0)])
def test_npy_versions(X, version, tmp_path):
    with open(tmp_path / "x.npy", "wb") as file:
        np.lib.format.write_array(file, X, version)
    np.testing.assert_array_equal(rows_of(tmp_path / "x.npy")[0], X)


def test_npy_columns_and_weight(X, tmp_path):
    X = np.abs(X)
    path = write_npy(tmp_path / "x.npy", X)
    chosen = gpuclust.stream(path, columns=[3, 0], weight=1)
    assert_same_bits(fit(chosen, n_clusters=3, chunk_size=37), fit(X[:, [3, 0]], X[:, 1].astype(float), n_clusters=3))
    others = fit(gpuclust.stream(path, weight=4), n_clusters=3, chunk_size=37)
    assert_same_bits(others, fit(X[:, :4], X[:, 4].astype(float), n_clusters=3))


def test_suffixes_in_capitals_and_path_types(X, tmp_path):
    write_npy(tmp_path / "x.npy", X).rename(tmp_path / "X.NPY")
    for path in (tmp_path / "X.NPY", str(tmp_path / "X.NPY")):
        assert_same_bits(fit(path, n_clusters=3), fit(X, n_clusters=3))


@pytest.mark.parametrize("group", [1000, 100, 7])
def test_parquet_row_groups(X, group, tmp_path):
    path = write_parquet(tmp_path / "x.parquet", X, group=group)
    model = fit(path, n_clusters=4, chunk_size=64)
    assert differences(model, fit(X, n_clusters=4)) == []
    assert list(model.feature_names_in_) == ["x0", "x1", "x2", "x3", "x4"]


def test_parquet_columns_and_weight(X, rng, tmp_path):
    weight = rng.uniform(0, 3, 400)
    path = write_parquet(tmp_path / "x.parquet", X, weight)
    model = fit(gpuclust.stream(path, columns=["x4", "x1"], weight="w"), n_clusters=3, chunk_size=50)
    assert list(model.feature_names_in_) == ["x4", "x1"]
    assert differences(model, fit(X[:, [4, 1]], weight, n_clusters=3)) == []


def test_parquet_types(rng, tmp_path):
    frame = pd.DataFrame({"i": rng.integers(0, 9, 50), "b": rng.uniform(size=50) < 0.5, "f": rng.normal(size=50)})
    frame.to_parquet(tmp_path / "x.parquet")
    read, _ = rows_of(tmp_path / "x.parquet")
    assert read.dtype == np.float64
    np.testing.assert_array_equal(read, frame.to_numpy(np.float64))


def test_parquet_slices_across_row_groups(X, tmp_path):
    reader = gpuclust.stream(write_parquet(tmp_path / "x.parquet", X, group=30)).open()
    ranges = [(0, 1), (29, 31), (5, 200), (399, 400), (30, 60)]
    for (rows, _), (start, stop) in zip(reader.slices(ranges), ranges, strict=True):
        np.testing.assert_array_equal(rows, X[start:stop])


def test_reiterables(X, rng):
    weight = rng.uniform(0, 3, 400)
    chunks = [X[:10], X[10:11], X[11:11], X[11:300], X[300:]]
    weighted = [(X[:150], weight[:150]), (X[150:], weight[150:])]
    frames = [pd.DataFrame(X[:200]), pd.DataFrame(X[200:])]
    for data in (chunks, tuple(chunks), lambda: iter(chunks), lambda: (c for c in chunks), frames):
        for rows in (7, None):
            assert differences(fit(gpuclust.stream(data), n_clusters=4, chunk_size=rows), fit(X, n_clusters=4)) == []
    assert_same_bits(fit(gpuclust.stream(weighted), n_clusters=4), fit(X, weight, n_clusters=4))
    narrow = fit(gpuclust.stream(chunks, columns=[2, 0]), n_clusters=4)
    assert_same_bits(narrow, fit(X[:, [2, 0]], n_clusters=4))


def test_integer_chunks_become_float64(rng):
    X = rng.integers(0, 50, (100, 2))
    assert_same_bits(fit(gpuclust.stream([X[:40], X[40:]]), n_clusters=3), fit(X.astype(float), n_clusters=3))


def test_memmaps_are_streamed_where_they_are_large(X, tmp_path):
    mapped = np.load(write_npy(tmp_path / "x.npy", X), mmap_mode="r")
    whole = fit(X, n_clusters=4)
    assert_same_bits(fit(mapped, n_clusters=4), whole)
    with gpuclust.config_context(memory=24 * 400 + 3000 * X.itemsize):
        assert_same_bits(fit(mapped, n_clusters=4), whole)
        part = fit(mapped[100:350], n_clusters=4)
    assert_same_bits(part, fit(X[100:350], n_clusters=4))


@pytest.mark.parametrize("offset", [0, 128, 4096, 5000])
def test_memmap_of_a_raw_file(X, offset, tmp_path):
    with open(tmp_path / "x.bin", "wb") as file:
        file.write(b"x" * offset + X.tobytes())
    mapped = np.memmap(tmp_path / "x.bin", X.dtype, "r", offset, X.shape)
    for part in (mapped, mapped[7:], mapped[3:50]):
        np.testing.assert_array_equal(rows_of(part)[0], np.array(part))


def test_memmap_columns_and_weight(X, tmp_path):
    mapped = np.load(write_npy(tmp_path / "x.npy", np.abs(X)), mmap_mode="r")
    model = fit(gpuclust.stream(mapped, columns=[0, 2], weight=1), n_clusters=3)
    assert_same_bits(model, fit(np.abs(X)[:, [0, 2]], np.abs(X)[:, 1].astype(float), n_clusters=3))


def test_sample_weight_with_streams(X, rng, tmp_path):
    weight = rng.uniform(0, 2, 400)
    expected = fit(X, weight, n_clusters=4)
    for name, data, _ in streams(X, None, tmp_path, rng):
        assert differences(fit(data, weight, n_clusters=4, chunk_size=90), expected) == [], name


# --- predict, transform, score ---


def test_methods_take_paths(X, tmp_path, rng):
    model = fit(X, n_clusters=4)
    warnings.filterwarnings("ignore", "X has feature names")
    for name, data, _ in streams(X, None, tmp_path, rng):
        for rows in (None, 33):
            model.set_params(chunk_size=rows)
            np.testing.assert_array_equal(model.predict(data), model.labels_, err_msg=name, strict=True)
            np.testing.assert_array_equal(model.transform(data), model.transform(X), err_msg=name, strict=True)
            assert model.score(data) == model.score(X) == -model.inertia_
    path = tmp_path / "x.npy"
    np.testing.assert_array_equal(KMeans(4, random_state=0).fit_predict(path), model.labels_)
    np.testing.assert_array_equal(KMeans(4, random_state=0).fit_transform(path), model.transform(X))


def test_names_and_number_of_features_are_checked(X, tmp_path):
    path = write_npy(tmp_path / "x.npy", X[:, :4].copy())
    for data in (path, gpuclust.stream([X[:, :4]])):
        with pytest.raises(ValueError, match="expecting 5 features"):
            fit(X, n_clusters=2).predict(data)
    model = fit(write_parquet(tmp_path / "a.parquet", X), n_clusters=2)
    pq.write_table(pa.table({f"y{f}": X[:, f] for f in range(5)}), tmp_path / "b.parquet")
    with pytest.raises(ValueError, match="feature names should match"):
        model.predict(tmp_path / "b.parquet")


def test_callable_init_needs_the_data_in_memory(X):
    with pytest.raises(DataError, match="in memory"):
        fit(gpuclust.stream([X]), n_clusters=2, init=lambda X, k, random_state: X[:k])


def test_fewer_rows_than_clusters(X):
    with pytest.raises(ValueError, match="n_samples=3 should be >= n_clusters=4"):
        fit(gpuclust.stream([X[:3]]), n_clusters=4)


# --- refusals ---


def bad_file(directory, name, content):
    path = directory / name
    path.write_bytes(content)
    return path


def npy_bytes(array, **how):
    from io import BytesIO

    file = BytesIO()
    np.save(file, array, **how)
    return file.getvalue()


GOOD = npy_bytes(np.ones((50, 3)))
FILES = {
    "missing.npy": (None, "does not exist"),
    "missing.parquet": (None, "does not exist"),
    "nothing.npy": (b"", "not a readable .npy file"),
    "nothing.parquet": (b"", "not a readable Parquet file"),
    "text.npy": (b"a,b\n1,2\n", "not a readable .npy file"),
    "text.parquet": (b"a,b\n1,2\n", "not a readable Parquet file"),
    "header.npy": (GOOD[:60], "not a readable .npy file"),
    "truncated.npy": (GOOD[:-1], "truncated"),
    "no_rows.npy": (npy_bytes(np.empty((0, 3))), "empty"),
    "no_columns.npy": (npy_bytes(np.empty((3, 0))), "empty"),
    "one_dimension.npy": (npy_bytes(np.ones(9)), r"shape \(9,\)"),
    "three_dimensions.npy": (npy_bytes(np.ones((2, 2, 2))), "shape"),
    "fortran.npy": (npy_bytes(np.asfortranarray(np.ones((5, 3)))), "Fortran order"),
    "strings.npy": (npy_bytes(np.array([["a", "b"]])), "not numbers"),
    "complex.npy": (npy_bytes(np.ones((5, 3), complex)), "not numbers"),
    "objects.npy": (npy_bytes(np.array([[1, None]], object), allow_pickle=True), "not numbers"),
    "data.csv": (b"a,b\n1,2\n", "from .npy and .parquet, not from '.csv'"),
    "data": (b"", "not from"),
}


@pytest.mark.parametrize("name", FILES)
def test_files_that_cannot_be_read(name, tmp_path):
    content, message = FILES[name]
    path = tmp_path / name if content is None else bad_file(tmp_path, name, content)
    with pytest.raises(DataError, match=message) as caught:
        KMeans(2).fit(path)
    assert name in str(caught.value)


def test_a_directory(tmp_path):
    for name in ("d.npy", "d.parquet"):
        (tmp_path / name).mkdir()
        with pytest.raises(DataError):
            KMeans(2).fit(tmp_path / name)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_an_unreadable_file(tmp_path):
    path = bad_file(tmp_path, "x.npy", GOOD)
    path.chmod(0)
    with pytest.raises(DataError, match="not a readable"):
        KMeans(2).fit(path)


def test_a_parquet_file_cut_short(X, tmp_path):
    content = write_parquet(tmp_path / "x.parquet", X).read_bytes()
    for cut in (content[:-20], content[: len(content) // 2]):
        with pytest.raises(DataError):
            KMeans(2, random_state=0).fit(bad_file(tmp_path, "y.parquet", cut))


def test_a_parquet_file_whose_pages_are_damaged(X, tmp_path):
    """The footer is whole, so the damage shows in the first pass."""
    content = bytearray(write_parquet(tmp_path / "x.parquet", X).read_bytes())
    content[10:60] = b"\xff" * 50  # the header of the first page
    with pytest.raises(DataError, match="cannot be read"):
        KMeans(2, random_state=0).fit(bad_file(tmp_path, "y.parquet", bytes(content)))


def test_a_file_that_shrinks_between_passes(X, tmp_path):
    """The header was read when the file was whole."""
    path = write_npy(tmp_path / "x.npy", X)
    source = StreamSource(NpyReader(path), None, CPUBackend(), 100)
    with open(path, "r+b") as file:
        file.truncate(path.stat().st_size - 8)
    with pytest.raises(DataError, match="truncated: 8 bytes are missing"):
        list(source.chunks())


def test_columns_that_do_not_exist(X, tmp_path):
    npy, parquet = write_npy(tmp_path / "x.npy", X), write_parquet(tmp_path / "x.parquet", X)
    for columns in ([5], [-1], ["a"], [0.5]):
        with pytest.raises(DataError, match="columns 0 to 4"):
            KMeans(2).fit(gpuclust.stream(npy, columns=columns))
    with pytest.raises(DataError, match="no column 'q'; it has x0, x1"):
        KMeans(2).fit(gpuclust.stream(parquet, columns=["x0", "q"]))
    with pytest.raises(DataError, match="no column 'w'"):
        KMeans(2).fit(gpuclust.stream(parquet, weight="w"))
    with pytest.raises((DataError, IndexError)):
        KMeans(2).fit(gpuclust.stream([X], columns=[7]))


def test_text_columns_are_named(tmp_path):
    pd.DataFrame({"a": [1.0, 2], "city": ["x", "y"], "day": pd.to_datetime(["2020", "2021"])}).to_parquet(
        tmp_path / "x.parquet"
    )
    with pytest.raises(DataError, match="not numeric: city, day"):
        KMeans(2).fit(tmp_path / "x.parquet")
    assert KMeans(2).fit(gpuclust.stream(tmp_path / "x.parquet", columns=["a"])).n_features_in_ == 1


@pytest.mark.parametrize("make", [lambda X: iter([X]), lambda X: (X for _ in range(2)), lambda X: map(np.abs, [X])])
def test_generators_are_rejected(X, make):
    with pytest.raises(DataError, match="read only once"):
        KMeans(2).fit(gpuclust.stream(make(X)))


@pytest.mark.parametrize(
    ("chunks", "message"),
    [
        ([], "no chunks"),
        ([np.empty((0, 3))], "no chunks"),
        ([np.ones(3)], "must be 2-D"),
        ([np.ones((2, 3)), np.ones((2, 4))], "4 columns, the first one has 3"),
        ([(np.ones((2, 3)), np.ones(3))], "weights of shape"),
        ([(np.ones((2, 3)), -np.ones(2))], "not negative"),
        ([(np.ones((2, 3)), np.array([1, np.nan]))], "finite"),
        ([np.ones((2, 3)), (np.ones((2, 3)), np.ones(2))], "weight"),
        ([(np.ones((2, 3)), np.ones(2)), np.ones((2, 3))], "weight"),
        ([np.array([["a", "b"], ["c", "d"]])], "numbers|numeric"),
    ],
)
def test_bad_chunks(chunks, message):
    with pytest.raises(DataError, match=message):
        KMeans(2).fit(gpuclust.stream(chunks))


@pytest.mark.parametrize("rows", [[120, 80], [80, 120], [100, 0]])
def test_a_stream_of_another_length_on_the_next_pass(X, rows):
    """A function that does not return the same rows each time: refused, and no memory is overrun."""
    passes = iter([rows[0]] * 3 + [rows[1]] * 40)

    def chunks():
        n = next(passes)
        return iter([X[: n // 2], X[n // 2 : n]])

    with pytest.raises(DataError, match="rows"):
        fit(gpuclust.stream(chunks), init=X[:3], tol=0)


def test_float64_chunks_after_float32_ones_are_not_narrowed_silently(rng):
    X = rng.normal(size=(40, 2))
    with pytest.raises(DataError, match="float64"):
        KMeans(2).fit(gpuclust.stream([X[:20].astype(np.float32), X[20:]]))


def test_weight_of_an_iterable_is_refused(X):
    """Its weights come with the chunks; a column that would be ignored is an error."""
    with pytest.raises((DataError, ValueError), match="weight"):
        KMeans(2).fit(gpuclust.stream([X], weight=0))


def test_weights_twice(X, tmp_path):
    path = write_npy(tmp_path / "x.npy", np.abs(X))
    with pytest.raises(ValueError, match="not both"):
        KMeans(2).fit(gpuclust.stream(path, weight=0), sample_weight=np.ones(400))
    with pytest.raises(ValueError, match="not both|weight"):
        KMeans(2).fit(gpuclust.stream([(X, np.ones(400))]), sample_weight=np.ones(400))


def test_weights_of_the_wrong_length(X, tmp_path):
    with pytest.raises(ValueError, match=r"sample_weight.shape == \(7,\), expected \(400,\)"):
        KMeans(2).fit(write_npy(tmp_path / "x.npy", X), sample_weight=np.ones(7))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_finite(X, rng, value, tmp_path):
    model = fit(X, n_clusters=3)
    X[[17, 217], 3] = value  # both in chunks of their own
    warnings.filterwarnings("ignore", "X has feature names")
    for name, data, _ in streams(X, None, tmp_path, rng):
        with pytest.raises(ValueError, match="NaN or infinity: feature 3"):
            fit(data, n_clusters=3, chunk_size=100)
        for method in (model.predict, model.transform, model.score):
            with pytest.raises(ValueError, match="NaN or infinity"):
                method(data)
            assert name


def test_missing_values_of_a_parquet_file(tmp_path):
    pd.DataFrame({"a": pd.array([1, None, 3], "Int64"), "b": [1.0, 2, 3]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(ValueError, match="NaN or infinity: feature 0"):
        KMeans(2).fit(tmp_path / "x.parquet")


# --- what is left behind ---


def readers():
    return [t for t in threading.enumerate() if t.name.startswith("gpuclust-read")]


def wait_for_readers():
    for _ in range(100):
        if not readers():
            return
        time.sleep(0.02)


def test_the_reading_thread_stops_after_a_fit(X, tmp_path):
    fit(write_npy(tmp_path / "x.npy", X), n_clusters=2, chunk_size=50)
    wait_for_readers()
    assert not readers()


def failing_step(backend, chunk):
    raise ZeroDivisionError


def test_the_reading_thread_stops_when_the_consumer_raises(X, tmp_path):
    source = StreamSource(NpyReader(write_npy(tmp_path / "x.npy", X)), None, CPUBackend(), 50)
    try:
        source.fold(failing_step)
    except ZeroDivisionError:
        wait_for_readers()
        assert not readers()  # even while the traceback is held
    else:
        raise AssertionError


def test_the_reading_thread_stops_when_the_source_raises():
    def chunks():
        yield np.ones((50, 2))
        yield np.ones((50, 2))
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        fit(gpuclust.stream(chunks), init=np.ones((1, 2)))
    wait_for_readers()
    assert not readers()


def test_the_next_chunk_is_read_while_one_computes(X):
    """The second block is asked for before the consumer is done with the first."""
    asked = []

    def chunks():
        for i in range(4):
            asked.append(i)
            yield X[i * 100 : (i + 1) * 100]

    source = StreamSource(IterableReader(chunks), None, CPUBackend())
    asked.clear()
    each = source.chunks()
    next(each)
    for _ in range(100):
        if len(asked) > 1:
            break
        time.sleep(0.02)
    assert asked[:2] == [0, 1] and len(asked) <= 3  # one ahead, never all
    each.close()


def test_files_are_closed(X, tmp_path):
    path = write_npy(tmp_path / "x.npy", X)
    parquet = write_parquet(tmp_path / "x.parquet", X)
    if not os.path.isdir("/proc/self/fd"):
        pytest.skip("needs /proc")
    fit(path, n_clusters=2), fit(parquet, n_clusters=2)
    links = [f"/proc/self/fd/{fd}" for fd in os.listdir("/proc/self/fd")]
    targets = [os.readlink(link) for link in links if os.path.islink(link)]
    assert not [target for target in targets if target.startswith(str(tmp_path))]


def test_number_of_passes(X, tmp_path):
    """One for the moments, one an iteration, one for the final labels: and the file is read so often, not more."""
    path = write_npy(tmp_path / "x.npy", X)
    model = fit(path, init=X[:3], tol=0)
    assert model.n_passes_ == 1 + model.n_iter_ + 1
    counts = []

    def chunks():
        counts.append(1)
        return iter([X[:100], X[100:]])

    model = fit(gpuclust.stream(chunks), init=X[:3], tol=0)
    assert model.n_passes_ == 1 + 1 + model.n_iter_ + 1  # the rows of an iterable are counted first
    assert len(counts) <= model.n_passes_ + 2  # the first chunk tells the shape, the first row the origin


# --- the planner ---


def test_planner():
    def rows(n_rows, row_bytes, chunk_size=None):
        return plan.plan(n_rows, row_bytes, 50_000, chunk_size).rows

    assert rows(10**6, 100, 12345) == 12345
    assert rows(10**6, 100) == plan.DEFAULT_CHUNK // 100
    with gpuclust.config_context(memory="60MB"):
        assert rows(10**6, 200) == (60_000_000 - 24_000_000 - 50_000) // 1000
        assert rows(None, 200) == (60_000_000 - 50_000) // 1000
        assert plan.plan(10**6, 200, 50_000, None).bounds == (60_000_000 - 24_000_000 - 50_000) // 5
        with pytest.raises(DeviceMemoryError, match=f"Allow at least {240_000_000 + 5 * 64 * 100 + 50_000} bytes"):
            rows(10**7, 100)
    with gpuclust.config_context(memory="900GB"):
        assert rows(10**6, 100) == plan.DEFAULT_CHUNK // 100


def test_statistics_of_more_clusters_and_wider_values_take_more():
    one = plan.statistics_bytes(100, 10, 4)
    assert one >= 2 * 8 * 101 * 11
    assert plan.statistics_bytes(1000, 10, 4) > 5 * one
    assert plan.statistics_bytes(100, 10, 8) > one


def test_rows_that_an_iterable_had_to_count_are_planned_for(rng):
    X = rng.normal(size=(40_000, 4))
    data = gpuclust.stream([X[i : i + 100] for i in range(0, len(X), 100)])
    with gpuclust.config_context(memory=24 * len(X)), pytest.raises(DeviceMemoryError, match="Allow at least"):
        KMeans(2, init=X[:2], n_init=1, device="cpu").fit(data)


# --- arrays are left alone ---


def awkward(X):
    """Yield (name, array) of the same values in every layout."""
    wide = np.zeros((len(X) * 2, X.shape[1] * 3), X.dtype)
    wide[::2, 1::3] = X
    read_only = X.copy()
    read_only.flags.writeable = False
    unaligned = np.frombuffer(b"x" + X.tobytes(), X.dtype, offset=1).reshape(X.shape)
    yield "F order", np.asfortranarray(X)
    yield "strided", wide[::2, 1::3]
    yield "reversed", X[::-1].copy()[::-1]
    yield "read-only", read_only
    yield "unaligned", unaligned
    yield "big endian", X.astype(X.dtype.newbyteorder(">")) if X.dtype == np.float64 else X
    yield "list", X.tolist() if X.dtype == np.float64 else X


@pytest.mark.parametrize("init", ["k-means++", "random", "k-means||"])
def test_layouts_of_arrays(X, init):
    expected = fit(X, n_clusters=4, init=init, n_init=1)
    for name, data in awkward(X):
        for rows in (None, 37):
            assert differences(fit(data, n_clusters=4, init=init, n_init=1, chunk_size=rows), expected) == [], name
        np.testing.assert_array_equal(expected.predict(data), expected.labels_)


def test_weights_in_any_layout(X, rng):
    weight = rng.uniform(0, 2, 400)
    expected = fit(X, weight, n_clusters=4)
    read_only = weight.copy()
    read_only.flags.writeable = False
    doubled = np.repeat(weight, 2)
    for w in (read_only, doubled[::2], weight.tolist(), weight[::-1].copy()[::-1]):
        assert differences(fit(X, w, n_clusters=4), expected) == []


@pytest.mark.parametrize("copy_x", [True, False])
def test_inputs_are_never_modified(X, rng, copy_x, tmp_path):
    weight, start = rng.uniform(0, 2, 400), X[:4].copy()
    kept = X.copy(), weight.copy(), start.copy()
    model = KMeans(4, init=start, copy_x=copy_x).fit(X, sample_weight=weight)
    model.predict(X), model.transform(X), model.score(X, sample_weight=weight)
    path = write_npy(tmp_path / "x.npy", X)
    before = path.read_bytes()
    KMeans(4, init=start).fit(np.load(path, mmap_mode="r+"))
    for now, then in zip((X, weight, start), kept, strict=True):
        np.testing.assert_array_equal(now, then)
    assert path.read_bytes() == before


def test_changing_the_data_after_a_fit_changes_no_model(X):
    start = X[:3].copy()
    model = fit(X, init=start)
    centers, labels = model.cluster_centers_.copy(), model.labels_.copy()
    X[:], start[:] = 0, 0
    np.testing.assert_array_equal(model.cluster_centers_, centers)
    np.testing.assert_array_equal(model.labels_, labels)


def test_array_source_slices_share_the_ledger(X):
    source = ArraySource(X, None, CPUBackend(), 150)
    source.allocate("label", np.int32, -1)
    for chunk in source.chunks():
        chunk.rows["label"][...] = chunk.start
    np.testing.assert_array_equal(np.unique(source.rows("label")), [0, 150, 300])
    np.testing.assert_array_equal(source.take(np.array([3, 399, 3])), X[[3, 399, 3]])


@pytest.mark.parametrize("d", [3, 12])
@pytest.mark.parametrize("estimator", [KMeans, KMedians])
@pytest.mark.parametrize("good", [3, 5, 8, 10, 11, 13, 15])
def test_rows_that_turn_nan_are_told_whenever_they_do(rng, good, estimator, d):
    """While first centres are drawn, before any label is known, and later."""
    X, passes = rng.normal(size=(300, d)), iter(range(1000))

    def rows():
        late = next(passes) > good
        yield np.where(late and np.arange(X.size).reshape(X.shape) == 22, np.nan, X)

    with pytest.raises(ValueError, match="NaN or infinity"):
        estimator(3, random_state=0, device="cpu").fit(gpuclust.stream(rows))
