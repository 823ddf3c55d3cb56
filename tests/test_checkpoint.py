"""Checkpoints: a fit that stopped anywhere goes on and ends with the same bits; what is not its own is refused."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from laws.cases import uniform
from laws.runs import RESULTS, assert_same_bits, fit
from safetensors.numpy import load, save
from sklearn.base import clone
from typer.testing import CliRunner

import gpuclust
from gpuclust import Checkpoint, DataError, KMeans, KMedians, ModelFileError, load_model, save_model
from gpuclust.files.signed import read_signed, write_signed
from gpuclust.objectives.mean import Mean
from gpuclust.objectives.median import Median
from gpuclust.solvers import checkpoint as checkpoints
from gpuclust.solvers.checkpoint import FORMAT_VERSION, KEY, Keeper

BOTH = pytest.mark.parametrize("estimator", [KMeans, KMedians])
pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fit.ckpt"


@pytest.fixture
def written(monkeypatch):
    """Collect the bytes of every checkpoint that is written."""
    found, write = [], Keeper._write

    def watched(self, state):
        write(self, state)
        found.append(self._path.read_bytes())

    monkeypatch.setattr(Keeper, "_write", watched)
    return found


def every(path):
    """Return what writes after every iteration, and after the first centres."""
    return Checkpoint(path, seconds=0)


def places(states, path):
    """Return (run, iteration) of checkpoints."""
    found = []
    for data in states:
        path.write_bytes(data)
        header, _ = read_signed(path, KEY, "checkpoint", FORMAT_VERSION)
        found.append((header["run"], header["n_iter"]))
    path.unlink()
    return found


def resumed_from_each(path, written, X, weight=None, **how):
    """Fit, then again from every state that the fit has written; return the model and the places of the states."""
    model = fit(X, weight, checkpoint=every(path), **how)
    assert not path.exists()
    states = list(written)
    for state in states:
        path.write_bytes(state)
        assert_same_bits(fit(X, weight, checkpoint=path, **how), model)
        assert not path.exists()
    return model, places(states, path)


# --- the same bits ---


@BOTH
def test_every_state_leads_to_the_same_end(estimator, path, written, rng, dtype):
    X = uniform(rng, 300, 3, dtype)
    how = {"estimator": estimator, "n_clusters": 7, "init": "random", "n_init": 3, "tol": 0, "max_iter": 9}
    model, seen = resumed_from_each(path, written, X, **how)
    assert_same_bits(model, fit(X, **how))
    assert {run for run, _ in seen} == {0, 1, 2} and len(seen) > 12
    assert seen == sorted(seen) and {n_iter for _, n_iter in seen} >= {0, 1, 2, 3}


def test_a_resumed_fit_writes_the_states_that_it_would_have_written(path, written, rng):
    how = {"n_clusters": 6, "init": "random", "n_init": 2, "tol": 0, "checkpoint": every(path)}
    X = uniform(rng, 300, 3, np.float64)
    fit(X, **how)
    states = list(written)
    path.write_bytes(states[4])
    written.clear()
    fit(X, **how)
    assert written == states[4:]


@BOTH
def test_the_best_run_is_not_forgotten(estimator, path, written, rng):
    """The first of the runs is the best one: the others are resumed knowing its centres only."""
    X = uniform(rng, 300, 3, np.float64)
    for seed in range(50):
        how = {"estimator": estimator, "n_clusters": 6, "init": "random", "random_state": seed, "max_iter": 4}
        one, three = (fit(X, n_init=runs, **how).inertia_ for runs in (1, 3))
        if one == three:
            break
    assert one == three
    _, seen = resumed_from_each(path, written, X, n_init=3, **how)
    assert {run for run, _ in seen} == {0, 1, 2}


@BOTH
@pytest.mark.parametrize("kind", ["weights", "chunks", "stream", "sparse", "seeded"])
def test_whatever_the_rows_are(estimator, kind, path, written, rng):
    X = uniform(rng, 300, 3, np.float64)
    weight = rng.uniform(0, 2, 300) if kind in ("weights", "stream") else None
    rows, sample_weight, how = X, weight, {"n_clusters": 6, "init": "random", "n_init": 2, "tol": 0, "max_iter": 6}
    if kind == "chunks":
        how["chunk_size"] = 70
    elif kind == "stream":
        rows, sample_weight = gpuclust.stream([(X[:110], weight[:110]), (X[110:], weight[110:])]), None
    elif kind == "sparse":
        X[X < 0] = 0
        rows = sp.csr_matrix(X)
    elif kind == "seeded":
        how |= {"init": "k-means++", "n_init": 3}
    model, _ = resumed_from_each(path, written, rows, sample_weight, estimator=estimator, **how)
    assert_same_bits(model, fit(rows, sample_weight, estimator=estimator, **how))


@pytest.mark.parametrize(("estimator", "objective", "seed"), [(KMeans, Mean, 70), (KMedians, Median, 249)])
def test_rows_given_to_empty_clusters(estimator, objective, seed, path, written, monkeypatch):
    """In iterations 1 and 4: each is made again where its state is resumed."""
    given, relocate = [], objective._relocate

    def watched(self, source, *args):
        found = relocate(self, source, *args)
        given.extend([1] * (objective is Mean or len(found) > 0))
        return found

    monkeypatch.setattr(objective, "_relocate", watched)
    X = uniform(np.random.default_rng(seed), 40, 2, np.float64)
    start = np.concatenate([X[:3], 50 * X[:7]])
    _, seen = resumed_from_each(path, written, X, estimator=estimator, init=start, tol=0)
    assert [n_iter for _, n_iter in seen[:5]] == [0, 1, 2, 3, 4]
    assert len(given) == 2 + sum((n_iter <= 1) + (n_iter <= 4) for _, n_iter in seen)


def test_a_state_of_one_layout_and_thread_count_serves_another(path, written, rng, pretend_threads):
    X = uniform(rng, 300, 3, np.float32)
    how = {"n_clusters": 6, "tol": 0, "max_iter": 8, "checkpoint": every(path)}
    for estimator in (KMeans, KMedians):
        written.clear()
        model = fit(X, estimator=estimator, **how)
        path.write_bytes(written[3])
        pretend_threads(3)
        assert_same_bits(fit(gpuclust.stream([X[:7], X[7:]]), estimator=estimator, **how), model)
        pretend_threads(1)


def test_generators_go_on(path, written, rng):
    """A generator that was passed ends in the state that it would have; NumPy's own one is left alone."""
    X = uniform(rng, 200, 2, np.float64)
    how = {"n_clusters": 5, "init": "random", "n_init": 3, "max_iter": 3, "checkpoint": every(path)}
    for generator in (np.random.RandomState(3), np.random.RandomState(np.random.PCG64(3))):
        written.clear()
        model, after = fit(X, random_state=generator, **how), generator.uniform()
        path.write_bytes(written[2])
        generator.uniform(size=9)
        assert_same_bits(fit(X, random_state=generator, **how), model)
        assert generator.uniform() == after
    written.clear()
    model = fit(X, random_state=None, **how)
    path.write_bytes(written[2])
    np.random.uniform()
    before = str(np.random.get_state())
    assert_same_bits(fit(X, random_state=None, **how), model)
    assert str(np.random.get_state()) == before


