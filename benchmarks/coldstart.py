"""Start-up: how long a new process takes to its first finished fit, over importing scikit-learn's KMeans.

The compiled kernels are cached on disk. The first process of a shape compiles what the shapes before it (from
an empty cache on) have not, and is reported apart; the later ones count. All processes are fresh
interpreters, in turns.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from .measure import COARSE, QUIET, children_cpu, machine_busy, wait_quiet
from .record import Recorder, parser, scratch
from .tables import markdown

TARGET = 1.0  # seconds over scikit-learn's import
IMPORT = "from sklearn.cluster import KMeans"
FIT = """
import numpy as np
from gpuclust import {estimator}
X = np.random.default_rng(0).standard_normal((2000, {d})).astype(np.{dtype})
{estimator}({k}, n_init=1, random_state=0, device={device!r}).fit(X)
"""
SHAPES = (
    ("KMeans", 2, 8, "float32"),
    ("KMeans", 16, 8, "float32"),
    ("KMeans", 128, 64, "float32"),
    ("KMeans", 16, 8, "float64"),
    ("MiniBatchKMeans", 16, 8, "float32"),
)
COLUMNS = ("fit", "first process s", "later process s", "over import s")


def launch(program: str, cache: Path) -> tuple[float, bool]:
    """Run a program in a fresh interpreter; return its wall time and whether others used the machine."""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(cache)}
    busy, cpu, start = machine_busy(), children_cpu(), time.perf_counter()
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True)
    took, after = time.perf_counter() - start, machine_busy()
    if done.returncode:
        raise RuntimeError(done.stderr.strip().splitlines()[-1])
    other = 0.0 if busy is None or after is None else after - busy - (children_cpu() - cpu)
    return took, other > QUIET * took + COARSE


def middle(runs: list[tuple[float, bool]]) -> tuple[float, bool]:
    """Return the median of the clean runs (of all, and True, when none was clean)."""
    clean = [took for took, contended in runs if not contended]
    return statistics.median(clean or [took for took, _ in runs]), not clean


def one_shape(options: argparse.Namespace, folder: Path, shape: tuple[str, int, int, str]) -> dict[str, Any]:
    """Measure one estimator and shape with a cache of its own."""
    estimator, d, k, dtype = shape
    program = FIT.format(estimator=estimator, d=d, k=k, dtype=dtype, device=options.device)
    cache = folder / "cache"
    row: dict[str, Any] = {"fit": f"{estimator}, {dtype}, d={d}, k={k}", "first": launch(program, cache)[0]}
    later, imports = [], []
    for _ in range(options.repeats):
        wait_quiet(options.patience)
        later.append(launch(program, cache))
        imports.append(launch(IMPORT, cache))
    row["later"], late = middle(later)
    row["sklearn_import"], early = middle(imports)
    row |= {"laters": [took for took, _ in later], "imports": [took for took, _ in imports]}
    return {**row, "over": row["later"] - row["sklearn_import"], "contended": late or early}


def main() -> None:
    """Run the benchmark."""
    made = parser("coldstart", __doc__)
    made.add_argument("--repeats", type=int, default=3)
    options = made.parse_args()
    recorder = Recorder(options, repeats=options.repeats)
    rows = []
    with scratch(options) as folder:
        launch(IMPORT, folder)  # brings scikit-learn's files into the page cache
        for shape in SHAPES[:1] if options.quick else SHAPES:
            rows.append(one_shape(options, folder, shape))
            recorder.add(rows[-1])
    body = [[row["fit"], row["first"], row["later"], row["over"]] for row in rows]
    worst = max(row["over"] for row in rows)
    print(markdown(COLUMNS, body))
    print(f"scikit-learn's import {rows[0]['sklearn_import']:.2f} s")
    print(f"worst {worst:.2f} s over it (target {TARGET})")
    recorder.finish({"worst_over_import": worst, "target": TARGET, "met": worst < TARGET})


if __name__ == "__main__":
    main()
