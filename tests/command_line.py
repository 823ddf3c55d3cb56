"""The command line, called in this process."""

from pathlib import Path

from typer.testing import CliRunner

from gpuclust.cli.app import app


def call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def succeed(*arguments):
    result = call(*arguments)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result


def refuse(code, message, *arguments):
    """Assert that a call fails with this code and one sentence, and leaves no file behind."""
    before = sorted(Path().rglob("*"))
    result = call(*arguments)
    assert result.exit_code == code, result.output + repr(result.exception)
    told = [line for line in result.output.splitlines() if line.startswith("gpuclust: error: ")]
    assert len(told) == 1 and message in told[0], result.output
    assert "Traceback" not in result.output
    assert sorted(Path().rglob("*")) == before
    return told[0]
