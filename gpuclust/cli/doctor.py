"""`gpuclust doctor`: what this machine offers, whether its GPUs compute as they should, and what is missing."""

from __future__ import annotations

import importlib.util
import json
import os
import platform
from typing import Any

from gpuclust._version import versions
from gpuclust.cli.failures import DEVICE

CORE = ("gpuclust", "numpy", "scipy", "scikit-learn", "numba", "safetensors")
EXTRAS = {
    "files": (("pyarrow", "pandas"), "CSV and Parquet files"),
    "analysis": (("pandas", "matplotlib", "kneed", "jinja2"), "choosing k, profiles, plots and reports"),
    "cli": (("typer", "rich"), "this command line"),
}


def run(as_json: bool) -> None:
    """Print the findings; leave with 4 where a GPU is there but cannot be used, or computes wrongly."""
    import typer

    found = examine()
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show(found)
    wrong = any(device["problem"] for device in found["gpu"]["devices"])
    if wrong or (found["gpu"]["visible"] and not found["gpu"]["usable"]):
        raise typer.Exit(DEVICE)


def examine() -> dict[str, Any]:
    """Return all findings."""
    from gpuclust.backends.threads import thread_count

    packages = versions([*CORE, *(name for names, _ in EXTRAS.values() for name in names)])
    total, available = memory()
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": {"cores": cores(), "threads": thread_count()},
        "memory": {"total": total, "available": available},
        "gpu": gpu(),
        "packages": packages,
        "missing": missing(packages),
    }


def cores() -> int:
    """Return the cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory() -> tuple[int | None, int | None]:
    """Return the machine's total and available bytes, None where the system does not tell."""
    if importlib.util.find_spec("psutil"):
        import psutil

        now = psutil.virtual_memory()
        return now.total, now.available
    try:
        page = os.sysconf("SC_PAGE_SIZE")
        return page * os.sysconf("SC_PHYS_PAGES"), page * os.sysconf("SC_AVPHYS_PAGES")
    except (AttributeError, OSError, ValueError):
        return None, None


def gpu() -> dict[str, Any]:
    """Return what keeps the GPU from being used, or the devices that there are."""
    from gpuclust.backends.select import cuda_problem

    problem = cuda_problem(0)
    if problem is not None:
        return {"usable": False, "visible": problem.gpu_visible, "problem": problem.text, "devices": []}
    return {"usable": True, "visible": True, "problem": None, "devices": devices()}


def devices() -> list[dict[str, Any]]:
    """Return the CUDA devices as CuPy sees them, and what is wrong with what they compute."""
    import cupy

    from gpuclust.cli.selfcheck import check

    runtime, found = cupy.cuda.runtime, []
    for index in range(runtime.getDeviceCount()):
        properties = runtime.getDeviceProperties(index)
        with cupy.cuda.Device(index):
            free, total = runtime.memGetInfo()
        found.append(
            {
                "device": f"cuda:{index}",
                "name": properties["name"].decode(),
                "compute": f"{properties['major']}.{properties['minor']}",
                "memory": {"total": total, "available": free},
                "driver_cuda": runtime.driverGetVersion(),
                "runtime_cuda": runtime.runtimeGetVersion(),
                "cupy": cupy.__version__,
                "problem": check(f"cuda:{index}"),
            }
        )
    return found


def missing(packages: dict[str, str | None]) -> list[dict[str, str]]:
    """Return what is not installed, what it is for and the line that installs it."""
    return [
        {"package": name, "for": purpose, "install": f"pip install 'gpuclust[{extra}]'"}
        for extra, (names, purpose) in EXTRAS.items()
        for name in names
        if packages[name] is None
    ]


def show(found: dict[str, Any]) -> None:
    """Print the findings for reading."""
    total, available = found["memory"].values()
    lines = [
        ("python", f"{found['python']}, {found['platform']}"),
        ("cpu", f"{found['cpu']['cores']} cores, {found['cpu']['threads']} threads"),
        ("memory", f"{size(total)}, {size(available)} available"),
        *_gpu_lines(found["gpu"]),
        *((name, version or "not installed") for name, version in found["packages"].items()),
    ]
    for name, text in lines:
        print(f"{name:<13} {text}")
    for item in found["missing"]:
        print(f"missing: {item['package']}, for {item['for']}: {item['install']}")
    if not found["missing"]:
        print("nothing is missing for the CPU" if not found["gpu"]["usable"] else "nothing is missing")


def _gpu_lines(gpu: dict[str, Any]) -> list[tuple[str, str]]:
    if not gpu["usable"]:
        return [("gpu", f"{'visible, but not usable' if gpu['visible'] else 'none found'}: {gpu['problem']}")]
    return [
        (
            device["device"],
            f"{device['name']}, compute capability {device['compute']}, {size(device['memory']['total'])}, "
            f"{size(device['memory']['available'])} free, CuPy {device['cupy']}; "
            + (_unsound(device) if device["problem"] else "K-Means and K-Medians checked"),
        )
        for device in gpu["devices"]
    ]


def _unsound(device: dict[str, Any]) -> str:
    return f"DO NOT USE IT, {device['problem']}: take device='cpu', and report this with `gpuclust doctor --json`"


def size(count: int | None) -> str:
    """Return bytes in GB."""
    return "unknown" if count is None else f"{count / 1e9:.1f} GB"
