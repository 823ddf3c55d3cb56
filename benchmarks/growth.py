"""How the cost of an iteration grows with rows, features and clusters: steps of two, 10 fixed iterations.

``order`` is the slope of log(seconds) over log(size): 1 is linear; less than 1 in k is what pruning buys.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import data
from .measure import summarise
from .record import Recorder, parser, scratch
from .tables import markdown
from .workers import Worker

ITERATIONS = 10
BASE = {"n": 500_000, "d": 16, "k": 64}
STEPS = {"n": (250_000, 500_000, 1_000_000, 2_000_000), "d": (8, 16, 32, 64), "k": (32, 64, 128, 256)}
COLUMNS = ("varied", "n", "d", "k", "ms per iteration", "step", "ns per row", "contended")
LINEAR = 1.15  # an order above this is not called linear


def prepare(path: str, k: int, device: str) -> Callable[[], int]:
    """Load the data in the worker; return the task that fits once."""
    from gpuclust import KMeans

    X = np.load(path)
    init = data.initial_centres(X, k)
    model = KMeans(k, init=init, n_init=1, max_iter=ITERATIONS, tol=0, device=device)
    return lambda: int(model.fit(X).n_iter_)


def sizes(quick: bool) -> Iterator[tuple[str, dict[str, int]]]:
    """Yield the varied axis and the sizes."""
    for axis, values in STEPS.items():
        for value in values[:2] if quick else values:
            size = {**BASE, axis: value}
            if quick:
                size["n"] //= 50
            yield axis, size


def orders(rows: list[dict[str, Any]]) -> dict[str, float]:
    """Return the fitted exponent of each axis."""
    found = {}
    for axis in STEPS:
        points = [(row[axis], row["seconds"]) for row in rows if row["varied"] == axis]
        found[axis] = float(np.polyfit(*np.log(np.array(points)).T, 1)[0])
    return found


def main() -> None:
    """Run the benchmark."""
    made = parser("growth", __doc__)
    made.add_argument("--repeats", type=int, default=3)
    options = made.parse_args()
    recorder = Recorder(options, iterations=ITERATIONS, base=BASE)
    rows: list[dict[str, Any]] = []
    with scratch(options) as folder:
        for axis, size in sizes(options.quick):
            path = folder / "X.npy"
            data.write_mixture(path, **size)
            worker = Worker(prepare, path=str(path), k=size["k"], device=options.device)
            worker.call()
            runs = [worker.call(patience=options.patience) for _ in range(options.repeats)]
            worker.close()
            row = {"varied": axis, **size, **summarise([measured for _, measured in runs])}
            row["seconds"] = row["wall"] / runs[0][0]
            rows.append(row)
            recorder.add(row)
            print(axis, size, f"{1e3 * row['seconds']:.2f} ms per iteration", flush=True)
    found = orders(rows)
    print("\n" + table(rows))
    print("order: " + ", ".join(f"{axis} {order:.2f}" for axis, order in found.items()))
    recorder.finish({"order": found, "met": all(order <= LINEAR for order in found.values())})


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table with the factor of each step."""
    body, last = [], None
    for row in rows:
        step = row["seconds"] / last["seconds"] if last and last["varied"] == row["varied"] else None
        marks = [1e3 * row["seconds"], step, 1e9 * row["seconds"] / row["n"], row["contended"]]
        body.append([row["varied"], row["n"], row["d"], row["k"], *marks])
        last = row
    return markdown(COLUMNS, body)


if __name__ == "__main__":
    main()