# --- a real process ---

CHILD = f"""
import sys, time
import numpy as np
from gpuclust import Checkpoint, KMeans
from gpuclust.solvers.progress import listen

def told(record):
    print(record.run, record.iteration, flush=True)
    time.sleep(0.02)

X = np.random.default_rng(0).normal(size=(400, 3))
checkpoint = Checkpoint(sys.argv[1], iterations=1)
model = KMeans(8, init="random", n_init=2, tol=0, random_state=0, device="cpu", checkpoint=checkpoint)
with listen(told):
    model.fit(X)
np.savez(sys.argv[2], **{{name: getattr(model, name) for name in {RESULTS}}})
"""


@pytest.mark.skipif(os.name == "nt", reason="there is no SIGKILL on Windows")
def test_a_killed_process_is_resumed_by_another(tmp_path):
    path, out = tmp_path / "fit.ckpt", tmp_path / "out.npz"
    command = [sys.executable, "-c", CHILD, str(path), str(out)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert "1 3\n" in child.stdout  # reads up to there
        os.kill(child.pid, signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    assert path.exists() and not out.exists()
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] in ("1 3", "1 4")  # it went on from there
    X = np.random.default_rng(0).normal(size=(400, 3))
    whole, found = fit(X, n_clusters=8, init="random", n_init=2, tol=0), np.load(out)
    for name in RESULTS:
        assert found[name].tobytes() == np.asarray(getattr(whole, name)).tobytes(), name
    assert not path.exists()


# --- when it is written ---


def test_every_so_many_iterations(path, written, rng):
    X = uniform(rng, 300, 3, np.float64)
    model = fit(X, n_clusters=7, tol=0, checkpoint=Checkpoint(path, iterations=3))
    assert places(written, path) == [(0, m) for m in range(3, model.n_iter_, 3)]
    assert model.n_iter_ > 7


def test_every_so_many_seconds(path, written, rng, monkeypatch):
    """A clock that goes on by 20 seconds at each look; a look more where a state is written."""
    X, now = uniform(rng, 300, 3, np.float64), [0.0]
    monkeypatch.setattr(checkpoints.time, "monotonic", lambda: now.append(now[-1] + 20) or now[-1])
    for given, gap in ((str(path), 3), (Checkpoint(path, seconds=40), 2)):
        written.clear()
        model = fit(X, n_clusters=7, tol=0, checkpoint=given)
        n_iter = [at for _, at in places(written, path)]
        assert set(np.diff(n_iter)) == {gap} and model.n_iter_ > n_iter[-1] > 2 * gap


def test_a_short_fit_writes_nothing(path, written, rng):
    fit(uniform(rng, 100, 2, np.float64), n_clusters=3, checkpoint=path)
    assert not written and not path.exists()


def test_no_state_after_the_last_iteration(path, written, rng):
    fit(uniform(rng, 300, 3, np.float64), n_clusters=7, tol=0, max_iter=3, checkpoint=Checkpoint(path, iterations=1))
    assert places(written, path) == [(0, 1), (0, 2)]


def test_an_error_leaves_the_state(path, rng):
    X, seen = uniform(rng, 300, 3, np.float64), []

    def chunks():
        seen.append(1)
        if len(seen) == 12:
            raise OSError("the disk is gone")
        return iter([X])

    how = {"init": X[:7], "tol": 0, "checkpoint": every(path)}
    with pytest.raises(OSError, match="gone"):
        fit(gpuclust.stream(chunks), **how)
    assert path.exists()
    leftover = path.with_name(".fit.ckpt.0a1b.tmp")
    leftover.write_text("what a killed writer leaves")
    assert_same_bits(fit(gpuclust.stream(chunks), **how), fit(X, init=X[:7], tol=0))
    assert os.listdir(path.parent) == []


def test_a_full_disk_costs_no_fit(path, rng, monkeypatch):
    def full(*args):
        raise OSError(28, "No space left on device")

    X = uniform(rng, 300, 3, np.float64)
    monkeypatch.setattr(checkpoints, "write_signed", full)
    with pytest.warns(UserWarning, match="No space left") as caught:
        model = fit(X, n_clusters=7, tol=0, checkpoint=every(path))
    assert len(caught) == 1
    assert_same_bits(model, fit(X, n_clusters=7, tol=0))


# --- what is refused ---

OWN = {"n_clusters": 4, "init": "random", "n_init": 2, "tol": 1e-3, "max_iter": 8, "random_state": 0}
OTHERS = {
    "n_clusters": {"n_clusters": 5},
    "init": {"init": "k-means++"},
    "n_init": {"n_init": 3},
    "tol": {"tol": 1e-4},
    "max_iter": {"max_iter": 9},
    "random_state": {"random_state": 1},
    "class": {"estimator": KMedians},
}


def refused(path, X, match, weight=None, **how):
    """Check that a checkpoint is not taken, and left as it is."""
    before = path.read_bytes()
    with pytest.raises(DataError, match=match):
        fit(X, weight, checkpoint=every(path), **(OWN | how))
    assert path.read_bytes() == before


@pytest.fixture
def kept(path, written):
    """Rows, and the state of their fit in its second run."""
    X = uniform(np.random.default_rng(5), 200, 3, np.float64)
    fit(X, checkpoint=every(path), **OWN)
    wanted = places(written, path).index((1, 2))
    path.write_bytes(written[wanted])
    return X


@pytest.mark.parametrize("name", OTHERS)
def test_other_parameters_are_refused(name, path, kept):
    refused(path, kept, f"{name} is .* there and .* here.*Delete the file, or choose another path", **OTHERS[name])


def test_other_rows_are_refused(path, kept):
    X = kept.copy()
    refused(path, X[1:], "n_samples is 200 there and 199 here")
    refused(path, X[:, :2], "n_features is 3 there and 2 here")
    refused(path, X.astype(np.float32), "dtype is 'float64' there and 'float32' here")
    refused(path, X, "weighted is False there and True here", np.ones(200))
    X[7, 1] += 1e-9
    refused(path, X, "moments of the rows is")
    X = kept.copy()
    X[1:, 0] = X[:0:-1, 0]  # the same range and moments
    refused(path, X, "its best run has another inertia")


def test_other_rows_show_in_the_iteration_that_is_made_again(path, written, rng):
    for estimator in (KMeans, KMedians):
        X = uniform(rng, 200, 3, np.float64)
        how = {"estimator": estimator, "n_init": 1}
        path.unlink(missing_ok=True)
        written.clear()
        fit(X, checkpoint=every(path), **(OWN | how))
        path.write_bytes(written[3])
        X[1:, 0] = X[:0:-1, 0]
        refused(path, X, "an iteration made again ends with other centres", **how)


def test_given_centers_and_medians_are_told_apart(path, written, rng):
    X = uniform(rng, 200, 3, np.float64)
    how = {"estimator": KMedians, "n_init": 1, "init": X[:4]}
    fit(X, checkpoint=every(path), **(OWN | how))
    path.write_bytes(written[2])
    refused(path, X, "init is", **(how | {"init": X[1:5]}))
    refused(path, X, "median is 'midpoint' there and 'lower' here", **how, median="lower")


def test_damaged_files_are_refused(path, kept, tmp_path):
    data = path.read_bytes()
    model = tmp_path / "model"
    save_model(fit(kept, n_clusters=2), model)
    flipped = [data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :] for at in range(20, len(data), 211)]
    for bad in (b"", b"junk", data[:50], data[:-1], model.read_bytes(), *flipped):
        path.write_bytes(bad)
        with pytest.raises(ModelFileError, match="fit.ckpt"):
            fit(kept, checkpoint=every(path), **OWN)
        assert path.read_bytes() == bad


