"""Fixtures that several files share."""

from __future__ import annotations

import numba
import numpy as np
import pytest

from gpuclust.backends import cpu, threads

pytest.register_assert_rewrite("laws.runs")


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
        for module in (threads, cpu):
            monkeypatch.setattr(module, "thread_count", lambda: count)

    return pretend


KNOWN_SHORTFALLS = {
    "test_empty_clusters_are_given_the_farthest_rows[standin": "CUDA: a float32 bound overflows to inf (rows are "
    "then decided exactly), which NumPy, standing in for CuPy, reports as a warning",
    "test_history_with_an_outlier_in_its_own_cluster": "costs below 2^-104 of the terms of a distant cluster are lost",
    "test_relocation_leaves_the_means_of_the_donors_exact[f64": "a relocated row is added to the first level of the "
    "sums only, which rounds it",
    "test_state_of_a_row[f32-k-means||]": "k-means|| keeps float64 costs and labels a row and copies both once",
    "test_state_of_a_row[f64-k-means||]": "k-means|| keeps float64 costs and labels a row and copies both once",
    "test_state_of_a_row_with_restarts_and_relocation": "relocation needs a float64 cost a row beside the kept labels",
    "test_budget_of_a_stream[npy-64-600]": "the planner leaves out the per-chunk cost buffer",
    "test_budget_of_a_stream[npy-uint8-64-600]": "the planner leaves out the per-chunk cost buffer",
}


def pytest_collection_modifyitems(items):
    """Known shortfalls run and are reported as such; each is to be mended, then struck from the table."""
    for item in items:
        for name, reason in KNOWN_SHORTFALLS.items():
            if item.name.startswith(name):
                item.add_marker(pytest.mark.xfail(reason=reason, strict=False))
