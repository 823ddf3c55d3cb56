"""Run a snippet in a process of its own and report how much its memory grew (Linux: VmHWM, reset by clear_refs)."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PRELUDE = """
import gc, os, sys, warnings
import numpy as np
import gpuclust, numba
from gpuclust import KMeans

def status(field):
    with open("/proc/self/status") as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith(field))

class growth:
    '''Bytes by which the peak resident size passed what was resident at the start.'''
    def __enter__(self):
        gc.collect()
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")
        self.start = status("VmRSS")
        return self
    def __exit__(self, *error):
        self.bytes = status("VmHWM") - self.start
"""

linux = pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's /proc to reset the peak")


def measured(code, *arguments):
    """Return the integers that the snippet prints; it sees `growth`, np, KMeans and sys.argv."""
    done = subprocess.run(
        [sys.executable, "-c", PRELUDE + code, *map(str, arguments)], capture_output=True, text=True, timeout=280
    )
    assert done.returncode == 0, done.stderr
    return [int(word) for word in done.stdout.split()]
