"""What every result file carries (date, machine, versions, command, commit), and where it is written."""

from __future__ import annotations

import argparse
import datetime
import json
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from .peers import PEERS, versions

RESULTS = Path(__file__).parent / "results"
THREADS = ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def _read(path: str, field: str) -> str | None:
    try:
        with open(path) as lines:
            for line in lines:
                if line.startswith(field):
                    return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return None


def _run(*command: str) -> str | None:
    if shutil.which(command[0]) is None:
        return None
    done = subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parent)
    return done.stdout.strip() if done.returncode == 0 else None


def machine() -> dict[str, Any]:
    """Describe the machine."""
    memory = _read("/proc/meminfo", "MemTotal")
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "cpu": _read("/proc/cpuinfo", "model name") or platform.processor(),
        "cores": cores,
        "ram_gb": None if memory is None else round(int(memory.split()[0]) / 2**20, 1),
        "os": platform.platform(),
        "gpu": _run("nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"),
        "threads": {name: os.environ[name] for name in THREADS if name in os.environ},
    }


PRIVATE = {"--data": "$GPUCLUST_BENCH_DATA", "--out": "FILE", "--scratch": "FOLDER", "--dask-ml": "PYTHON"}


def command_line(options: argparse.Namespace) -> str:
    """Return the command without the names of this machine's folders."""
    words: list[str] = []
    for word in sys.argv[1:]:
        name = word.split("=", 1)[0]
        if words and words[-1] in PRIVATE:
            words.append(PRIVATE[words[-1]])
        else:
            words.append(f"{name}={PRIVATE[name]}" if name in PRIVATE and "=" in word else word)
    return " ".join(["python", "-m", f"benchmarks.{options.benchmark}", *words])


def environment(options: argparse.Namespace) -> dict[str, Any]:
    """Return everything that a reader needs to repeat the run."""
    changed = _run("git", "status", "--porcelain", "--untracked-files=no")
    return {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": machine(),
        "python": platform.python_version(),
        "versions": versions(list(PEERS)),
        "command": command_line(options),
        "commit": _run("git", "rev-parse", "HEAD"),
        "modified": bool(changed),
    }


class Recorder:
    """Collects rows and rewrites the result file after each, so that an interrupted run keeps what it has."""

    def __init__(self, options: argparse.Namespace, **settings: Any) -> None:
        folder = RESULTS / "quick" if options.quick else RESULTS
        name = f"{options.benchmark}{settings.pop('suffix', '')}-{options.device.split(':')[0]}.json"
        self.path = Path(options.out) if options.out else folder / name
        self.content: dict[str, Any] = {
            "benchmark": options.benchmark,
            "device": options.device,
            "quick": options.quick,
            "environment": environment(options),
            "settings": settings,
            "rows": [],
            "summary": {},
        }

    def add(self, row: dict[str, Any]) -> None:
        """Append a row and write the file."""
        self.content["rows"].append(row)
        self.write()

    def finish(self, summary: dict[str, Any]) -> None:
        """Store the summary and write the file."""
        self.content["summary"] = summary
        self.write()
        print(f"written: {os.path.relpath(self.path)}")

    def write(self) -> None:
        """Write the file, whole or not at all."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        temporary = self.path.with_suffix(".part")
        temporary.write_text(json.dumps(_rounded(self.content), indent=1) + "\n")
        temporary.replace(self.path)


def _rounded(value: Any) -> Any:
    """Return the value with times shortened; inertias keep all digits because they are compared to 1e-6."""
    if isinstance(value, dict):
        return {k: v if k.startswith(("inertia", "potential")) else _rounded(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [_rounded(v) for v in value]
    if hasattr(value, "item"):
        value = value.item()
    if isinstance(value, float):
        return None if value != value else float(f"{value:.5g}")
    return value


def parser(benchmark: str, description: str | None) -> argparse.ArgumentParser:
    """Return a parser with the options that every benchmark has."""
    made = argparse.ArgumentParser(prog=f"python -m benchmarks.{benchmark}", description=description)
    made.set_defaults(benchmark=benchmark)
    made.add_argument("--device", default="cpu", help="cpu, cuda or cuda:N (for ours and for fastkmeans)")
    made.add_argument("--quick", action="store_true", help="tiny sizes, to see that the harness works")
    made.add_argument("--out", help="result file (default: benchmarks/results/<name>-<device>.json)")
    made.add_argument("--data", help="folder of the real sets (default: $GPUCLUST_BENCH_DATA)")
    made.add_argument("--scratch", help="folder for temporary files (default: the system's)")
    made.add_argument("--patience", type=float, default=10.0, help="seconds to wait for quiet per repeat")
    return made


@contextmanager
def scratch(options: argparse.Namespace) -> Iterator[Path]:
    """Yield a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="gpuclust-bench-", dir=options.scratch) as folder:
        yield Path(folder)
