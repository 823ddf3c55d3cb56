"""What the workers of one service know of each other: which model each of them serves."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

PATIENCE: Final = 15.0  # seconds for all workers to serve a new model


@dataclass(frozen=True)
class Crew:
    """One of several workers under a supervisor."""

    folder: str  # of the run, for a file from each worker
    size: int
    supervisor: int  # its process

    def tell(self, digest: str) -> None:
        """Say which model this worker serves."""
        place = Path(self.folder, f"worker-{os.getpid()}")
        part = place.with_suffix(".part")
        part.write_text(digest)
        part.replace(place)

    @property
    def orphaned(self) -> bool:
        """Whether the supervisor is no more."""
        return os.getppid() != self.supervisor

    @property
    def members(self) -> set[int]:
        """The workers' processes."""
        return {int(place.name.removeprefix("worker-")) for place in self._places()}

    @property
    def first(self) -> bool:
        """Whether this is the one of all workers that speaks for them."""
        return min(self.members) == os.getpid()

    def call(self) -> None:
        """Have the supervisor tell all workers to reload."""
        os.kill(self.supervisor, signal.SIGHUP)

    async def agreed(self, digest: str) -> int:
        """How many workers serve this model: all of them, or those that do when patience is at its end."""
        end = time.monotonic() + PATIENCE
        while (count := self._count(digest)) < self.size and time.monotonic() < end:
            await asyncio.sleep(0.02)
        return min(count, self.size)

    def _count(self, digest: str) -> int:
        return sum(_read(place) == digest for place in self._places())

    def _places(self) -> Iterator[Path]:
        return Path(self.folder).glob("worker-*[0-9]")

    def forget(self, pid: int) -> None:
        """A worker is no more."""
        with contextlib.suppress(OSError):
            os.unlink(Path(self.folder, f"worker-{pid}"))


def _read(place: Path) -> str:
    try:
        return place.read_text()
    except OSError:
        return ""
