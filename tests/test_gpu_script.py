"""What ci/gpu.sh leaves of a run on a machine where things go wrong."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

CI = Path(__file__).parents[1] / "ci"
SUITE = '''
import sys, types
import pytest

pytestmark = pytest.mark.gpu
cupy = sys.modules["cupy"] = types.ModuleType("cupy")
broken = []
def synchronize():
    if broken:
        raise RuntimeError("cudaErrorIllegalAddress")
cupy.cuda = types.SimpleNamespace(runtime=types.SimpleNamespace(deviceSynchronize=synchronize))

def test_before(): pass
def test_breaks(): broken.append(1)
@pytest.mark.parametrize("number", range(3))
def test_after(number): assert not broken
def test_wrong(): assert 1 + 1 == 3
'''


@pytest.mark.skipif(not CI.is_dir(), reason="not in the repository")
def test_a_gpu_that_a_test_breaks_costs_that_test(tmp_path):
    (tmp_path / "test_suite.py").write_text(SUITE, encoding="utf-8")
    (tmp_path / "pytest.ini").write_text("[pytest]\nmarkers = gpu: on one\n", encoding="utf-8")
    out = tmp_path / "out.jsonl"
    environment = os.environ | {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "PYTEST_JSONL": str(out), "PYTHONPATH": str(CI)}
    for name in ("PYTEST_ADDOPTS", "PYTEST_XDIST_WORKER", "PYTEST_XDIST_AUTO_NUM_WORKERS"):
        environment.pop(name, None)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "xdist", "-p", "pytest_jsonl", "-n", "1", "--max-worker-restart", "9"],
        cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout + done.stderr
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    passed = {row["test"] for row in rows if row.get("outcome") == "passed"}
    assert {f"test_suite.py::test_{name}" for name in ("before", "after[0]", "after[1]", "after[2]")} <= passed
    failures = out.with_suffix(".failures.txt").read_text(encoding="utf-8")
    told = [line for line in failures.splitlines() if line.startswith("FAILED")]
    assert {line.split(":")[2].split()[0] for line in told} == {"test_breaks", "test_wrong"}
    assert "cudaErrorIllegalAddress" in told[0] and "assert 1 + 1 == 3" in failures
    assert rows[-1]["failed"] == len(told)
