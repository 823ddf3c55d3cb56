"""Fixtures that several files share."""

from __future__ import annotations

import functools
import importlib.util
import os
import sys
import tempfile
from pathlib import Path

import numba
import numpy as np
import pytest
from numba.core.caching import IndexDataCacheFile

from gpuclust.backends import cpu, cpu_ranks, threads

pytest.register_assert_rewrite("laws.runs")


def pytest_addoption(parser):
    """Without pytest-timeout its setting is no mistake: a machine with a GPU has the packages that it has."""
    if importlib.util.find_spec("pytest_timeout") is None:
        parser.addini("timeout", "seconds of a test; pytest-timeout is not installed")


def one_at_a_time(method):
    """Numba chooses a file for a kernel before it writes it: two processes that save one for two types may choose the
    same."""
    import fcntl

    @functools.wraps(method)
    def locked(*args):
        with open(Path(tempfile.gettempdir()) / "gpuclust-tests.lock", "w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            return method(*args)

    return locked


if "PYTEST_XDIST_WORKER" in os.environ and os.name == "posix":
    IndexDataCacheFile.save = one_at_a_time(IndexDataCacheFile.save)
    IndexDataCacheFile.load = one_at_a_time(IndexDataCacheFile.load)


@pytest.fixture(autouse=True)
def no_figures_left():
    """What pyplot holds open is no other test's business."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(params=[np.float32, np.float64], ids=["f32", "f64"])
def dtype(request):
    return request.param


@pytest.fixture
def rng(request):
    """A generator whose seed is the test's own name: adding a test changes no other."""
    return np.random.default_rng(list(request.node.nodeid.encode()))


@pytest.fixture
def one_thread():
    """One thread: for tests of many small chunks, which would mostly wait for the second one to wake."""
    before = numba.get_num_threads()
    numba.set_num_threads(1)
    yield
    numba.set_num_threads(before)


@pytest.fixture
def pretend_threads(monkeypatch):
    """Return a function that makes the kernels cut their work for so many threads, whatever the machine has."""

    def pretend(count):
        for module in (threads, cpu, cpu_ranks):
            monkeypatch.setattr(module, "thread_count", lambda: count)

    return pretend