def test_whole_files_with_nonsense_are_refused(path, kept):
    header, tensors = read_signed(path, KEY, "checkpoint", FORMAT_VERSION)
    newer = "has format 2; this version of gpuclust reads format 1"
    crafted = [
        (header | {"format_version": 2}, tensors, newer),
        (header | {"n_iter": 3}, tensors, "changes"),
        (header | {"n_iter": 8}, tensors, "n_iter"),
        (header | {"run": 2}, tensors, "run"),
        (header | {"random_state": {"bit_generator": "PCG64"}}, tensors, "generator"),
        ({key: value for key, value in header.items() if key != "fit"}, tensors, "fit"),
        (header, tensors | {"before": np.zeros((4, 2))}, "before"),
        (header, tensors | {"initial": tensors["initial"].astype(np.float32)}, "initial"),
        (header, tensors | {"after": np.full((4, 3), np.nan)}, "after"),
        (header, {"initial": tensors["initial"]}, "before|changes"),
    ]
    for head, arrays, match in crafted:
        write_signed(path, KEY, head, arrays)
        with pytest.raises((ModelFileError, DataError), match=match):
            fit(kept, checkpoint=every(path), **OWN)
    path.write_bytes(save(load(path.read_bytes()), {KEY: "[1]"}))
    with pytest.raises(ModelFileError, match="damaged"):
        fit(kept, checkpoint=every(path), **OWN)


