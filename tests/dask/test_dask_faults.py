"""Workers die in the middle of a fit: its result stays the same, or an error says which worker and what to do."""

import os
import signal
import threading
import time
import weakref

import dask
import dask.array as da
import distributed
import numpy as np
import pytest

import gpuclust
from gpuclust import DataError, KMeans, KMedians, WorkersLostError, errors
from gpuclust.data import branches, crew
from gpuclust.data.dask import DaskSource
from gpuclust.solvers.scan import _step


def pids(client):
    """Return the processes of the workers."""
    return list(client.run(os.getpid).values())


def killer(monkeypatch, client, at, count=1):
    """Make the `at`-th fold begin with SIGKILL to `count` workers; return the list of those killed."""
    killed, calls, fold = [], [], DaskSource.fold

    def dying(self, *args):
        calls.append(1)
        if len(calls) == at:
            for pid in pids(client)[:count]:
                os.kill(pid, signal.SIGKILL)
                killed.append(pid)
        return fold(self, *args)

    monkeypatch.setattr(DaskSource, "fold", dying)
    return killed


@pytest.fixture
def X(rng):
    rows = np.concatenate([rng.normal(m, 1.5, (400, 4)) for m in (-2, 0, 2)])
    return rng.permutation(rows).astype(np.float32)


@pytest.fixture(params=[2, 1], ids=["flat", "tree"])
def flat(request, monkeypatch):
    """Let two workers answer the client each for itself, or one by way of the other."""
    monkeypatch.setattr(crew, "FLAT", request.param)


@pytest.mark.usefixtures("flat")
@pytest.mark.parametrize(
    ("kind", "options", "at", "count"),
    [
        (KMeans, {"init": "random", "n_init": 1}, 5, 1),
        (KMedians, {"init": "random", "n_init": 1}, 5, 2),  # nobody is left until a nanny starts new ones
        (KMeans, {"init": "k-means++", "max_iter": 2}, 4, 1),
    ],
    ids=["K-Means", "K-Medians, all workers", "while seeding"],
)
def test_killed_in_the_middle(kind, options, at, count, X, workers, monkeypatch):
    model, alone = (kind(5, random_state=3, tol=0, **options) for _ in range(2))
    killed = killer(monkeypatch, workers, at, count)
    model.fit(da.from_array(X, chunks=(170, 4)))
    assert len(killed) == count
    alone.fit(X)
    assert alone.n_iter_ + 1 >= at or options["init"] == "k-means++"  # it was killed before the end
    assert np.array_equal(model.cluster_centers_, alone.cluster_centers_)
    assert (model.inertia_, model.n_iter_) == (alone.inertia_, alone.n_iter_)
    assert np.array_equal(model.inertia_history_, alone.inertia_history_)
    assert np.array_equal(model.labels_.compute(), alone.labels_)


class Slow:
    """A step that takes a while."""

    def __call__(self, backend, chunk, origin):
        time.sleep(0.5)
        return _step(backend, chunk, origin)


@pytest.mark.usefixtures("flat")
@pytest.mark.parametrize("which", [0, 1])
def test_killed_while_it_folds_and_views_are_kept(X, workers, which):
    """A worker is lost that holds the rows with two sets of weights; in a tree it is the root or below it."""
    source = DaskSource(da.from_array(X, chunks=(400, 4)), None, "cpu")
    other = source.reweighted(np.arange(1200.0))
    for one in (source, other):
        one.allocate("label", np.int32, 7)
    timer = threading.Timer(0.2, os.kill, (pids(workers)[which], signal.SIGKILL))
    timer.start()
    found = other.fold(Slow(), np.zeros(4))
    timer.join()
    assert float(found.mass.value()) == np.arange(1200.0).sum() and found.rows == 1200
    assert float(source.fold(_step, np.zeros(4)).mass.value()) == 1200
    assert source.rows("label").tolist() == [7] * 1200
    assert np.array_equal(source.take(np.arange(1200)), X)


class OnlyHere(np.ndarray):
    """Rows that must not travel."""

    def __reduce__(self):
        raise AssertionError("rows travel")


def test_rows_stay_where_they_are_made(X, workers):
    def made(a):
        return X[a : a + 300].view(OnlyHere)

    model = KMeans(3, init=X[:3]).fit(gpuclust.shards([dask.delayed(made, pure=False)(a) for a in range(0, 1200, 300)]))
    assert np.array_equal(model.cluster_centers_, KMeans(3, init=X[:3]).fit(X).cluster_centers_)


# --- in this process ---


def test_what_a_step_was_given_is_kept_only_where_columns_may_depend_on_it(local, X):
    source = DaskSource(gpuclust.shards([dask.delayed(X)]), None, "cpu")
    for columns, kept in ((0, False), (1, True)):
        if columns:
            source.allocate("label", np.int32, 7)
        origin = np.zeros(4)
        given = weakref.ref(origin)
        source.fold(_step, origin)
        del origin
        assert (given() is not None) == kept
    source.release("label")
    assert given() is None


