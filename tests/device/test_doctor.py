"""`gpuclust doctor` where there are GPUs: each is asked to compute, and one that computes wrongly is told."""

from __future__ import annotations

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from gpuclust.cli import selfcheck
from gpuclust.cli.app import app


def told(*options):
    result = CliRunner().invoke(app, ["doctor", *options])
    return result.output, result.exit_code


def test_sound_devices(cuda):
    output, code = told("--json")
    found = json.loads(output[output.index("{") :])["gpu"]
    assert code == 0 and found["usable"]
    assert len(found["devices"]) == cuda.cuda.runtime.getDeviceCount()
    assert all(device["problem"] is None and device["memory"]["total"] > 0 for device in found["devices"])
    assert "K-Means and K-Medians checked" in told()[0]


@pytest.mark.parametrize("wrong", ["labels", "costs", "middles"])
def test_wrong_devices(machine, wrong, monkeypatch):
    from gpuclust.backends import cuda_labels, cuda_medians

    machine.devices = 1
    if wrong == "labels":  # the second nearest for one row
        nearest = cuda_labels.nearest

        def moved(*args):
            label = nearest(*args)
            label[2000:2001] = (label[2000:2001] + 1) % 70
            return label

        monkeypatch.setattr(cuda_labels, "nearest", moved)
    elif wrong == "costs":
        costs = cuda_labels.costs
        monkeypatch.setattr(cuda_labels, "costs", lambda *args: costs(*args) * 1.001)
    else:
        middles = cuda_medians.middles

        def raised(X, label, wanted, out):
            middles(X, label, wanted, out)
            out += 0.5

        monkeypatch.setattr(cuda_medians, "middles", raised)
    output, code = told()
    assert code == 4 and "DO NOT USE IT" in output and "than the CPU" in output


def test_a_device_that_fails(machine):
    machine.devices, machine.fail = 1, set(range(1, 10_000))  # a first kernel runs
    output, code = told()
    assert code == 4 and "KMeans fails: DeviceMemoryError" in output


def test_some_rows_are_as_near_to_two_centres():
    """Without them the check would not tell the lowest index from another."""
    X = np.random.default_rng(0).integers(-6, 7, (3000, 40)).astype(np.float32)
    distances = np.sort(selfcheck._distances(X, X[:70].astype(np.float64), manhattan=False), axis=1)
    assert (distances[:, 0] == distances[:, 1]).any()
