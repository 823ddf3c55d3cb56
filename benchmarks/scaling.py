"""What an iteration on many GPUs would take, on paper: writes SCALING.md from the costs that `distributed` measured.

``python -m benchmarks.scaling`` after ``python -m benchmarks.distributed``.
"""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from .record import RESULTS
from .tables import markdown

N, D, K, WORKERS = 10**10, 128, 1024, 64
BLOCK, TRIALS = 1024, 2 + int(np.log(K))  # rows whose potentials are summed together, and trial centres of k-means++
BANDWIDTH, FLOPS = 4.8e12, 989e12  # an H200's data sheet: bytes/s of its memory, dense FP16 tensor FLOP/s

TEXT = """# {n:.0e} rows x {d}, k = {k}, on {workers} GPUs: an estimate on paper

Nothing here was run on {workers} machines, nor any Dask worker on a real GPU. What is measured is how a
cluster of two processes on one machine spends its time (`python -m benchmarks.distributed`, {date}, {cpu});
what is assumed says so.

{table}

* Rows are {rows_tb:.2f} TB in float32, {rows_gb:.0f} GB for each GPU: they fit cards of 141 GB and not those
  of 80. Their copy in half precision, {copy_gb:.0f} GB more, is kept only where it takes at most half of what is
  free: here it is made anew, piece by piece, in every iteration, that is, written and read once.
* At the rates of the data sheet these two take the least that they can; kernels reach less.
* Messages: a fold costs {fixed:.1f} ms and {rate:.2f} ms a megabyte that the workers send, by a straight line
  through the measured {points} sizes of statistics (from {least:.3g} to {most:.3g} kB, two workers, one
  machine: loopback, both ends on the same two cores). Each worker sends its exact sums, {sent:.2f} MB, since they
  take {depth} levels of float64 for so many normal values (2 in what was measured), to another one, up a tree whose
  root sends them to the client: {rounds} times one after the other, each taken to cost what a fold cost there. All to
  the client would be {all_sent:.0f} MB an iteration and {flat:.2f} s. The measured points lie up to {off:.1f} ms off
  the line: the seconds are a guess from few.
* **An iteration takes {total:.2f} s, {share:.0f} % of which is messages**: they grow with the logarithm of the number
  of workers, and the work on rows falls with that number. {limit}
* Seeding: k-means|| takes seven folds. k-means++ takes {k}, one a centre, and each of them sends 8 bytes for
  every {block} rows and each of its {trials} trial centres: {potentials:.0f} MB a fold, all of which reach the client:
  {seeding:.0f} s in all.
* Not in the estimate: loading the rows, a network slower than this machine's memory, workers that are slower
  than others, and what Dask needs for each shard (two workers took {shards:.0f} ms more with 64 than with 8).
"""


def levels(n: int, d: int) -> int:
    """Return the levels of the exact sums of n x d standard normal values: the least is about 1 / (n d), the most 7."""
    from gpuclust.backends.frame import grids

    low, high, least = (np.array([value]) for value in (-7.0, 7.0, 1 / (n * d)))
    mass = SimpleNamespace(value=lambda: float(n))
    scan: Any = SimpleNamespace(low=low, high=high, least=least, mass=mass, heaviest=1.0, lightest=1.0, rows=n)
    return len(grids(scan, np.float32))


def main() -> None:
    """Write the estimate."""
    result = json.loads((RESULTS / "distributed-cpu.json").read_text())
    rows = [row for row in result["rows"] if row["part"] == "growth"]
    sent, cost = (np.array([row[name] for row in rows]) for name in ("wire_kb", "overhead_ms"))
    rate, fixed = np.polyfit(sent / 1e3, cost, 1)
    by_shards = {row["shards"]: row["overhead_ms"] for row in result["rows"] if row["part"] == "overhead"}
    depth = levels(N, D)
    each = 8 * K * depth * (D + 1) / 1e6
    read, compute = 4 * N * D / WORKERS / BANDWIDTH, 2 * N * D * K / WORKERS / FLOPS
    rounds = int(np.ceil(np.log2(WORKERS))) + 1
    messages, flat = rounds * (fixed + rate * each) / 1e3, (fixed + rate * WORKERS * each) / 1e3
    passes = 2 * read  # float32 read; half precision written and read
    total = max(passes, compute) + messages
    table = markdown(["part of an iteration", "seconds", "how it is known"], [
        ["rows read, and their copy", passes, f"assumed: {BANDWIDTH / 1e12} TB/s, data sheet of an H200"],
        ["scores of all pairs", compute, f"assumed: {FLOPS / 1e12:.0f} TFLOP/s, the same; no bounds save any"],
        ["messages", messages, "measured cost a megabyte, times what the workers would send"],
        ["together", total, "the larger of the first two, and the messages"],
    ])  # fmt: skip
    limit = "Messages are the limit." if messages > total / 2 else "The GPUs are the limit."
    machine = result["environment"]["machine"]
    text = TEXT.format(
        n=N, d=D, k=K, workers=WORKERS, date=result["environment"]["date"][:10], cpu=machine["cpu"], table=table,
        rows_tb=4 * N * D / 1e12, rows_gb=4 * N * D / WORKERS / 1e9, fixed=fixed, rate=rate, points=len(rows),
        least=sent.min(), most=sent.max(), sent=each, all_sent=WORKERS * each, total=total,
        depth=depth, copy_gb=2 * N * D / WORKERS / 1e9, off=np.abs(fixed + rate * sent / 1e3 - cost).max(),
        shards=by_shards[64] - by_shards[8], share=100 * messages / total, limit=limit, rounds=rounds, flat=flat,
        block=BLOCK, trials=TRIALS, potentials=8 * N / BLOCK * TRIALS / 1e6,
        seeding=K * (read + (fixed + rate * 8 * N / BLOCK * TRIALS / 1e6) / 1e3),
    )  # fmt: skip
    (Path(__file__).parent / "SCALING.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