def short(X, piece=0):
    return np.empty(1 << 55)


def test_a_worker_out_of_memory_is_named(local, X):
    pieces = [dask.delayed(X), dask.delayed(short)(X)]
    with pytest.raises(MemoryError, match="Worker (inproc|tcp)://.* shard 1: .*allocate"):
        KMeans(2).fit(gpuclust.shards(pieces))
    source = DaskSource(gpuclust.shards([dask.delayed(X)]), None, "cpu")
    with pytest.raises(MemoryError, match="Worker (inproc|tcp)://.*allocate"):
        source.fold(lambda backend, chunk: short(chunk))


def broken(X):
    raise KeyError("column")


def test_errors_of_ours_are_no_losses(local, X):
    with pytest.raises(KeyError, match="column"):
        KMeans(2).fit(gpuclust.shards([dask.delayed(broken)(X)]))
    source = DaskSource(gpuclust.shards([dask.delayed(X)]), None, "cpu")
    with pytest.raises(OSError, match="disk"):
        source.fold(on_disk)
    assert source.fold(_step, np.zeros(4)).rows == 1200  # nothing was lost
    with pytest.raises(TypeError):
        source.fold(_step, threading.Lock())  # cannot be sent


OURS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Exception)]


def raised(backend, chunk, kind):
    raise kind("what to do")


class Odd(Exception):
    """Of two arguments, of which it keeps one: it is sent and cannot be made again."""

    def __init__(self, first, second):
        super().__init__(first)


def raised_oddly(backend, chunk):
    raise Odd("this", "that")


def test_every_error_of_ours_comes_back_as_itself(local, X):
    source = DaskSource(gpuclust.shards([dask.delayed(X)]), None, "cpu")
    assert len(OURS) > 6
    for kind in OURS:
        with pytest.raises(kind, match="what to do") as found:
            source.fold(raised, kind)
        assert found.type is kind
    with pytest.raises(RuntimeError, match="Odd: this") as found:
        source.fold(raised_oddly)
    assert found.value.__notes__[0].startswith("It was raised by worker inproc://")


class Foreign(MemoryError):
    """Of a package that the client lacks."""

    def __reduce__(self):
        return __import__, ("no_such_package",)


def test_errors_of_packages_that_the_client_lacks(local, X):
    source = DaskSource(gpuclust.shards([dask.delayed(X)]), None, "cpu")
    with pytest.raises(MemoryError, match="Worker inproc://.* has not enough memory .*Foreign: what to do"):
        source.fold(raised, Foreign)


def test_a_tree_asks_ever_higher_addresses_and_few_at_a_time():
    for count in (1, 2, 3, 8, 64, 100):
        root = branches.tree([(f"{i:03}", f"key {i}") for i in range(count)])
        assert sorted(branches.keys(root)) == sorted(f"key {i}" for i in range(count))
        every = [root]
        for address, _, below in every:
            assert len(below) <= np.log2(count) + 1
            assert all(other[0] > address for other in below)
            every += below
        assert depth(root) <= np.ceil(np.log2(count)) + 1


def depth(branch):
    return 1 + max(map(depth, branch[2]), default=0)


@pytest.mark.parametrize("kind", [KMeans, KMedians])
def test_answers_lost_on_the_way_up_are_given_again(local, X, kind, monkeypatch):
    """The workers are there and have done their fold: it must not be done twice."""
    lost, heard = [], branches.heard

    def sometimes(answer, branch):
        reply = heard(answer, branch)
        lost.append(len(lost) % 3 == 1)
        return branches.Reply([], branches.keys(branch)) if lost[-1] else reply

    monkeypatch.setattr("gpuclust.data.holder.heard", sometimes)
    model = kind(5, random_state=3, tol=0, n_init=1).fit(gpuclust.shards([dask.delayed(part) for part in np.split(X, 12)]))
    alone = kind(5, random_state=3, tol=0, n_init=1).fit(X)
    assert sum(lost) > 5
    assert np.array_equal(model.inertia_history_, alone.inertia_history_)
    assert np.array_equal(model.labels_.compute(), alone.labels_)


def test_a_fold_that_comes_late_changes_nothing(local, X):
    source = DaskSource(gpuclust.shards([dask.delayed(X)]), None, "cpu")
    for _ in range(2):
        source.fold(_step, np.zeros(4))
    late = crew.Request(source._view, "fold", (_step, (np.zeros(4),)), number=1)
    with pytest.raises(RuntimeError, match="Fold 1 came after fold 2"):
        source._crew.ask(late)
    again = source._crew.ask(late._replace(number=2))
    assert [(first, found.rows) for _, parts in again for first, found in parts] == [(0, 1200)]


def short_where(backend, chunk, first):
    if chunk.start == first:
        raise MemoryError(f"on {distributed.get_worker().address}")
    return _step(backend, chunk, np.zeros(4))


