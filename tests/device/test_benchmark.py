"""The GPU benchmark runs, in sizes for the emulator."""

from __future__ import annotations

import json
import re
import sys


def test_every_measurement_is_made(machine, monkeypatch, tmp_path):
    from benchmarks import gpu

    out = tmp_path / "gpu.json"
    monkeypatch.setattr(sys, "argv", ["gpu", "--quick", "--cases", "B,S", "--peers", "cuvs", "--repeats", "1", "--out", str(out)])
    gpu.main()
    rows = json.loads(out.read_text())["rows"]
    ours = [row for row in rows if row.get("who") == "gpuclust"]
    assert [row["case"] for row in ours] == ["B", "S"]
    assert all(row["nearest"] == 1.0 and row["ms"] > 0 for row in ours)
    (peer,) = (row for row in rows if row.get("who") == "cuvs")  # not installed here
    assert "failed" in peer or peer["ms"] > 0
    told = {row["what"] for row in rows}
    assert {row["chosen"] for row in rows if row["what"] == "few centres"} == {True, False}
    assert told == {
        "iterations", "labels", "update of all rows", "greedy seeding and one iteration", "undecided by half precision",
        "of more than a few candidates",
        "labels and half precision of rows", "fit", "few centres", "upload", "stream",
    }  # fmt: skip


def test_every_rate_is_measured(machine, monkeypatch, tmp_path):
    """But for instructions that the emulator lacks."""
    from benchmarks import rates

    out, names = tmp_path / "rates.json", ["tile_float", "products", "read_once"]
    source = rates.source()
    first, last = source.index("struct Bytes"), source.index("// out [threads of the grid]")
    kept = re.sub(r'extern "C"[^}]*tile_(bytes|halves)[^}]*}', "", source[:first] + source[last:])
    monkeypatch.setattr(rates, "source", lambda: kept)
    monkeypatch.setattr(sys, "argv", ["rates", "--quick", "--kernels", ",".join(names), "--repeats", "1", "--out", str(out)])
    rates.main()
    rows = json.loads(out.read_text())["rows"]
    assert [row["what"] for row in rows] == names and all(row["per_second"] > 0 for row in rows)
