"""How often `gpuclust.monitoring.compare` finds drift where there is none, and where there is some of a stated size.

Nothing is timed: the machine need not be quiet. Every run draws training rows and new rows anew, fits a model to the
former, sums them up and compares. Without drift, both are drawn alike. With drift, the new rows are changed in one way.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from .record import Recorder, parser
from .tables import markdown

ALPHA = 0.01  # the default of gpuclust.monitoring.Thresholds
SIZES = ((200, 50), (1000, 100), (1000, 10_000), (10_000, 1000), (10_000, 10_000))  # training rows, new rows
D, CLUSTERS, OUT = 6, 4, np.array([9.0, -9.0, 9.0, -9.0, 9.0, -9.0])
MEANS = np.random.default_rng(1).normal(size=(CLUSTERS, D)) * 3
WEIGHTS = np.array([0.4, 0.3, 0.2, 0.1])

Draw = Callable[[np.random.Generator, int], Any]


def clusters(rng: np.random.Generator, n: int) -> np.ndarray:
    """Four normal clusters that lie apart."""
    return MEANS[rng.choice(CLUSTERS, n, p=WEIGHTS)] + rng.normal(size=(n, D))


def blob(rng: np.random.Generator, n: int) -> np.ndarray:
    """One normal cluster, which K-Means cuts into four."""
    return rng.normal(size=(n, D))


def heavy(rng: np.random.Generator, n: int) -> np.ndarray:
    """Student's t with two degrees of freedom: no variance."""
    return rng.standard_t(2, size=(n, D))


def ties(rng: np.random.Generator, n: int) -> np.ndarray:
    """Flags, counts, rounded numbers, a rare flag."""
    columns = (
        rng.integers(0, 2, n), rng.poisson(1, n), np.round(rng.normal(size=n), 1), rng.binomial(1, 0.02, n),
        rng.normal(size=n),
    )  # fmt: skip
    return np.column_stack(columns).astype(np.float64)


def mixed(rng: np.random.Generator, n: int) -> Any:
    """A DataFrame with missing values and categories, many of them rare."""
    import pandas as pd

    amount = rng.exponential(size=n)
    amount[rng.random(n) < 0.05] = np.nan
    kind, code = rng.choice(["a", "b", "c"], n, p=[0.7, 0.2, 0.1]), rng.zipf(1.7, n).clip(max=500)
    return pd.DataFrame({"x": rng.normal(size=n), "amount": amount, "kind": kind, "code": code.astype(str)})


SHAPES: dict[str, Draw] = {"clusters": clusters, "blob": blob, "heavy": heavy, "ties": ties, "mixed": mixed}


class Shift(NamedTuple):
    """New rows that differ from `clusters`."""

    title: str
    draw: Draw


def _moved(by: float) -> Draw:
    """One of six features moves, in standard deviations of the feature over all rows."""

    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        rows = clusters(rng, n)
        rows[:, 0] += by * SPREAD[0]
        return rows

    return draw


def _wider(rng: np.random.Generator, n: int) -> np.ndarray:
    rows = clusters(rng, n)
    rows[:, 0] = CENTER[0] + (rows[:, 0] - CENTER[0]) * np.sqrt(2)
    return rows


def _newcomer(share: float) -> Draw:
    def draw(rng: np.random.Generator, n: int) -> np.ndarray:
        rows, new = clusters(rng, n), rng.random(n) < share
        rows[new] = OUT + rng.normal(size=(int(new.sum()), D))
        return rows

    return draw


def _vanished(rng: np.random.Generator, n: int) -> np.ndarray:
    left = WEIGHTS[:3] / WEIGHTS[:3].sum()
    return np.asarray(MEANS[rng.choice(3, n, p=left)] + rng.normal(size=(n, D)))


def _lost(rng: np.random.Generator, n: int) -> np.ndarray:
    rows = clusters(rng, n)
    rows[rng.random(n) < 0.1, 0] = np.nan
    return rows


def _looser(rng: np.random.Generator, n: int) -> np.ndarray:
    return np.asarray(MEANS[rng.choice(CLUSTERS, n, p=WEIGHTS)] + 1.25 * rng.normal(size=(n, D)))


CENTER = WEIGHTS @ MEANS
SPREAD = np.sqrt(1 + WEIGHTS @ (MEANS - CENTER) ** 2)
SHIFTS = {
    "mean 0.2": Shift("mean of 1 feature of 6 moves by 0.2 standard deviations", _moved(0.2)),
    "mean 0.5": Shift("mean of 1 feature of 6 moves by 0.5 standard deviations", _moved(0.5)),
    "variance": Shift("variance of 1 feature of 6 doubles", _wider),
    "looser": Shift("clusters are 1.25 times as wide", _looser),
    "new 2 %": Shift("a new cluster has 2 % of the rows", _newcomer(0.02)),
    "new 10 %": Shift("a new cluster has 10 % of the rows", _newcomer(0.1)),
    "vanished": Shift("a cluster of 10 % of the rows vanishes", _vanished),
    "missing": Shift("1 feature of 6 lacks 10 % of its values", _lost),
}


