"""``predict``: rows per second, ours against scikit-learn's; models fitted by one iteration from one start.

One measurement repeats the call until it takes about a third of a second: shorter ones say little about the
load of the machine, which /proc/stat counts in hundredths of a second. "wrong": the share of rows whose label
is not the nearest of the model's own centres in float64.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from . import data, exact
from .measure import summarise
from .record import Recorder, parser, scratch
from .tables import geometric_mean, markdown
from .workers import Worker, WorkerError

OURS, THEIRS = "gpuclust", "sklearn"
TARGET = 2.0
SECONDS = 0.3  # per measurement
COLUMNS = ("case", "ours", "sklearn", "ratio", "wrong", "sklearn_wrong", "contended")


def prepare(library: str, path: str, k: int, device: str) -> Callable[..., Any]:
    """Load data and library in the worker and fit; return the task that predicts once."""
    X = np.load(path)
    init = data.initial_centres(X, k)
    if library == THEIRS:
        from sklearn.cluster import KMeans

        model = KMeans(k, init=init, n_init=1, max_iter=1, tol=0)
    else:
        from gpuclust import KMeans

        model = KMeans(k, init=init, n_init=1, max_iter=1, tol=0, device=device)
    model.fit(X)

    def task(times: int = 1) -> tuple[np.ndarray, np.ndarray]:
        for _ in range(times):
            labels = model.predict(X)
        return np.asarray(labels), np.asarray(model.cluster_centers_)

    return task


def contest(options: Any, case: data.Case, path: Any) -> dict[str, dict[str, Any]]:
    """Let both predict in turns."""
    X = np.load(path)
    found: dict[str, dict[str, Any]] = {}
    for library in options.libs.split(","):
        try:
            worker = Worker(prepare, library=library, path=str(path), k=case.k, device=options.device)
            _, warmup = worker.call()
            (labels, centres), once = worker.call()
        except WorkerError as error:
            print(f"{library} failed: {error.reason}")
            continue
        found[library] = {
            "case": case.name,
            "library": library,
            "warmup": warmup.wall,
            "worker": worker,
            "times": max(1, math.ceil(SECONDS / once.wall)),
            "wrong": float(np.mean(labels != exact.assign(X, centres)[0])),
            "runs": [],
        }
    for _ in range(options.repeats):
        for row in found.values():
            row["runs"].append(row["worker"].call(patience=options.patience, times=row["times"])[1])
    for row in found.values():
        row.pop("worker").close()
        row.update(summarise(row.pop("runs")))
        row["rows_per_second"] = case.n * row["times"] / row["wall"]
    return found


def compare(case: data.Case, found: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Return the ratio of the speeds."""
    if len(found) < 2:
        return None
    ours, theirs = found[OURS], found[THEIRS]
    return {
        "case": case.name,
        "ours": ours["rows_per_second"],
        "sklearn": theirs["rows_per_second"],
        "ratio": ours["rows_per_second"] / theirs["rows_per_second"],
        "wrong": ours["wrong"],
        "sklearn_wrong": theirs["wrong"],
        "contended": ours["contended"] or theirs["contended"],
    }


def main() -> None:
    """Run the benchmark."""
    made = parser("predict", __doc__)
    made.add_argument("--cases", help="e.g. A,B (default: all)")
    made.add_argument("--libs", default=f"{THEIRS},{OURS}")
    made.add_argument("--repeats", type=int, default=7)
    options = made.parse_args()
    recorder = Recorder(options, repeats=options.repeats)
    comparisons = []
    with scratch(options) as folder:
        for case, path in data.available(options, folder):
            found = contest(options, case, path)
            result = compare(case, found)
            for row in found.values():
                print(case.title, row["library"], f"{row['rows_per_second']:,.0f} rows/s", flush=True)
                recorder.add(row)
            if result:
                comparisons.append(result)
    summary: dict[str, Any] = {"comparisons": comparisons, "target": TARGET}
    if comparisons:
        mean = geometric_mean(c["ratio"] for c in comparisons) or 0.0
        worst = min(c["ratio"] for c in comparisons)
        summary |= {"geometric_mean": mean, "worst": worst, "met": worst >= TARGET}
        print("\n" + markdown(COLUMNS, ([c[key] for key in COLUMNS] for c in comparisons)))
        print(f"geometric mean {mean:.2f}, worst {worst:.2f} (target {TARGET})")
    recorder.finish(summary)


if __name__ == "__main__":
    main()