def test_settings_that_make_no_sense(path, tmp_path):
    X = np.arange(12.0).reshape(6, 2)
    for wrong, match in (
        (Checkpoint(path, seconds=None), "would never be written"),
        (Checkpoint(path, iterations=0), "iterations must be 1 or more"),
        (Checkpoint(path, seconds=-1), "seconds 0 or more"),
        (tmp_path, "cannot be written"),
        (tmp_path / "missing" / "file", "cannot be written"),
        (3, "The 'checkpoint' parameter of KMeans"),
    ):
        with pytest.raises(ValueError, match=match):
            KMeans(2, checkpoint=wrong).fit(X)


# --- the parameter, and the command line ---


@pytest.mark.parametrize("given", [None, "fit.ckpt", Path("fit.ckpt"), Checkpoint("fit.ckpt", iterations=5)])
def test_it_is_a_parameter_like_others(given, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model = KMedians(2, checkpoint=given).fit(np.arange(12.0).reshape(6, 2))
    again = pickle.loads(pickle.dumps(clone(model)))
    assert again.get_params()["checkpoint"] == given and type(again.checkpoint) is type(given)
    assert given is None or "fit.ckpt" in repr(model)
    save_model(model, "model")
    assert load_model("model").checkpoint is None  # where it was written may not be there


def test_the_command_line_goes_on(tmp_path, monkeypatch, written):
    from gpuclust.cli.app import app

    monkeypatch.chdir(tmp_path)
    np.save("x.npy", np.random.default_rng(0).normal(size=(300, 3)))
    path = Path("c.ckpt")

    def run(*more):
        command = ["fit", "x.npy", "-k", "5", "--device", "cpu", "--quiet", "--checkpoint", str(path), *more]
        return CliRunner().invoke(app, command)

    assert run("--out", "a", "--checkpoint-every", "0").exit_code == 0
    states = list(written)
    assert len(states) > 3 and not path.exists()
    path.write_bytes(states[3])
    assert run("--out", "b").exit_code == 0
    assert len(written) == len(states)  # the default is a minute
    assert Path("a/centers.csv").read_bytes() == Path("b/centers.csv").read_bytes()
    path.write_bytes(states[3])
    other = run("--seed", "1")
    assert other.exit_code == 3 and "random_state is 0 there and 1 here" in other.stderr
    for wrong in (("--method", "minibatch"), ("-k", "auto")):
        assert run(*wrong).exit_code == 2