def fitted(X: Any, seed: int) -> Any:
    """Four clusters, of a DataFrame after scaling and encoding."""
    from sklearn.pipeline import make_pipeline

    from gpuclust import KMeans
    from gpuclust.preprocessing import make_preprocessor

    model = KMeans(CLUSTERS, n_init=1, max_iter=20, random_state=seed, device="cpu")
    if isinstance(X, np.ndarray):
        return model.fit(X)
    return make_pipeline(*(step for _, step in make_preprocessor(X, categorical="frequency").steps), model).fit(X)


def once(old: Draw, new: Draw, sizes: tuple[int, int], seed: int) -> tuple[float, str]:
    """The least adjusted p-value, and the verdict."""
    from gpuclust.monitoring import compare, summarize

    rng = np.random.default_rng([seed, *sizes])
    X = old(rng, sizes[0])
    model = fitted(X, seed)
    report = compare(model, new(rng, sizes[1]), summary=summarize(model, X))
    return min(each.p_adjusted for each in report.checks), report.verdict


def shares(old: Draw, new: Draw, sizes: tuple[int, int], runs: int) -> dict[str, Any]:
    """What part of the runs has a significant test, and what part each verdict."""
    found = [once(old, new, sizes, seed) for seed in range(runs)]
    p = np.array([each[0] for each in found])
    return {
        "training": sizes[0],
        "new": sizes[1],
        "runs": runs,
        "significant": float(np.mean(p <= ALPHA)),
        "significant at 0.05": float(np.mean(p <= 0.05)),
        "watch": float(np.mean([verdict != "ok" for _, verdict in found])),
        "retrain": float(np.mean([verdict == "retrain" for _, verdict in found])),
    }


def main() -> None:
    """Simulate and write the shares."""
    import numba

    made = parser("drift", __doc__)
    made.add_argument("--runs", type=int, default=400, help="of each case without drift; a quarter as many with it")
    options = made.parse_args()
    numba.set_num_threads(1)  # the rows are few
    runs = 10 if options.quick else options.runs
    recorder = Recorder(options, alpha=ALPHA, d=D, clusters=CLUSTERS)
    for name, draw in SHAPES.items():
        for sizes in SIZES:
            row = {"drift": "", "shape": name, **shares(draw, draw, sizes, runs)}
            recorder.add(row)
            print(row, flush=True)
    for name, shift in SHIFTS.items():
        for n in (100, 1000, 10_000):
            row = {"drift": name, "shape": "clusters", **shares(clusters, shift.draw, (10_000, n), max(10, runs // 4))}
            recorder.add(row)
            print(row, flush=True)
    recorder.finish(summary(recorder.content["rows"]))
    print("\n" + "\n\n".join(tables(recorder.content["rows"])))


def summary(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Without drift, over all shapes and sizes."""
    calm = [row for row in rows if not row["drift"]]
    return {
        name: {"mean": float(np.mean([row[name] for row in calm])), "most": max(row[name] for row in calm)}
        for name in ("significant", "significant at 0.05", "watch", "retrain")
    }


def tables(rows: list[dict[str, Any]]) -> tuple[str, str]:
    """Markdown: false alarms by shape and size, and what is found of each shift."""
    calm = [row for row in rows if not row["drift"]]
    sizes = list(dict.fromkeys((row["training"], row["new"]) for row in calm))
    body = [[f"{m:,} / {n:,}", *(_cell(calm, shape, m, n) for shape in SHAPES)] for m, n in sizes]
    drift = [row for row in rows if row["drift"]]
    counts = list(dict.fromkeys(row["new"] for row in drift))
    found = []
    for name in dict.fromkeys(row["drift"] for row in drift):
        own = {row["new"]: row for row in drift if row["drift"] == name}
        found.append([SHIFTS[name].title, *(f"{own[n]['watch']:.0%}, {own[n]['retrain']:.0%}" for n in counts)])
    power = markdown(["drift", *(f"{n:,} new rows" for n in counts)], found)
    return markdown(["rows", *SHAPES], body), power


def _cell(rows: list[dict[str, Any]], shape: str, m: int, n: int) -> str:
    row = next(row for row in rows if (row["shape"], row["training"], row["new"]) == (shape, m, n))
    return f"{row['significant']:.1%}, {row['watch']:.1%}"


if __name__ == "__main__":
    main()
