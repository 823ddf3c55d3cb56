"""The version, in one place: the build reads it from here without importing the package."""

from __future__ import annotations

from collections.abc import Iterable

__version__ = "0.1.0"


def versions(packages: Iterable[str]) -> dict[str, str | None]:
    """Installed versions, found without importing anything; None where a package is missing."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # or run from a source tree
            found[package] = __version__ if package == "gpuclust" else None
    return found
