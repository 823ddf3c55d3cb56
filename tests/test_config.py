"""Device and memory settings: units, blocks, threads."""

from __future__ import annotations

import threading

import pytest

import gpuclust
from gpuclust.config import Config, parse_size


@pytest.fixture(autouse=True)
def settings():
    """Leave the settings of the process as they were."""
    before = gpuclust.get_config()
    yield
    assert gpuclust.get_config() == before


@pytest.mark.parametrize(
    ("text", "size"),
    [
        (1, 1), (123456789, 123456789), ("500", 500), ("500B", 500), ("1kB", 1000), ("1 KiB", 1024), ("500MB", 500_000_000),
        ("500mb", 500_000_000), (" 2GB ", 2 * 10**9), ("2GiB", 2**31), ("0.5GB", 5 * 10**8), ("1.5K", 1500),
        ("3T", 3 * 10**12), ("1TiB", 2**40), ("64Mi", 64 << 20),
    ],
)  # fmt: skip
def test_sizes(text, size):
    assert parse_size(text) == size
    with gpuclust.config_context(memory=text):
        assert gpuclust.get_config().memory == size


@pytest.mark.parametrize("text", ["", "MB", "-5MB", "5XB", "1e9", "5 5", "five", "1,5GB", "5MBB", "0x10", "GiB5"])
def test_text_that_is_no_size(text):
    with pytest.raises(ValueError, match="is not a size; write bytes or text such as '500MB'"):
        parse_size(text)


@pytest.mark.parametrize("size", [0, -1, "0", "0MB", "0.0001K"])
def test_sizes_must_be_positive(size):
    with pytest.raises(ValueError, match="must be positive"), gpuclust.config_context(memory=size):
        raise AssertionError


def test_defaults():
    assert gpuclust.get_config() == Config(device="auto", memory=None)


def test_blocks_nest_and_end():
    with gpuclust.config_context(device="cpu", memory="1GB"):
        assert gpuclust.get_config() == Config("cpu", 10**9)
        with gpuclust.config_context(memory=5):
            assert gpuclust.get_config() == Config("cpu", 5)
        with gpuclust.config_context(device="cuda"):
            assert gpuclust.get_config() == Config("cuda", 10**9)
        assert gpuclust.get_config() == Config("cpu", 10**9)


def test_a_block_ends_on_an_error():
    with pytest.raises(ZeroDivisionError), gpuclust.config_context(device="cpu"):
        raise ZeroDivisionError
    assert gpuclust.get_config().device == "auto"


def test_a_block_belongs_to_its_thread():
    inside, done, seen = threading.Event(), threading.Event(), []

    def other():
        inside.wait(5)
        seen.append(gpuclust.get_config().memory)
        done.set()

    thread = threading.Thread(target=other)
    thread.start()
    with gpuclust.config_context(memory=7):
        inside.set()
        done.wait(5)
    thread.join()
    assert seen == [None]


def run_apart(code):
    """Return what a new process prints: `set_config` must not outlive a test."""
    import subprocess
    import sys

    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()


def test_set_config():
    code = """
import gpuclust
gpuclust.set_config(device="cpu", memory="1kB")
print(gpuclust.get_config().device, gpuclust.get_config().memory)
gpuclust.set_config(memory=5)
with gpuclust.config_context(memory=9): pass
print(gpuclust.get_config().device, gpuclust.get_config().memory)
"""
    assert run_apart(code) == ["cpu", "1000", "cpu", "5"]


def test_set_config_holds_for_the_process():
    """Threads that start later see it too."""
    code = """
import gpuclust, threading
gpuclust.set_config(memory=5)
thread = threading.Thread(target=lambda: print(gpuclust.get_config().memory))
thread.start(); thread.join()
"""
    assert run_apart(code) == ["5"]
