"""Clustering metrics against scikit-learn's, values side by side.

Silhouettes of all rows under both distances, both libraries with all cores (scikit-learn with ``n_jobs=-1``), of rows
labelled by the nearest of some of them; adjusted Rand index, normalised and adjusted mutual information of integer
labels, half of which agree. Every library has a process of its own; its first call, on a few rows, compiles and is not
counted.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import joblib
import numpy as np

from . import data, exact
from .measure import summarise
from .record import Recorder, parser
from .tables import geometric_mean, markdown
from .workers import Worker, WorkerError

OURS, THEIRS = "gpuclust", "scikit-learn"
LABELS = 50
CLUSTERS = 20
COLUMNS = ("case", "ours", "sklearn", "ratio", "value", "off", "ours_mb", "sklearn_mb", "contended")


class Case(NamedTuple):
    """One score; ``d`` is 0 for those of two clusterings."""

    score: str
    n: int
    d: int = 0
    metric: str = ""
    dtype: str = "int64"

    @property
    def title(self) -> str:
        rows = f" {self.metric}, {self.n:,} x {self.d}, {self.dtype}"
        return self.score + (rows if self.d else f", {self.n:,}")

    @property
    def target(self) -> float:
        return 4.0 if self.d else 5.0


SILHOUETTES = [
    Case("silhouette_samples", 50_000, d, metric, dtype)
    for d in (16, 64)
    for metric in ("euclidean", "manhattan")
    for dtype in ("float64", "float32")
]
PAIRS = [
    Case(score, 10_000_000)
    for score in ("adjusted_rand_score", "normalized_mutual_info_score", "adjusted_mutual_info_score")
]


def inputs(case: Case) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and labels, or two clusterings; the same in every process."""
    if case.d:
        X = np.concatenate(list(data.mixture_blocks(case.n, case.d, CLUSTERS))).astype(case.dtype)
        return X, exact.assign(X, data.initial_centres(X, CLUSTERS))[0]
    rng = np.random.default_rng(0)
    one, two = rng.integers(0, LABELS, (2, case.n))
    return one, np.where(rng.random(case.n) < 0.5, one, two)


def prepare(library: str, case: Case, device: str) -> Callable[..., Any]:
    """Load data and library in the worker; return the task that computes the score once."""
    options: dict[str, Any] = {"metric": case.metric} if case.d else {}
    if library == OURS:
        import gpuclust.metrics as module

        options |= {"device": device} if case.d else {}
    else:
        import sklearn.metrics as module  # type: ignore[no-redef]

        options |= {"n_jobs": -1} if case.d else {}
    one, two = inputs(case)
    score = getattr(module, case.score)
    score(one[:1000], two[:1000], **options)

    def task() -> Any:
        with joblib.parallel_config(backend="threading"):  # the default would start no processes below a worker
            return score(one, two, **options)

    return task


def contest(options: Any, case: Case) -> dict[str, dict[str, Any]]:
    """Let both compute in turns."""
    found: dict[str, dict[str, Any]] = {}
    for library in (THEIRS, OURS):
        try:
            worker = Worker(prepare, library=library, case=case, device=options.device)
        except WorkerError as error:
            print(f"{library} failed: {error.reason}")
            continue
        found[library] = {"case": case.title, "library": library, "worker": worker, "runs": []}
    for _ in range(options.repeats):
        for row in found.values():
            row["value"], measured = row["worker"].call(patience=options.patience)
            row["runs"].append(measured)
    for row in found.values():
        row.pop("worker").close()
        row.update(summarise(row.pop("runs")))
    return found


def compare(case: Case, found: dict[str, dict[str, Any]]) -> dict[str, Any] | None:
    """Return the ratio of the speeds and the difference of the values, the largest of any row's."""
    if len(found) < 2:
        return None
    ours, theirs = found[OURS], found[THEIRS]
    return {
        "case": case.title,
        "ours": ours["wall"],
        "sklearn": theirs["wall"],
        "ratio": theirs["wall"] / ours["wall"],
        "value": float(np.mean(ours["value"])),
        "off": float(np.max(np.abs(np.subtract(ours["value"], theirs["value"])))),
        "ours_mb": ours["extra_mb"],
        "sklearn_mb": theirs["extra_mb"],
        "contended": ours["contended"] or theirs["contended"],
        "met": theirs["wall"] / ours["wall"] >= case.target,
    }


def main() -> None:
    """Run the benchmark."""
    made = parser("metrics", __doc__)
    made.add_argument("--repeats", type=int, default=3)
    options = made.parse_args()
    recorder = Recorder(options, repeats=options.repeats, clusters=CLUSTERS, labels=LABELS)
    comparisons = []
    for case in [*SILHOUETTES, *PAIRS]:
        if options.quick:
            case = case._replace(n=case.n // 25)
        found = contest(options, case)
        result = compare(case, found)
        for row in found.values():
            row["value"] = float(np.mean(row["value"]))
            print(case.title, row["library"], f"{row['wall']:.3g} s", flush=True)
            recorder.add(row)
        if result:
            comparisons.append(result)
    summary: dict[str, Any] = {"comparisons": comparisons}
    if comparisons:
        mean = geometric_mean(c["ratio"] for c in comparisons) or 0.0
        worst = min(c["ratio"] for c in comparisons)
        summary |= {"geometric_mean": mean, "worst": worst, "met": all(c["met"] for c in comparisons)}
        print("\n" + markdown(COLUMNS, ([c[key] for key in COLUMNS] for c in comparisons)))
        print(f"geometric mean {mean:.2f}, worst {worst:.2f}")
    recorder.finish(summary)


if __name__ == "__main__":
    main()
