"""What a Dask cluster costs: two worker processes of one thread each on this machine, against the same fit on one.

* Overhead: seconds an iteration, on workers minus on one machine (two threads), by the number of shards and by k x d.
  An iteration is what a fit of `--iterations` costs more than one of 3, divided; that leaves out what comes once.
* Wire: bytes that the workers write an iteration, as Dask's TCP comms count them (heartbeats included), beside the size
  of the statistics (exact sums, float64 [k, K, d + 1]) and beside the rows, which stay where they are.
* Ways: the same with eight processes on the same two cores, where workers send what they found to each other, up a
  tree, and where each sends it to the client.
* Peers: whole fits of the same rows from the same centres, on the same two processes: ours, dask-ml's (with
  ``--dask-ml PYTHON``, the interpreter of an environment that has it), and scikit-learn's on one process.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import data
from .distributed_peer import chunked, cluster
from .measure import Measure, measure, summarise, wait_quiet
from .record import Recorder, parser, scratch
from .tables import markdown

SHARDS = (8, 64, 512)
SIZES = ((16, 16), (64, 64), (256, 128), (1024, 128))  # k, d
MANY = 8  # workers
FEW = 3  # iterations that are subtracted
TARGET_MS, TARGET_RATIO = 40.0, 5.0
PEER = Path(__file__).parent / "distributed_peer.py"


def fit(X: Any, init: np.ndarray, iterations: int) -> Any:
    """Fit for so many iterations."""
    from gpuclust import KMeans

    model = KMeans(len(init), init=init, n_init=1, max_iter=iterations, tol=0, device="cpu").fit(X)
    assert model.n_iter_ == iterations, "the fit converged: the difference would measure nothing"
    return model


def per_iteration(options: argparse.Namespace, X: Any, init: np.ndarray) -> dict[str, Any]:
    """Return seconds an iteration, and CPU seconds of this process, where a cluster's client and scheduler live:
    medians over the repeats of the difference of a long and a short fit.
    """
    fit(X, init, FEW)  # loads kernels, and the rows of lazy chunks
    found, own, runs, more = [], [], [], options.iterations - FEW
    for _ in range(options.repeats):
        wait_quiet(options.patience)
        _, short = measure(lambda: fit(X, init, FEW))
        _, long = measure(lambda: fit(X, init, options.iterations))
        found.append((long.wall - short.wall) / more)
        own.append((long.cpu - short.cpu) / more)
        runs += [short, long]
    other = max((run.other or 0.0) for run in runs)
    return {"seconds": statistics.median(found), "own": statistics.median(own), "each": found, "max_other": other}


# --- bytes, as Dask's comms count them ---


def count_writes() -> None:
    """Add up, from now on, what each TCP comm of this process says that it wrote."""
    from distributed.comm import tcp

    write = tcp.TCP.write
    tcp.TCP.gpuclust_written = 0

    async def counted(self: Any, *args: Any, **kwargs: Any) -> Any:
        written = await write(self, *args, **kwargs)
        tcp.TCP.gpuclust_written += written
        return written

    tcp.TCP.write = counted


def written() -> int:
    """Return the bytes that this process wrote."""
    from distributed.comm import tcp

    return int(tcp.TCP.gpuclust_written)


def wire(client: Any, X: Any, init: np.ndarray, iterations: int) -> float:
    """Return the bytes that all workers write an iteration."""
    totals = []
    for count in (FEW, iterations):
        before = sum(client.run(written).values())
        fit(X, init, count)
        totals.append(sum(client.run(written).values()) - before)
    return (totals[1] - totals[0]) / (iterations - FEW)


# --- the parts ---


class Case(NamedTuple):
    """Rows in a file, the centres to start from, and how often the rows are cut."""

    part: str
    path: Path
    init: np.ndarray
    shards: tuple[int, ...]


def cases(options: argparse.Namespace, folder: Path, path: Path, init: np.ndarray) -> list[Case]:
    """By the number of shards; and by k x d at eight shards, of few rows, so that what is measured is what travels."""
    found = [Case("overhead", path, init, SHARDS)]
    for k, d in SIZES[:2] if options.quick else SIZES:
        path = folder / f"size-{k}-{d}.npy"
        data.write_mixture(path, max(20 * k, 4000), d, k)
        found.append(Case("growth", path, data.initial_centres(np.load(path), k), SHARDS[:1]))
    return found


def compare(options: argparse.Namespace, recorder: Recorder, every: list[Case]) -> list[dict[str, Any]]:
    """Each case on one machine while nothing else runs there, then on the workers."""
    alone = [per_iteration(options, np.load(case.path), case.init) for case in every]
    rows = []
    with cluster() as client:
        client.run(count_writes)
        for case, one in zip(every, alone, strict=True):
            for shards in case.shards:
                lazy = client.persist(chunked(case.path, shards))
                there = per_iteration(options, lazy, case.init)
                rows.append(line(case, shards, one, there, wire(client, lazy, case.init, options.iterations)))
                recorder.add(rows[-1])
                print(rows[-1], flush=True)
    return rows


def ways(options: argparse.Namespace, recorder: Recorder, case: Case) -> None:
    """Up a tree of workers, and from each to the client; the work on the rows is the same."""
    from gpuclust.data import crew

    k, d = case.init.shape
    with cluster(MANY) as client:
        lazy = client.persist(chunked(case.path, MANY))
        for way, flat in (("tree", 1), ("client", MANY)):
            crew.FLAT = flat
            there = per_iteration(options, lazy, case.init)
            row = {
                "part": "ways", "way": way, "workers": MANY, "k": k, "d": d, "workers_ms": 1e3 * there["seconds"],
                "client_cpu_ms": 1e3 * there["own"],
            }  # fmt: skip
            recorder.add(row | {"each": there["each"]})
            print(row, flush=True)


def line(case: Case, shards: int, alone: dict[str, Any], there: dict[str, Any], sent: float) -> dict[str, Any]:
    """Return a row of the table."""
    (k, d), X = case.init.shape, np.load(case.path, mmap_mode="r")
    return {
        "part": case.part, "n": len(X), "d": d, "k": k, "shards": shards, "alone_ms": 1e3 * alone["seconds"],
        "workers_ms": 1e3 * there["seconds"], "overhead_ms": 1e3 * (there["seconds"] - alone["seconds"]),
        "wire_kb": sent / 1e3, "statistics_kb": 2 * 8 * k * 2 * (d + 1) / 1e3, "rows_kb": X.nbytes / 1e3,
        "alone_max_other": alone["max_other"], "each": there["each"], "alone_each": alone["each"],
    }  # fmt: skip


def peers(options: argparse.Namespace, recorder: Recorder, path: Path, init: Path) -> dict[str, Any]:
    """Whole fits, one library after the other, in turns."""
    words = [str(path), str(init), str(options.iterations)]
    pythons = {"gpuclust": options.python, "scikit-learn": options.python}
    pythons |= {"dask-ml": options.dask_ml} if options.dask_ml else {}
    runs: dict[str, list[Measure]] = {name: [] for name in pythons}
    found: dict[str, Any] = {}
    for _ in range(options.repeats):
        for name, python in pythons.items():
            wait_quiet(options.patience)
            done = subprocess.run([python, "-P", str(PEER), name, *words], capture_output=True, text=True)
            if done.returncode:
                found[name] = {"failed": done.stderr[-1500:]}
                continue
            told = json.loads(done.stdout.splitlines()[-1])
            runs[name].append(Measure(told["seconds"], 0.0, None, False, None))
            found[name] = {key: told[key] for key in ("inertia", "n_iter", "version")}
    for name, row in found.items():
        row |= {"part": "peers", "library": name} | (summarise(runs[name]) if runs[name] else {})
        recorder.add(row)
        print(row, flush=True)
    return found


def main() -> None:
    """Run the benchmark."""
    made = parser("distributed", __doc__)
    made.add_argument("-n", type=int, default=1_000_000)
    made.add_argument("-d", type=int, default=32)
    made.add_argument("-k", type=int, default=64)
    made.add_argument("--iterations", type=int, default=23)
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--dask-ml", help="interpreter of an environment with dask-ml")
    options = made.parse_args()
    options.python = sys.executable
    n = 20_000 if options.quick else options.n
    sizes = {"n": n, "d": options.d, "k": options.k}
    cluster_versions = {name: version(name) for name in ("dask", "distributed")}
    recorder = Recorder(
        options, **sizes, iterations=options.iterations, repeats=options.repeats, cluster=cluster_versions
    )
    begin = time.perf_counter()
    with scratch(options) as folder:
        path, init_path = folder / "X.npy", folder / "init.npy"
        data.write_mixture(path, n, options.d, options.k)
        init = data.initial_centres(np.load(path), options.k)
        np.save(init_path, init)
        every = cases(options, folder, path, init)
        rows = compare(options, recorder, every)
        ways(options, recorder, every[-1])
        found = peers(options, recorder, path, init_path)
    walls = {name: row["wall"] for name, row in found.items() if "wall" in row}
    ratio = walls["dask-ml"] / walls["gpuclust"] if {"dask-ml", "gpuclust"} <= set(walls) else None
    # rows of which an iteration alone takes ten times what workers add at eight shards: below, do not bother
    worthwhile = 10 * max(rows[0]["overhead_ms"], 0.0) / rows[0]["alone_ms"] * n
    met = rows[0]["overhead_ms"] < TARGET_MS and (ratio is None or ratio >= TARGET_RATIO)
    columns = ("k", "d", "shards", "alone_ms", "workers_ms", "overhead_ms", "wire_kb", "statistics_kb", "rows_kb")
    print("\n" + markdown(columns, ([row[c] for c in columns] for row in rows)))
    summary = {"seconds": walls, "dask_ml_ratio": ratio, "worthwhile_rows": worthwhile, "met": met}
    recorder.finish(summary | {"took": time.perf_counter() - begin})


if __name__ == "__main__":
    main()
