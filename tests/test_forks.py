"""A forked process computes, or says why it cannot: it never just ends, nor waits for ever."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PARENT = """
import os, sys
import numpy as np
from gpuclust.backends import threads
from gpuclust.backends.kernels import solve

def total():
    mass, rows = np.zeros((1, 2, 1)), np.zeros((1, 1), np.int64)
    out = np.zeros((1, 2))
    threads.run(solve.weighted_total, np.ones(3), np.empty(0), np.zeros(3, np.int32), out, mass, rows)
    return out[0, 0]

if "before" not in sys.argv:
    total()
threads._lock.acquire()  # another thread is in a kernel
child = os.fork()
if child:
    sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    print(total(), flush=True)
except RuntimeError as error:
    print(error, flush=True)
os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize("layer", ["omp", "workqueue"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_kernels_in_a_fork(layer, when):
    env = {**os.environ, "NUMBA_THREADING_LAYER": layer, "NUMBA_NUM_THREADS": "1"}
    done = subprocess.run([sys.executable, "-c", PARENT, when], capture_output=True, text=True, env=env, timeout=120)
    if "No threading layer could be loaded" in done.stderr:
        pytest.skip(f"Numba has no {layer} here")
    assert not done.returncode, done.stderr
    lost = when == "after" and layer == "omp" and openmp() == "GNU"
    assert ("'spawn'" if lost else "3.0") in done.stdout


def openmp():
    from numba.np.ufunc import omppool

    return omppool.openmp_vendor
