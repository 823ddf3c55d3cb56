"""The files of one run: all of them appear, complete, or none does."""

from __future__ import annotations

import csv
import importlib.util
import io
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from gpuclust.cli.failures import OutputProblem, sentence
from gpuclust.files.atomic import discard, flush, open_temporary, rename


class Outputs:
    """Temporary files in the target directory; the end of the block gives them their names.

    Entering checks that the directory can be written to: better before an hour of work than after it.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.created: list[Path] = []  # directories to take back on failure, innermost first
        self.pending: list[tuple[BinaryIO, Path]] = []

    def __enter__(self) -> Self:
        try:
            missing = [path for path in (self.directory, *self.directory.parents) if not path.exists()]
            self.directory.mkdir(parents=True, exist_ok=True)
            self.created = missing
            discard(open_temporary(self.directory / "probe"))
        except OSError as error:
            self._abandon()
            raise self._problem(error) from error
        return self

    def write(self, name: str, writer: Callable[[BinaryIO], object]) -> Path:
        """Write one file under a temporary name; return the name it will have."""
        target = self.directory / name
        try:
            handle = open_temporary(target)
            self.pending.append((handle, target))
            writer(handle)
            flush(handle)
        except OSError as error:
            raise self._problem(error) from error
        return target

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._abandon()
            return
        try:
            for handle, target in self.pending:
                rename(handle, target)
        except BaseException as failure:
            self._abandon()
            if isinstance(failure, OSError):
                raise self._problem(failure) from failure
            raise

    def _abandon(self) -> None:
        for handle, _ in self.pending:
            discard(handle)
        for path in self.created:
            try:
                path.rmdir()
            except OSError:  # not empty: somebody else's file, or one that was renamed already
                break

    def _problem(self, error: OSError) -> OutputProblem:
        reason = error.strerror or sentence(error)
        return OutputProblem(
            f"cannot write to {os.fspath(self.directory)!r}: {reason}; choose another place with --out"
        )


def labels_suffix() -> str:
    """Return .parquet, or .npy where pyarrow is missing."""
    return ".parquet" if importlib.util.find_spec("pyarrow") else ".npy"


def labels_writer(labels: Any, suffix: str) -> Callable[[BinaryIO], object]:
    """Return a function that writes one int32 label per row, in the order of the data."""

    def parquet(handle: BinaryIO) -> None:
        import pyarrow
        import pyarrow.parquet

        pyarrow.parquet.write_table(pyarrow.table({"label": pyarrow.array(labels)}), handle)

    def npy(handle: BinaryIO) -> None:
        import numpy as np

        np.save(handle, labels, allow_pickle=False)

    def text(handle: BinaryIO) -> None:
        import numpy as np

        np.savetxt(handle, labels, fmt="%d", header="label", comments="")

    return {".parquet": parquet, ".npy": npy, ".csv": text}[suffix]


def centers_writer(centers: Any, columns: Sequence[str]) -> Callable[[BinaryIO], object]:
    """Return a function that writes the centers as CSV, in the fewest digits that read back the same."""

    def write(handle: BinaryIO) -> None:
        text = io.TextIOWrapper(handle, encoding="utf-8", newline="", write_through=True)
        rows = csv.writer(text)
        rows.writerow(["cluster", *columns])
        rows.writerows([cluster, *(str(value) for value in center)] for cluster, center in enumerate(centers))
        text.detach()

    return write


def json_writer(content: dict[str, Any]) -> Callable[[BinaryIO], object]:
    """Return a function that writes indented JSON."""
    data = json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False).encode() + b"\n"
    return lambda handle: handle.write(data)
