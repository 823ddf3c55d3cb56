"""The command line. Nothing heavy is imported before a command needs it: `--help` must answer at once."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the `gpuclust` command."""
    try:
        from gpuclust.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich"}:
            raise
        sys.exit("gpuclust: error: the command line needs typer and rich: run pip install 'gpuclust[cli]'")
    app(prog_name="gpuclust")
