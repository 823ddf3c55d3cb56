"""Read a safetensors file, and say what is wrong with one that cannot be read; the checksum of what it holds."""

from __future__ import annotations

import hashlib
import json
import os
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from gpuclust.errors import ModelFileError

if TYPE_CHECKING:
    from numpy.typing import NDArray

PREFIX = 8  # a safetensors file begins with the length of its JSON header, little-endian
LARGEST_HEADER = 100_000_000  # safetensors' own limit


def digest(header: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> str:
    """SHA-256 over the metadata (but the checksum itself) and each tensor's name, dtype, shape and bytes."""
    rest = {key: value for key, value in header.items() if key != "sha256"}
    return text_digest(json.dumps(rest, sort_keys=True, allow_nan=False), tensors)


def text_digest(text: str, tensors: dict[str, NDArray[Any]]) -> str:
    """The same over metadata as they are written."""
    total = hashlib.sha256(text.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        total.update(f"\0{name} {tensor.dtype.str} {tensor.shape}\0".encode())
        total.update(tensor.tobytes())
    return total.hexdigest()


def read_container(
    path: str | os.PathLike[str], kind: str = "model file"
) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Return the metadata and the tensors of a safetensors file; `kind`: what it is to be.

    The header is read first and checked against the file's size, so that a damaged file is refused before
    memory is taken for it, and so that the reason can be named.
    """
    with open(path, "rb") as handle:
        size = os.fstat(handle.fileno()).st_size
        header = _read_header(handle, size, os.fspath(path), kind)
        _check_size(header, size - handle.tell(), os.fspath(path))
        metadata = _metadata(header, os.fspath(path))
        handle.seek(0)
        return metadata, _read_tensors(handle.read(), os.fspath(path))


def _read_header(handle: BinaryIO, size: int, name: str, kind: str) -> dict[str, Any]:
    start = handle.read(PREFIX + 1)
    if not start:
        raise ModelFileError(f"{name} is empty.")
    length = int.from_bytes(start[:PREFIX], "little")
    if len(start) <= PREFIX or start[PREFIX:] != b"{" or length > LARGEST_HEADER:
        raise ModelFileError(f"{name} is not a gpuclust {kind}.")
    if PREFIX + length > size:
        _truncated(name, PREFIX + length, size)
    handle.seek(PREFIX)
    try:
        header = json.loads(handle.read(length))
    except (ValueError, RecursionError):
        raise ModelFileError(f"{name} is damaged: its header is not valid JSON.") from None
    if not isinstance(header, dict):
        raise ModelFileError(f"{name} is damaged: its header is not a JSON object.")
    return header


def _check_size(header: dict[str, Any], found: int, name: str) -> None:
    """Compare the bytes after the header with where the last tensor ends."""
    ends = [0]
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        offsets = entry.get("data_offsets") if isinstance(entry, dict) else None
        if not (
            isinstance(offsets, list)
            and len(offsets) == 2
            and all(type(at) is int and at >= 0 for at in offsets)
        ):
            raise ModelFileError(f"{name} is damaged: the header does not say where tensor {key!r} lies.")
        ends.append(offsets[1])
    if max(ends) > found:
        _truncated(name, max(ends), found)


def _truncated(name: str, expected: int, found: int) -> NoReturn:
    raise ModelFileError(f"{name} is truncated: {found:,} bytes where {expected:,} are expected.")


def _read_tensors(data: bytes, name: str) -> dict[str, NDArray[Any]]:
    import numpy as np
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        # copies: load returns read-only views of the bytes
        return {key: np.array(tensor) for key, tensor in load(data).items()}
    except (SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ModelFileError(f"{name} is damaged: {error}") from None


def _metadata(header: dict[str, Any], name: str) -> dict[str, str]:
    metadata = header.get("__metadata__", {})
    if not isinstance(metadata, dict) or not all(isinstance(value, str) for value in metadata.values()):
        raise ModelFileError(f"{name} is damaged: its metadata is not a table of strings.")
    return metadata
