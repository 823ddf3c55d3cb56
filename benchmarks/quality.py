"""Quality: final inertia of full fits from each library's own k-means++, many seeds, real and synthetic sets.

Inertia is recomputed exactly for both. A set passes when our mean is not above scikit-learn's by more than
0.2 % plus 2.33 standard errors of the difference (one-sided 1 % level). The error is that of the differences
seed by seed, which is right whether or not the two turn a seed into the same random numbers.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import data, exact
from .record import Recorder, parser
from .tables import markdown

MARGIN, ERRORS = 0.002, 2.33
COLUMNS = ("set", "rows", "d", "k", "ours", "sklearn", "difference", "std. error", "passes")


class Sample(NamedTuple):
    """A real set: file, array, clusters, and at most so many rows (drawn with a fixed seed)."""

    file: str
    array: str
    k: int
    rows: int = 10_000


SETS = {
    "cloud": Sample("cloud", "X", 25),
    "pendigit": Sample("pendigit", "X", 10),
    "protein": Sample("protein_casp", "X", 25),
    "birch1": Sample("birch1", "X", 100),
    "d15112": Sample("d15112", "X", 20),
    "pcb3038": Sample("tsplib3038", "X", 30),
    "leaves": Sample("leaves100", "X_texture", 100),
    "skin": Sample("skin", "X", 20),
    "mnist": Sample("mnist70k", "X", 10, 5_000),
    "liver": Sample("hgmeans_small", "liver", 15),
}


def load(folder: Path, sample: Sample) -> np.ndarray:
    """Return the rows as float32 where that is exact, else float64."""
    with np.load(folder / f"{sample.file}.npz") as archive:
        X = archive[sample.array]
    if len(X) > sample.rows:
        X = X[np.random.default_rng(0).choice(len(X), sample.rows, replace=False)]
    return X.astype(np.float64 if X.dtype.kind == "f" else np.float32)


def fitters(device: str) -> dict[str, Callable[[np.ndarray, int, int], np.ndarray]]:
    """Return a function per library that fits once and returns the centres."""
    from sklearn.cluster import KMeans as Theirs

    from gpuclust import KMeans as Ours

    return {
        "ours": lambda X, k, seed: (
            Ours(k, n_init=1, random_state=seed, device=device).fit(X).cluster_centers_
        ),
        "sklearn": lambda X, k, seed: Theirs(k, n_init=1, random_state=seed).fit(X).cluster_centers_,
    }


def judge(name: str, X: np.ndarray, k: int, found: dict[str, list[float]]) -> dict[str, Any]:
    """Return means, difference and verdict, relative to scikit-learn's mean."""
    mean = {library: statistics.fmean(values) for library, values in found.items()}
    paired = [a - b for a, b in zip(found["ours"], found["sklearn"], strict=True)]
    error = statistics.stdev(paired) / math.sqrt(len(paired)) / mean["sklearn"]
    difference = mean["ours"] / mean["sklearn"] - 1
    return {
        "set": name,
        "rows": len(X),
        "d": X.shape[1],
        "k": k,
        "inertia_ours": mean["ours"],
        "inertia_sklearn": mean["sklearn"],
        "best_ours": min(found["ours"]),
        "best_sklearn": min(found["sklearn"]),
        "difference": difference,
        "standard_error": error,
        "passes": difference <= MARGIN + ERRORS * error,
    }


def main() -> None:
    """Run the benchmark."""
    made = parser("quality", __doc__)
    made.add_argument("--sets", help=f"default: {','.join(SETS)}")
    made.add_argument("--seeds", type=int, default=50)
    options = made.parse_args()
    folder = data.data_folder(options.data)
    if folder is None:
        made.error("the real sets are needed: --data or GPUCLUST_BENCH_DATA")
    seeds = 4 if options.quick else options.seeds
    recorder = Recorder(options, seeds=seeds)
    fits, rows = fitters(options.device), []
    for name in options.sets.split(",") if options.sets else SETS:
        X, k = load(folder, SETS[name]), SETS[name].k
        found: dict[str, list[float]] = {library: [] for library in fits}
        for seed in range(seeds):
            for library, fit in fits.items():
                found[library].append(exact.inertia(X, fit(X, k, seed)))
        rows.append(judge(name, X, k, found))
        recorder.add(rows[-1])
        print(name, f"{100 * rows[-1]['difference']:+.3f} %", rows[-1]["passes"], flush=True)
    print("\n" + table(rows))
    recorder.finish({"sets": len(rows), "met": all(row["passes"] for row in rows)})


def table(rows: list[dict[str, Any]]) -> str:
    """Return the table, differences in per cent."""
    fields = ("set", "rows", "d", "k", "inertia_ours", "inertia_sklearn")
    return markdown(
        COLUMNS,
        (
            [
                *(row[field] for field in fields),
                f"{100 * row['difference']:+.3f} %",
                f"{100 * row['standard_error']:.3f} %",
                row["passes"],
            ]
            for row in rows
        ),
    )


if __name__ == "__main__":
    main()