def test_an_error_below_names_its_own_worker(local, X):
    pieces = [local.submit(np.array, X[a : a + 400], workers=[at]) for a, at in zip((0, 400, 800), local.nthreads(), strict=True)]
    source = DaskSource(gpuclust.shards(pieces), None, "cpu")
    for first in (0, 400, 800):
        with pytest.raises(MemoryError) as found:
            source.fold(short_where, first)
        _, worker, *_, last = str(found.value).split()
        assert worker == last


def on_disk(backend, chunk):
    raise OSError("disk")


@pytest.fixture
def passing():
    """Yield a client of a cluster in this process that a test may end."""
    distributed = pytest.importorskip("distributed")
    cluster = distributed.LocalCluster(n_workers=1, threads_per_worker=1, processes=False, dashboard_address=":0")
    with cluster, distributed.Client(cluster, set_as_default=False) as client, client.as_current():
        yield client, cluster


def test_all_workers_lost_is_said(passing, X, monkeypatch):
    monkeypatch.setattr(crew, "WAIT", 0.5)
    monkeypatch.setattr(crew, "POLL", 0.2)
    client, cluster = passing
    source = DaskSource(gpuclust.shards([dask.delayed(X)]), None, "cpu")
    cluster.scale(0)
    while client.nthreads():
        time.sleep(0.05)
    with pytest.raises(WorkersLostError, match="no worker"):
        source.fold(_step, np.zeros(4))


@pytest.fixture
def full():
    """Let workers that are started now take themselves for nearly out of memory."""
    limits = {"target": False, "spill": False, "pause": 1e-6, "terminate": False}
    with dask.config.set({f"distributed.worker.memory.{name}": limit for name, limit in limits.items()}):
        yield


def test_workers_that_are_too_full_to_begin_are_named(full, passing, X, monkeypatch):
    monkeypatch.setattr(crew, "WAIT", 0.5)
    monkeypatch.setattr(crew, "POLL", 0.2)
    client, _ = passing
    while not client.run_on_scheduler(crew._at_work)[1]:
        time.sleep(0.05)
    with pytest.raises(MemoryError, match="Worker inproc://.* has no memory left"):
        KMeans(2).fit(gpuclust.shards([dask.delayed(X)]))


@pytest.mark.parametrize("closed", [True, False], ids=["with its client", "alone"])
def test_a_scheduler_that_is_gone_is_said(closed, passing, X, monkeypatch):
    monkeypatch.setattr(crew, "WAIT", 0.5)
    monkeypatch.setattr(crew, "POLL", 0.2)
    client, cluster = passing
    source = DaskSource(gpuclust.shards([dask.delayed(X)]), None, "cpu")
    if closed:
        client.close()
    cluster.close()
    with pytest.raises(WorkersLostError, match="does not answer"):
        source.fold(_step, np.zeros(4))


def test_shards_that_kill_every_worker_are_given_up(local, X, monkeypatch):
    source = DaskSource(gpuclust.shards([dask.delayed(X)]), None, "cpu")
    monkeypatch.setattr(crew, "NOTICE", 0.0)

    async def lost(*args):
        raise OSError("closed")

    monkeypatch.setattr(crew, "_executed", lost)
    with pytest.raises(WorkersLostError, match="4 workers were lost that held the same shards, the last one inproc://"):
        source.fold(_step, np.zeros(4))


@pytest.mark.parametrize("kind", [KMeans, KMedians])
def test_lost_at_any_call(kind, local, X, monkeypatch):
    """Also while shards are looked at and opened, and by whichever worker."""
    monkeypatch.setattr(crew, "NOTICE", 0.0)
    calls, executed = [], crew._executed

    async def lost_once(*args):
        calls.append(1)
        if len(calls) == at:
            raise OSError("closed")
        return await executed(*args)

    monkeypatch.setattr(crew, "_executed", lost_once)
    at, pieces = 0, [dask.delayed(X[:50]), dask.delayed(X[50:80])]
    whole = kind(3, init=X[:3], max_iter=3).fit(X[:80])
    kind(3, init=X[:3], max_iter=3).fit(gpuclust.shards(pieces))
    for at in range(1, len(calls) + 1, 3):
        del calls[:]
        model = kind(3, init=X[:3], max_iter=3).fit(gpuclust.shards(pieces))
        assert np.array_equal(model.cluster_centers_, whole.cluster_centers_) and model.inertia_ == whole.inertia_
        assert len(calls) > at


def test_what_was_scattered_to_a_lost_worker_cannot_be_made_again(passing, X):
    client, _ = passing
    (future,) = client.scatter([X])
    future.cancel()
    with pytest.raises(WorkersLostError, match="scattered"):
        KMeans(2).fit(gpuclust.shards([future]))


def test_asynchronous_clients_are_refused(local, monkeypatch):
    monkeypatch.setattr(type(local), "asynchronous", True)
    with pytest.raises(DataError, match="asynchronous"):
        KMeans(2).fit(da.zeros((8, 2)))
