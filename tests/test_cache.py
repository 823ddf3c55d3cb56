"""Compiled CPU kernels are kept where a folder can be written, and the wait for them is told."""

from __future__ import annotations

import logging
import os
import subprocess
import sys

import numba
import pytest

from gpuclust.backends import kernels

NOWHERE = """
import numpy as np
from numba.core.caching import CompileResultCacheImpl
CompileResultCacheImpl._locator_classes = []  # a read-only installation, and a user without a home
from gpuclust.backends import cpu, kernels
from gpuclust.backends.kernels import solve
assert not kernels.CACHE and "NUMBA_CACHE_DIR" in kernels.KEPT
print(*solve.sum_weighted(np.ones(3), np.full(3, 0.5)))
"""


def test_nowhere_to_keep_kernels():
    done = subprocess.run([sys.executable, "-c", NOWHERE], capture_output=True, text=True)
    assert not done.returncode, done.stderr
    assert done.stdout.split() == ["1.5", "0.0"]


def test_nothing_is_compiled_on_demand():
    """Coverage tools ask for that; some kernels then say that they cannot run."""
    code = "from gpuclust.backends import cpu, kernels; assert not kernels.CACHE"
    env = {**os.environ, "NUMBA_DISABLE_JIT": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=env)
    assert not done.returncode, done.stderr


def test_functions_of_no_module_compile():
    """Such as are made by exec."""

    def add(x):
        return x + 1

    add.__module__ = None
    assert numba.njit(add)(1) == 2


def count(kind, module):
    """A tiny parallel kernel, as if of a module, compiled."""

    def kernel(n):
        total = 0
        for i in numba.prange(n):
            total += i
        return total

    kernel.__module__ = module
    return numba.njit(parallel=kind)(kernel)(4)


@pytest.mark.parametrize(
    "parallel, module, told", [(True, "own.test", 1), (False, "own.test", 0), (True, "anybody", 0)]
)
def test_long_compilation_is_told_once(parallel, module, told, monkeypatch, caplog):
    monkeypatch.setattr(kernels.TELLING, "told", False)
    module = module.replace("own", kernels.__name__)
    with caplog.at_level(logging.WARNING, "gpuclust"):
        assert [count(parallel, module), count(parallel, module)] == [6, 6]
    assert [kernels.KEPT in line for line in caplog.messages] == [True] * told
