"""A file larger than the memory allowed: 4 GB with a budget of 500 MB, against the same fit in memory.

Three fresh processes, same initial centres, same fixed iterations: in memory (``np.load``), streamed from
the path, and the command line. The file is read once beforehand, so all runs find it in the page cache.
Rows per second count every iteration. Peak RSS is of the whole process, interpreter and libraries included.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import data
from .measure import status_mb, wait_quiet
from .record import Recorder, parser, scratch
from .tables import markdown
from .workers import Worker

TARGET_RSS_MB, TARGET_SHARE = 900.0, 0.5
COLUMNS = ("run", "seconds", "rows per second", "peak RSS MB", "n_iter", "inertia")


def prepare(
    path: str, init: str, iterations: int, device: str, memory: str | None, estimator: str
) -> Callable[..., Any]:
    """Warm up on a small file of the same kind; return the task that fits once."""
    import gpuclust

    centres = np.load(init)
    small = Path(init).with_name("small.npy")

    def fit(source: Any) -> Any:
        model = getattr(gpuclust, estimator)(
            len(centres), init=centres, n_init=1, max_iter=iterations, tol=0, device=device
        )
        with gpuclust.config_context(memory=memory):
            return model.fit(source)

    fit(str(small) if memory else np.load(small))
    X = str(path) if memory else np.load(path)
    warm_peak = status_mb("VmHWM") or 0.0  # measuring resets the peak

    def task() -> dict[str, Any]:
        start = time.perf_counter()
        model = fit(X)
        seconds = time.perf_counter() - start
        return {
            "seconds": seconds,
            "n_iter": model.n_iter_,
            "inertia": float(model.inertia_),
            "peak_mb": max(warm_peak, status_mb("VmHWM") or 0.0),
            "centres": np.asarray(model.cluster_centers_),
            "passes": getattr(model, "n_passes_", None),
        }

    return task


def write_files(folder: Path, n: int, d: int, k: int) -> tuple[Path, Path]:
    """Write the data, the initial centres and the warm-up file; bring the data into the page cache."""
    path, init = folder / "X.npy", folder / "init.npy"
    data.write_mixture(path, n, d, k)
    mapped = np.load(path, mmap_mode="r")
    np.save(init, data.initial_centres(np.asarray(mapped[: min(n, 100_000)]), k))
    np.save(folder / "small.npy", mapped[:20_000])
    os.sync()  # else the disk writes 4 GB while the first run is timed
    with open(path, "rb", buffering=0) as file:
        block = bytearray(16 << 20)
        while file.readinto(block):
            pass
    return path, init


def in_python(options: argparse.Namespace, path: Path, init: Path, memory: str | None) -> dict[str, Any]:
    """Fit in a fresh process."""
    worker = Worker(
        prepare,
        path=str(path),
        init=str(init),
        iterations=options.iterations,
        device=options.device,
        memory=memory,
        estimator=options.estimator,
    )
    result, measured = worker.call(patience=options.patience)
    worker.close()
    return {**result, "cpu": measured.cpu, "other": measured.other, "contended": measured.contended}


def in_command_line(options: argparse.Namespace, path: Path, folder: Path, k: int) -> dict[str, Any]:
    """Run ``gpuclust fit`` and watch its peak resident set."""
    words = ["fit", str(path), "-k", str(k), "--init", "random", "--n-init", "1", "--tol", "0"]
    words += ["--method", options.estimator.lower(), "--max-iter", str(options.iterations), "--device", options.device]
    words += ["--memory", options.memory, "--out", str(folder / "out")]
    wait_quiet(options.patience)
    start, peak = time.perf_counter(), 0.0
    with open(folder / "cli.log", "w+") as log:
        process = subprocess.Popen([sys.executable, "-m", "gpuclust", *words], stdout=log, stderr=log)
        while process.poll() is None:
            peak = max(peak, status_mb("VmHWM", process.pid) or 0.0)
            time.sleep(0.05)
        seconds = time.perf_counter() - start
        log.seek(0)
        failed = log.read()[-2000:] if process.returncode else None
    return {"seconds": seconds, "peak_mb": peak, "n_iter": options.iterations, "failed": failed}


def main() -> None:
    """Run the benchmark."""
    made = parser("outofcore", __doc__)
    made.add_argument("--gb", type=float, default=4.0, help="size of the file, 1e9 bytes")
    made.add_argument("--memory", default="500MB")
    made.add_argument("--estimator", choices=["KMeans", "KMedians"], default="KMeans")
    made.add_argument("-d", type=int, default=64)
    made.add_argument("-k", type=int, default=64)
    made.add_argument("--iterations", type=int, default=8)
    options = made.parse_args()
    gigabytes = 0.1 if options.quick else options.gb
    n = int(gigabytes * 1e9) // (4 * options.d)
    suffix = "" if options.estimator == "KMeans" else f"-{options.estimator.lower()}"
    settings = {"memory": options.memory, "estimator": options.estimator, "suffix": suffix}
    recorder = Recorder(options, n=n, d=options.d, k=options.k, **settings)
    rows: dict[str, dict[str, Any]] = {}
    with scratch(options) as folder:
        path, init = write_files(folder, n, options.d, options.k)
        print(f"{path.stat().st_size / 1e9:.2f} GB, {n:,} rows", flush=True)
        rows["in memory"] = in_python(options, path, init, None)
        rows["streamed"] = in_python(options, path, init, options.memory)
        rows["command line"] = in_command_line(options, path, folder, options.k)
        same = np.array_equal(*(rows[name].pop("centres") for name in ("in memory", "streamed")))
        for name, row in rows.items():
            row["run"], row["rows_per_second"] = name, n * row["n_iter"] / row["seconds"]
            recorder.add(row)
    recorder.finish({**summary(rows), "same_centres": same})


def summary(rows: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return and print the two figures that count."""
    fields = ("seconds", "rows_per_second", "peak_mb", "n_iter", "inertia")
    print("\n" + markdown(COLUMNS, ([name, *(row.get(f) for f in fields)] for name, row in rows.items())))
    share = rows["streamed"]["rows_per_second"] / rows["in memory"]["rows_per_second"]
    peak = max(rows["streamed"]["peak_mb"], rows["command line"]["peak_mb"])
    met = share >= TARGET_SHARE and peak < TARGET_RSS_MB and rows["command line"]["failed"] is None
    print(f"streamed / in memory {share:.2f} (target {TARGET_SHARE})")
    print(f"peak RSS {peak:.0f} MB (target under {TARGET_RSS_MB:.0f})")
    if failed := rows["command line"]["failed"]:
        print(f"the command line failed:\n{failed}")
    return {"share": share, "peak_mb": peak, "met": met}


if __name__ == "__main__":
    main()
