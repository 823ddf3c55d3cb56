"""Files appear under their name complete or not at all: written beside the target, flushed, renamed."""

from __future__ import annotations

import contextlib
import glob
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO


@contextlib.contextmanager
def atomic_write(path: str | os.PathLike[str]) -> Iterator[BinaryIO]:
    """Open a binary file that takes the name `path` when the block ends well, and vanishes otherwise."""
    target = Path(path)
    handle = open_temporary(target)
    try:
        yield handle
        flush(handle)
        rename(handle, target)
    except BaseException:  # also KeyboardInterrupt: nothing may stay behind
        discard(handle)
        raise


def open_temporary(target: Path) -> BinaryIO:
    """Open a hidden temporary file in the target's directory: the same file system, or no atomic rename."""
    return open(target.with_name(f".{target.name}.{secrets.token_hex(6)}.tmp"), "x+b")


def flush(handle: BinaryIO) -> None:
    """Force the bytes to the disk and close: a rename before that could survive a power cut without them."""
    handle.flush()
    os.fsync(handle.fileno())
    handle.close()


def rename(handle: BinaryIO, target: Path) -> None:
    """Give a flushed temporary file its name, and make the name durable."""
    os.replace(handle.name, target)
    if os.name != "nt":  # directories cannot be opened there
        number = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(number)
        finally:
            os.close(number)


def discard(handle: BinaryIO) -> None:
    """Close and remove a temporary file; a second failure must not hide the first one."""
    with contextlib.suppress(OSError):
        handle.close()
    with contextlib.suppress(OSError):
        os.unlink(handle.name)


def remove(path: str | os.PathLike[str]) -> None:
    """Remove a file, and what writers of it that were killed left behind."""
    target = Path(path)
    for name in (target, *target.parent.glob(f".{glob.escape(target.name)}.*.tmp")):
        name.unlink(missing_ok=True)
