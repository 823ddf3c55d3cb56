"""How often the true number of clusters is found: by each criterion of ``choose_k``, and by its recommendation.

The sets: 28 of Gagolewski's benchmark suite (sipu, fcps, other) and real sets with classes. Where a set has several
reference clusterings, the number of any of them counts. K-Means can find a number of clusters only where it can find
the clusters: ``possible`` says whether K-Means, given the true number, reaches an adjusted Rand index of 0.8 with a
reference (the mean over ten seeds of the best of ten starts). The rule of the vote was chosen on every other set, in
the order of the table; the shares of both halves are given.

The data folder holds ``gagolews_dev.npz`` (arrays ``<battery>/<set>/X`` and ``.../y0``, ``y1``, ...; label 0 is noise),
``hgmeans_small.npz``, ``gmm_classics.npz`` and ``rcluster.npz``.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from . import data
from .record import Recorder, parser
from .tables import markdown

KS = range(2, 41)
POSSIBLE = 0.8
CRITERIA = ("elbow", "silhouette", "davies_bouldin", "calinski_harabasz", "gap")
JUDGES = (*CRITERIA, "recommended")


class Labelled(NamedTuple):
    """Rows, their reference clusterings (0: noise), and the numbers of clusters that count as true."""

    name: str
    X: np.ndarray
    labels: list[np.ndarray]
    true: list[int]


class Real(NamedTuple):
    """A real set: file, array, array of its classes or how many there are, and whether features are standardised."""

    file: str
    array: str
    classes: str | int
    scale: bool


REAL = {
    "real/iris": Real("hgmeans_small", "iris", "iris_y", True),
    "real/breast": Real("hgmeans_small", "breast", "breast_y", False),
    "real/diabetes": Real("gmm_classics", "diabetes_corr", "diabetes_y", True),
    "real/banknote": Real("gmm_classics", "banknote", "banknote_y", True),
    "real/faithful": Real("gmm_classics", "faithful", 2, True),
    "real/ruspini": Real("rcluster", "ruspini", 4, False),
}


def sets(folder: Path) -> Iterator[Labelled]:
    """Yield all sets."""
    with np.load(folder / "gagolews_dev.npz") as archive:
        for name in (file.removesuffix("/X") for file in archive.files if file.endswith("/X")):
            labels = [archive[file] for file in archive.files if file.startswith(f"{name}/y")]
            true = sorted({len(np.unique(y[y > 0])) for y in labels})
            yield Labelled(name, archive[f"{name}/X"].astype(np.float64), labels, true)
    for name, real in REAL.items():
        with np.load(folder / f"{real.file}.npz") as archive:
            X = archive[real.array].astype(np.float64)
            labels = [] if isinstance(real.classes, int) else [archive[real.classes].astype(int) + 1]
        if real.scale:
            X = (X - X.mean(axis=0)) / X.std(axis=0)
        yield Labelled(name, X, labels, [len(np.unique(y)) for y in labels] or [int(real.classes)])


def reachable(given: Labelled, device: str) -> float | None:
    """Return the best adjusted Rand index of K-Means with a reference, given its number of clusters."""
    from gpuclust import KMeans
    from gpuclust.metrics import adjusted_rand_score

    found = []
    for reference in given.labels:
        rows, k = reference > 0, len(np.unique(reference[reference > 0]))
        scores = []
        for seed in range(10):
            labels = KMeans(k, n_init=10, random_state=seed, device=device).fit(given.X).labels_
            scores.append(adjusted_rand_score(reference[rows], labels[rows]))
        found.append(statistics.fmean(scores))
    return max(found, default=None)


def judge(given: Labelled, seed: int, device: str) -> dict[str, Any]:
    """Return what is chosen for a set."""
    from gpuclust import KMeans
    from gpuclust.selection import choose_k

    start = time.perf_counter()
    found = choose_k(given.X, KS, estimator=KMeans(device=device), random_state=seed)
    return {
        "set": given.name,
        "rows": len(given.X),
        "d": given.X.shape[1],
        "true": given.true,
        "possible": reachable(given, device),
        **found.choices,
        "recommended": found.recommended_k,
        "seconds": time.perf_counter() - start,
    }


def hits(rows: list[dict[str, Any]], judge: str, within: int = 0) -> float | None:
    """Return the share of the sets for which the true number was chosen."""
    found = [
        row[judge] is not None and min(abs(row[judge] - true) for true in row["true"]) <= within for row in rows
    ]
    return statistics.fmean(found) if found else None


def groups(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    """Return the sets of each line of the summary."""
    batteries = dict.fromkeys(row["set"].split("/")[0] for row in rows)
    return {
        "all": rows,
        **{name: [row for row in rows if row["set"].startswith(f"{name}/")] for name in batteries},
        "possible": [row for row in rows if (row["possible"] or 0) >= POSSIBLE],
        "not possible": [row for row in rows if row["possible"] is not None and row["possible"] < POSSIBLE],
        "rule chosen on": rows[::2],
        "rule not chosen on": rows[1::2],
    }


def summary(rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the shares, exact and within one, by group."""
    return [
        {"group": name, "sets": len(group)}
        | {judge: hits(group, judge) for judge in JUDGES}
        | {f"{judge}_within_1": hits(group, judge, 1) for judge in JUDGES}
        for name, group in groups(rows).items()
    ]


def main() -> None:
    """Run the benchmark."""
    made = parser("selection", __doc__)
    made.add_argument("--seed", type=int, default=0)
    options = made.parse_args()
    folder = data.data_folder(options.data)
    if folder is None:
        made.error("the sets are needed: --data or GPUCLUST_BENCH_DATA")
    recorder, rows = Recorder(options, seed=options.seed, ks=[KS[0], KS[-1]], possible=POSSIBLE), []
    for given in sets(folder):
        if options.quick and len(given.X) > 300:
            continue
        rows.append(judge(given, options.seed, options.device))
        recorder.add(rows[-1])
        print(given.name, given.true, {name: rows[-1][name] for name in JUDGES}, flush=True)
    found = summary(rows)
    print("\n" + table(found) + "\n\n" + details(rows))
    recorder.finish({"shares": found})


def table(found: list[dict[str, Any]]) -> str:
    """Return the shares: exact (within one)."""
    body = [
        [row["group"], row["sets"], *(share(row[judge], row[f"{judge}_within_1"]) for judge in JUDGES)]
        for row in found
    ]
    return markdown(["sets", "number", *(judge.replace("_", " ") for judge in JUDGES)], body)


def share(exact: float | None, near: float | None) -> str:
    return "-" if exact is None or near is None else f"{exact:.0%} ({near:.0%})"


def details(rows: list[dict[str, Any]]) -> str:
    """Return what was chosen, set by set."""
    body = [
        [row["set"], row["rows"], row["d"], " or ".join(map(str, row["true"])), row["possible"],
         *(row[judge] for judge in JUDGES)]
        for row in rows
    ]  # fmt: skip
    return markdown(["set", "rows", "d", "true k", "ARI", *(judge.replace("_", " ") for judge in JUDGES)], body)


if __name__ == "__main__":
    main()
