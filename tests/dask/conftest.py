"""Clusters that last for the session: one in this process, one of two processes that may be killed."""

import multiprocessing
import os

import dask
import pytest

distributed = pytest.importorskip("distributed")

# Workers are forked from a process that has imported everything, and runs no threads: to start one takes no time.
# A cluster that sees a worker lost looks 15 seconds later whether there is another one of its name, and closes the nanny
# where there is none. A worker that another test killed just then is none, though the nanny is starting it again.
FORKED = {
    "distributed.worker.multiprocessing-method": "forkserver",
    "distributed.worker.preload": [],
    "distributed.comm.timeouts.connect": "5s",
    "distributed.deploy.lost-worker-timeout": "1h",
}
IMPORTED = ["distributed", "distributed.nanny", "distributed.worker", "dask.array", "gpuclust.estimators.kmedians", "gpuclust.data.dask"]
QUIET = {"dashboard_address": ":0", "silence_logs": 30}


@pytest.fixture(scope="session")
def one_process():
    """Yield a client of a cluster of three workers in this process."""
    with (
        distributed.LocalCluster(n_workers=3, threads_per_worker=1, processes=False, **QUIET) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture(scope="session")
def two_processes():
    """Yield a client of a cluster of two processes; a nanny starts those again that are killed."""
    if os.name != "posix":
        pytest.skip("there is no SIGKILL here")
    monkeypatch = pytest.MonkeyPatch()
    monkeypatch.setattr(distributed.utils, "_forkserver_preload_set", True, raising=False)
    multiprocessing.get_context("forkserver").set_forkserver_preload(IMPORTED)
    with (
        dask.config.set(FORKED),
        distributed.LocalCluster(n_workers=2, threads_per_worker=1, **QUIET) as cluster,
        distributed.Client(cluster, set_as_default=False) as client,
    ):
        yield client


@pytest.fixture
def local(one_process, monkeypatch):
    """Make the cluster in this process the default; its workers ask each other, as many do."""
    monkeypatch.setattr("gpuclust.data.crew.FLAT", 1)
    with one_process.as_current():
        yield one_process


@pytest.fixture
def workers(two_processes):
    """Make the cluster of two processes the default, complete again."""
    two_processes.wait_for_workers(2, timeout=60)
    with two_processes.as_current():
        yield two_processes
