"""All benchmarks in order, each in a process of its own; results are written as they come.

``python -m benchmarks.run [--device cpu|cuda] [--quick] [--only kmeans-fixed,predict]``
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

JOBS: dict[str, list[str]] = {
    "kmeans-fixed": ["kmeans", "--mode", "fixed"],
    "kmeans-converge": ["kmeans", "--mode", "converge"],
    "seeding": ["seeding"],
    "predict": ["predict"],
    "growth": ["growth"],
    "outofcore": ["outofcore"],
    "coldstart": ["coldstart"],
    "quality": ["quality"],
    "kmedians": ["kmedians"],
    "metrics": ["metrics"],
    "selection": ["selection"],
    "drift": ["drift"],
    "serving": ["serving"],
    "serving-kill": ["serving", "--kill"],
    "serving-soak": ["serving", "--soak", "10"],
    "distributed": ["distributed"],
}
GPU_JOBS = {"rates": ["rates"], "gpu": ["gpu"], **JOBS}  # the shortest way to what only a GPU can tell first


def main() -> None:
    """Run the jobs; a failing one does not stop the others, but sets the exit status."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.run", description=__doc__)
    made.add_argument("--device", default="cpu")
    made.add_argument("--quick", action="store_true", help="tiny sizes, to see that the harness works")
    made.add_argument("--data", help="folder of the real sets (default: $GPUCLUST_BENCH_DATA)")
    made.add_argument("--scratch", help="folder for temporary files")
    made.add_argument("--only", help=f"default: {','.join(JOBS)}")
    options = made.parse_args()
    shared = ["--device", options.device]
    shared += ["--quick", "--patience", "0"] if options.quick else []
    shared += ["--data", options.data] if options.data else []
    shared += ["--scratch", options.scratch] if options.scratch else []
    failed, begin = [], time.perf_counter()
    jobs = JOBS if options.device == "cpu" else GPU_JOBS
    for name in options.only.split(",") if options.only else jobs:
        module, *words = jobs[name]
        print(f"\n== {name}", flush=True)
        start = time.perf_counter()
        status = subprocess.call([sys.executable, "-m", f"benchmarks.{module}", *words, *shared])
        print(f"== {name}: {time.perf_counter() - start:.0f} s, exit status {status}", flush=True)
        failed += [name] if status else []
    print(f"\ntotal {time.perf_counter() - begin:.0f} s; failed: {', '.join(failed) or 'none'}")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
