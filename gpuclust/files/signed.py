"""A JSON header and tensors in one safetensors file, with a checksum over both."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from ..errors import ModelFileError
from .atomic import atomic_write
from .container import digest, read_container

if TYPE_CHECKING:
    from numpy.typing import NDArray


def write_signed(
    path: str | os.PathLike[str], key: str, header: dict[str, Any], tensors: dict[str, NDArray[Any]]
) -> None:
    """Write the file in one step; `key` is the header's name among the metadata."""
    from safetensors.numpy import save

    header = header | {"sha256": digest(header, tensors)}
    with atomic_write(path) as handle:
        handle.write(save(tensors, {key: json.dumps(header, allow_nan=False)}))


def read_signed(
    path: str | os.PathLike[str], key: str, kind: str, version: int
) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return the header and the tensors of a file that `write_signed` wrote.

    Raises
    ------
    ModelFileError
        If the file is not of this `kind` and format `version`, or not as it was written.
    """
    name = os.fspath(path)
    metadata, tensors = read_container(path, kind)
    try:
        header = json.loads(metadata[key])
        intact = header["sha256"] == digest(header, tensors)
    except KeyError:
        raise ModelFileError(f"{name} is not a gpuclust {kind}.") from None
    except (ValueError, TypeError, RecursionError):
        intact = False
    if not intact:
        raise ModelFileError(f"{name} is damaged: its checksum does not match its contents.")
    if header.get("format_version") != version:
        raise ModelFileError(
            f"{name} has format {header.get('format_version')!r}; this version of gpuclust reads format {version}."
        )
    return header, tensors
