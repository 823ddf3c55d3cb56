"""CPU kernels (Numba): compiled at first use, and kept on disk where a folder can be written."""

import logging
from typing import Any, Final

import numba
from numba.core import event

logger = logging.getLogger("gpuclust")


def _probe() -> None:
    pass


def _folder() -> str | None:
    """Where compiled kernels are kept: NUMBA_CACHE_DIR, beside the sources, or the user's cache; else None."""
    try:
        return str(numba.njit(cache=True)(_probe).stats.cache_path)
    except RuntimeError:  # none of them can be written; Numba would refuse every kernel that it is to keep
        return None
    except AttributeError:  # NUMBA_DISABLE_JIT: nothing is compiled
        return None


class Telling(event.Listener):  # type: ignore[misc]
    """Tells of the first parallel kernel that this process compiles: they take long, all others do not."""

    def __init__(self) -> None:
        self.told = False

    def on_start(self, compiling: Any) -> None:
        """Called by Numba before it compiles a function, anybody's: some have no module, others no options."""
        kernel = compiling.data["dispatcher"]
        ours = str(kernel.py_func.__module__).startswith(f"{__name__}.")
        if ours and not self.told and getattr(kernel, "targetoptions", {}).get("parallel"):
            self.told = True
            logger.warning("Compiling CPU kernels, which can take a minute or two; %s.", KEPT)

    def on_end(self, compiling: Any) -> None:
        """Called by Numba afterwards."""


FOLDER: Final = _folder()
CACHE: Final = FOLDER is not None
KEPT: Final = f"later processes find them in {FOLDER}" if CACHE else (
    "they are lost with this process, since no folder to keep them in can be written: set NUMBA_CACHE_DIR to one"
)  # fmt: skip
TELLING: Final = Telling()
event.register("numba:compile", TELLING)
