"""Wall time, CPU time, peak extra memory and the others' load during a call (Linux; elsewhere time only)."""

from __future__ import annotations

import ctypes
import gc
import os
import resource
import statistics
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

TICK = os.sysconf("SC_CLK_TCK") if hasattr(os, "sysconf") else 100
QUIET = 0.10  # a repeat is contended when others used more than this share of one core ...
COARSE = 0.02  # ... plus two ticks of /proc/stat, which counts in hundredths of a second


class Measure(NamedTuple):
    """One measured call."""

    wall: float  # seconds
    cpu: float  # own CPU seconds, all threads
    other: float | None  # cores used by other processes (hypervisor steal included)
    contended: bool
    extra_mb: float | None  # peak resident set during the call minus the one just before it


def machine_busy() -> float | None:
    """Return the machine's busy CPU seconds so far (user, nice, system, irq, softirq, steal)."""
    try:
        with open("/proc/stat") as stat:
            f = [int(v) for v in stat.readline().split()[1:9]]
    except OSError:
        return None
    return (f[0] + f[1] + f[2] + f[5] + f[6] + f[7]) / TICK


def own_cpu() -> float:
    """Return this process's CPU seconds."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return usage.ru_utime + usage.ru_stime


def children_cpu() -> float:
    """Return the CPU seconds of the finished child processes."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def status_mb(field: str, pid: int | str = "self") -> float | None:
    """Return a memory field (VmRSS, VmHWM) of /proc/<pid>/status in MB."""
    try:
        with open(f"/proc/{pid}/status") as status:
            for line in status:
                if line.startswith(field + ":"):
                    return int(line.split()[1]) / 1024
    except (OSError, ProcessLookupError):
        pass
    return None


def reset_peak() -> float | None:
    """Give freed memory back, reset VmHWM, and return the present resident set in MB."""
    gc.collect()
    try:
        ctypes.CDLL(None).malloc_trim(0)
        with open("/proc/self/clear_refs", "w") as refs:
            refs.write("5")
    except (OSError, AttributeError):
        return None
    return status_mb("VmRSS")


def measure(call: Callable[[], Any]) -> tuple[Any, Measure]:
    """Run a call once and measure it."""
    before = reset_peak()
    busy, cpu, wall = machine_busy(), own_cpu(), time.perf_counter()
    value = call()
    wall, cpu = time.perf_counter() - wall, own_cpu() - cpu
    after, peak = machine_busy(), status_mb("VmHWM")
    other = None if busy is None or after is None else max(0.0, after - busy - cpu)
    contended = other is not None and other > QUIET * wall + COARSE
    extra = None if before is None or peak is None else max(0.0, peak - before)
    return value, Measure(wall, cpu, None if other is None else other / wall, contended, extra)


def wait_quiet(limit: float) -> None:
    """Wait until the other processes use less than a tenth of a core, at most ``limit`` seconds."""
    end = time.perf_counter() + limit
    while time.perf_counter() < end:
        busy, start = machine_busy(), time.perf_counter()
        if busy is None:
            return
        time.sleep(0.25)
        load = ((machine_busy() or 0.0) - busy) / (time.perf_counter() - start)
        if load < QUIET:
            return


def summarise(runs: Sequence[Measure]) -> dict[str, Any]:
    """Return medians over the clean repeats (over all of them, and marked, when none was clean)."""
    clean = [run for run in runs if not run.contended]
    used = clean or list(runs)
    others = [run.other for run in runs if run.other is not None]
    extras = [run.extra_mb for run in runs if run.extra_mb is not None]
    return {
        "wall": statistics.median(run.wall for run in used),
        "cpu": statistics.median(run.cpu for run in used),
        "walls": [round(run.wall, 5) for run in runs],
        "repeats": len(runs),
        "clean_repeats": len(clean),
        "contended": not clean,
        "max_other": max(others) if others else None,
        "extra_mb": max(extras) if extras else None,
    }
