"""Law 10: 'auto' without a GPU is the CPU; a GPU that cannot be used warns once; a named device raises."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import gpuclust
from gpuclust import DeviceFallbackWarning, DeviceUnavailableError, KMeans
from gpuclust.backends import select as selection
from gpuclust.backends.diagnosis import install
from gpuclust.backends.select import Problem, select

X = np.arange(20.0).reshape(10, 2)


@pytest.fixture
def no_gpu(monkeypatch):
    monkeypatch.setattr(selection, "cuda_problem", lambda index: Problem("CuPy is not installed; " + install(None), False))


@pytest.fixture
def unusable_gpu(monkeypatch):
    monkeypatch.setattr(selection, "cuda_problem", lambda index: Problem("the driver is too old", True))
    selection._warn_once.cache_clear()
    yield
    selection._warn_once.cache_clear()


@pytest.mark.usefixtures("no_gpu")
def test_auto_without_a_gpu_is_simply_the_cpu():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert KMeans(2, device="auto").fit(X).device_ == "cpu"


@pytest.mark.usefixtures("unusable_gpu")
def test_a_visible_gpu_that_cannot_be_used_warns_once():
    with pytest.warns(DeviceFallbackWarning, match="running on the CPU: the driver is too old"):
        assert KMeans(2, device="auto").fit(X).device_ == "cpu"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KMeans(2, device="auto").fit(X)


@pytest.mark.usefixtures("unusable_gpu")
def test_cpu_by_name_does_not_look_for_a_gpu():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert KMeans(2, device="cpu").fit(X).device_ == "cpu"


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:3"])
def test_a_named_device_raises_with_the_line_that_installs(device):
    with pytest.raises(DeviceUnavailableError, match=r"pip install 'gpuclust\[cuda1"):
        KMeans(2, device=device).fit(X)
    with gpuclust.config_context(device=device), pytest.raises(DeviceUnavailableError):
        KMeans(2).fit(X)


@pytest.mark.usefixtures("no_gpu")
def test_the_parameter_wins_over_the_setting():
    with gpuclust.config_context(device="cuda"):
        assert KMeans(2, device="cpu").fit(X).device_ == "cpu"


@pytest.mark.parametrize("device", ["gpu", "cuda:", "cuda:x", "CUDA", "", "cpu:0"])
def test_unknown_devices(device):
    with pytest.raises(ValueError, match="none of 'auto', 'cpu', 'cuda'"):
        select(device)


def test_a_missing_cupy_is_a_problem_and_not_an_exception(monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "cupy", None)
    selection.cuda_problem.cache_clear()
    try:
        problem = selection.cuda_problem(0)
        assert problem is not None and "pip install" in problem.text
    finally:
        selection.cuda_problem.cache_clear()


def test_every_row_is_used(rng):
    """Nothing is sub-sampled: one far row among many is found."""
    rows = rng.normal(size=(20_000, 2))
    rows[13_579] = 1e4
    model = KMeans(2, init=np.array([[0.0, 0.0], [9e3, 9e3]])).fit(rows)
    np.testing.assert_array_equal(np.flatnonzero(model.labels_), [13_579])


def test_a_fit_prints_nothing(capfd):
    KMeans(2, random_state=0).fit(X)
    assert capfd.readouterr() == ("", "")
