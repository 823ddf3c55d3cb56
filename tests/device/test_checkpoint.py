"""Checkpoints of a fit on a GPU: the state crosses to the host when it is due, and goes on anywhere."""

from __future__ import annotations

import numpy as np
import pytest
from laws.cases import uniform
from laws.runs import assert_same_bits, fit

from gpuclust import Checkpoint, KMeans, KMedians
from gpuclust.solvers.checkpoint import Keeper

BOTH = pytest.mark.parametrize("estimator", [KMeans, KMedians])


@BOTH
def test_a_fit_goes_on_on_either_device(cuda, rng, tmp_path, monkeypatch, estimator):
    path, states, write = tmp_path / "fit.ckpt", [], Keeper._write

    def watched(self, state):
        write(self, state)
        states.append(path.read_bytes())

    monkeypatch.setattr(Keeper, "_write", watched)
    X = uniform(rng, 200, 3, np.float32)
    how = {"estimator": estimator, "n_clusters": 5, "init": "random", "n_init": 2, "tol": 0, "max_iter": 4}
    model = fit(X, device="cuda", checkpoint=Checkpoint(path, seconds=0), **how)
    assert_same_bits(model, fit(X, device="cuda", **how))
    assert len(states) == 8
    for state, device in ((states[2], "cuda"), (states[2], "cpu"), (states[6], "cuda"), (states[6], "cpu")):
        path.write_bytes(state)
        assert_same_bits(fit(X, device=device, checkpoint=path, **how), model)


def test_until_it_is_due_nothing_crosses(machine, rng, tmp_path):
    X, crossed = uniform(rng, 200, 3, np.float32), []
    for checkpoint in (None, Checkpoint(tmp_path / "fit.ckpt", iterations=99), Checkpoint(tmp_path / "fit.ckpt", 1)):
        machine.h2d = machine.d2h = machine.waits = 0
        model = fit(X, device="cuda", n_clusters=5, tol=0, max_iter=4, checkpoint=checkpoint)
        crossed.append((machine.h2d, machine.d2h, machine.waits))
    assert crossed[0] == crossed[1]
    assert crossed[2][1] > crossed[0][1] and model.n_iter_ == 4
