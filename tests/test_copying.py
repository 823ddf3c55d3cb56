"""Rows that are copied and read by several threads."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from gpuclust import DataError
from gpuclust.backends import copying
from gpuclust.data import readers
from gpuclust.data.readers import NpyReader


@pytest.fixture(autouse=True)
def three_threads(monkeypatch):
    monkeypatch.setattr(copying, "PART", 16)
    monkeypatch.setattr(copying, "thread_count", lambda: 3)


@pytest.mark.parametrize("n", [1, 2, 3, 100])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int16, np.bool_])
def test_copies_are_whole(rng, n, dtype):
    rows = (10 * rng.normal(size=(2 * n, 5))).astype(dtype)
    for given in (rows[:n], rows[::2], rows[:n, ::2], np.asfortranarray(rows[:n]), rows[:n, 0]):
        for to in (np.float32, np.float64):
            out = np.full(given.shape, np.nan, to)
            copying.copy_rows(out, given)
            np.testing.assert_array_equal(out, given.astype(to))


def test_each_part_has_a_thread_of_its_own():
    seen, together = {}, threading.Barrier(3, timeout=20)

    def work(start, stop):
        together.wait()
        seen[threading.get_ident()] = start, stop

    copying.in_parts(1000, 10, work)
    assert sorted(seen.values()) == [(0, 3), (3, 6), (6, 10)]


def test_few_bytes_are_copied_by_the_caller():
    seen = []
    copying.in_parts(31, 10, lambda start, stop: seen.append((threading.get_ident(), start, stop)))
    assert seen == [(threading.get_ident(), 0, 10)]


def test_an_error_is_raised_when_all_have_ended():
    ended = []

    def work(start, stop):
        if start == 0:
            raise ValueError("the first part")
        ended.append(start)

    with pytest.raises(ValueError, match="the first part"):
        copying.in_parts(1000, 9, work)
    assert sorted(ended) == [3, 6]


def test_what_numpy_was_told_to_ignore_is_ignored():
    out = np.empty((40, 1), np.float32)
    with np.errstate(over="ignore"):
        copying.copy_rows(out, np.full((40, 1), 1e300))
    assert np.isinf(out).all()


@pytest.mark.parametrize("several", [True, False])
def test_files_are_read_in_parts(rng, tmp_path, monkeypatch, several):
    monkeypatch.setattr(readers, "SEVERAL", several and readers.SEVERAL)
    X = rng.normal(size=(301, 7)).astype(np.float32)
    np.save(tmp_path / "x.npy", X)
    reader = NpyReader(tmp_path / "x.npy")
    np.testing.assert_array_equal(np.concatenate([rows.copy() for rows, _ in reader.blocks(100)]), X)
    np.testing.assert_array_equal(reader.slices([(5, 203)])[0][0], X[5:203])
    np.testing.assert_array_equal(next(reader.part(17, 40).blocks(90))[0], X[17:40])
    whole = (tmp_path / "x.npy").read_bytes()
    (tmp_path / "x.npy").write_bytes(whole[:-1000])
    with pytest.raises(DataError, match="x.npy is truncated: 1000 bytes are missing; write it again"):
        list(reader.blocks(150))
