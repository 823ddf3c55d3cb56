"""Why CUDA cannot be used on this machine, and the line that mends it."""

from __future__ import annotations

import ctypes
import os
import re
import sys
from typing import Any, NamedTuple

OLDEST_DRIVER = 12000  # as the driver counts: 1000 * major + 10 * minor
OLDEST_GPU = 75  # compute capability times ten
OLDEST_CUPY = "14.0.1"
NO_DEVICE = 100  # cudaErrorNoDevice


class Problem(NamedTuple):
    text: str
    gpu_visible: bool


def device_count() -> int:
    """How many CUDA devices answer; 0 where none does, for whatever reason."""
    try:
        import cupy

        return int(cupy.cuda.runtime.getDeviceCount())
    except Exception:  # `diagnose` tells why
        return 0


def diagnose(index: int) -> Problem | None:
    """What keeps CUDA device `index` from being used; None where nothing does."""
    driver = driver_version()
    try:
        import cupy
    except ImportError as error:
        return Problem(_no_cupy(error, driver), driver_present())
    try:
        count = cupy.cuda.runtime.getDeviceCount()
    except Exception as error:  # CuPy raises its own types, which differ between versions
        if getattr(error, "status", None) == NO_DEVICE:
            return Problem("the CUDA driver shows no device; is CUDA_VISIBLE_DEVICES empty?", gpu_visible=False)
        return Problem(_no_answer(cupy, error, driver), driver_present())
    if _release(cupy.__version__) < _release(OLDEST_CUPY):
        text = f"CuPy {cupy.__version__} is installed, and {OLDEST_CUPY} or newer is needed; {_replace(driver)}."
        return Problem(text, gpu_visible=count > 0)
    if index >= count:
        return Problem(f"there are {count} CUDA devices, numbered from 0.", gpu_visible=count > 0)
    own = int(cupy.cuda.Device(index).compute_capability)
    if own < OLDEST_GPU:
        text = f"its compute capability, {own / 10}, is below {OLDEST_GPU / 10}: it is too old."
        return Problem(text, gpu_visible=True)
    try:
        cupy.cuda.nvrtc.getVersion()
    except Exception as error:
        return Problem(
            f"NVRTC, which compiles the kernels, cannot be loaded ({error}); {install(driver)}.", gpu_visible=True
        )
    return _trial(cupy, index, driver)


def _trial(cupy: Any, index: int, driver: int | None) -> Problem | None:
    """What a first kernel of CuPy's own comes to: it needs CUDA's headers, a context, and some memory."""
    try:
        with cupy.cuda.Device(index):
            cupy.arange(1)
    except Exception as error:  # CuPy's own types, and those of the compiler
        text = str(error).strip()
        if "headers" in text or "cannot open source file" in text:
            text = f"CuPy does not find CUDA's headers; {install(driver)}, which brings them."
        else:
            text = f"a first kernel fails on cuda:{index} ({type(error).__name__}: {text[:300]})."
        return Problem(text, gpu_visible=True)
    return None


def driver_present() -> bool:
    """Whether an NVIDIA driver shows a device."""
    return os.path.exists("/proc/driver/nvidia/version") or os.path.exists("/dev/nvidia0")


def driver_version() -> int | None:
    """The newest CUDA version that the installed driver runs, 1000 * major + 10 * minor; None without a driver."""
    try:
        library = ctypes.CDLL("nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1")
        version = ctypes.c_int(0)
        return version.value if library.cuDriverGetVersion(ctypes.byref(version)) == 0 else None
    except (OSError, AttributeError):
        return None


def install(driver: int | None) -> str:
    """The line that installs what fits the driver."""
    if driver is None:
        return "pip install 'gpuclust[cuda13]' (CUDA 13 drivers) or 'gpuclust[cuda12]' (CUDA 12 drivers)"
    return f"pip install 'gpuclust[cuda{min(driver // 1000, 13)}]'"


def _no_cupy(error: ImportError, driver: int | None) -> str:
    if driver is not None and driver < OLDEST_DRIVER:
        return f"the NVIDIA driver runs CUDA {_dotted(driver)} at most; update it to one for CUDA 12 or newer."
    if isinstance(error, ModuleNotFoundError) and error.name in ("cupy", None):
        return f"CuPy is not installed; {install(driver)}."
    return f"CuPy is installed but cannot be imported ({error}); {_replace(driver)}."


def _no_answer(cupy: Any, error: Exception, driver: int | None) -> str:
    if driver is None:
        return f"there is no NVIDIA driver that answers ({error}); install or update the NVIDIA driver."
    if driver < OLDEST_DRIVER:
        return f"the NVIDIA driver runs CUDA {_dotted(driver)} at most; update it to one for CUDA 12 or newer."
    built = _built_for(cupy)
    if built is not None and built // 1000 > driver // 1000:
        return (
            f"CuPy {cupy.__version__} is for CUDA {built // 1000} and the driver runs CUDA {_dotted(driver)} at most;"
            f" {_replace(driver)}, or update the NVIDIA driver."
        )
    return f"the CUDA driver does not answer ({error}); update the NVIDIA driver."


def _built_for(cupy: Any) -> int | None:
    """The CUDA version that CuPy brings."""
    try:
        return int(cupy.cuda.runtime.runtimeGetVersion())
    except Exception:
        return None


def _release(version: str) -> tuple[int, ...]:
    """The numbers of a version, without what comes after them: rc1, .dev0, +local."""
    found = re.match(r"\d+(\.\d+)*", version)
    return tuple(map(int, found[0].split("."))) if found else ()


def _replace(driver: int | None) -> str:
    return f"pip uninstall -y cupy cupy-cuda11x cupy-cuda12x cupy-cuda13x, then {install(driver)}"


def _dotted(version: int) -> str:
    return f"{version // 1000}.{version % 1000 // 10}"
