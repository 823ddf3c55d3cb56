"""K-Medians: assignment, median update and whole fits against compositions of what SciPy, scikit-learn, NumPy and
pandas offer, pyclustering, and our own K-Means.

* assignment: labels of rows by Manhattan distance, ours and the peers' in turn. Peers that are slow get fewer rows;
  rates are compared.
* update: exact medians of given labels.
* fit: the same number of iterations from the same first centres; the peer is the faster assignment and NumPy's medians.
* converge: until no label changes; the peer makes as many iterations (left out where that takes longer than PATIENCE).
* pyclustering: its C++ core, as many iterations (left out for more than MOST_VALUES); it takes its medians of one
  coordinate only, so that its result is another one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from . import data
from .record import Recorder, parser, scratch
from .tables import geometric_mean, markdown
from .workers import Worker, WorkerError

CASES = {
    case.name: case
    for case in (
        data.Case("M1", 100_000, 16, 32),
        data.Case("M2", 1_000_000, 8, 16),
        data.Case("M3", 1_000_000, 16, 64),
        data.Case("M4", 200_000, 128, 256),
        data.Case("E10", 70_000, 784, 10, "mnist70k.npz"),
        data.Case("F", 2_000_000, 2, 100, "geolife_beijing2m.npz"),
    )
}
WORK = 1 << 30  # differences of a peer's assignment at most
PATIENCE = 100.0  # seconds
MOST_VALUES = 2_000_000
ROUNDS = 5  # of the assignments, in turn: the ratio is the median of theirs
LONG, MOST_RUNS = 1.0, 25  # what takes milliseconds is repeated for so many seconds, so often at most
TARGETS = {
    "assignment": 8.0, "update_numpy": 5.0, "update_pandas": 6.0, "fit": 6.0, "converge": 6.0, "pyclustering": 20.0,
    "over_kmeans": 4.0,
}  # fmt: skip
COLUMNS = ("case", *TARGETS, "passes", "same")


def scipy_labels(X: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Nearest centre by SciPy, in blocks that fit the cache."""
    from scipy.spatial.distance import cdist

    block = max(1, (1 << 20) // len(centres))
    return np.concatenate(
        [cdist(X[i : i + block], centres, "cityblock").argmin(axis=1) for i in range(0, len(X), block)]
    )


def sklearn_labels(X: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Nearest centre by scikit-learn."""
    from sklearn.metrics import pairwise_distances_argmin_min

    return pairwise_distances_argmin_min(X, centres, metric="manhattan")[0]


def numpy_medians(X: np.ndarray, label: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Medians cluster by cluster."""
    return np.stack([np.median(X[label == j], axis=0) if np.any(label == j) else c for j, c in enumerate(old)])


def pandas_medians(X: np.ndarray, label: np.ndarray, old: np.ndarray) -> np.ndarray:
    """Medians by pandas' groupby."""
    import pandas as pd

    return pd.DataFrame(X).groupby(label).median().reindex(range(len(old))).to_numpy()


def our_update(X: np.ndarray, centres: np.ndarray, device: str) -> Callable[[], np.ndarray]:
    """The update of a fit's third iteration alone, of all clusters."""
    from gpuclust.backends.metric import Metric
    from gpuclust.backends.select import select
    from gpuclust.backends.statistics import Moves
    from gpuclust.data.array import ArraySource
    from gpuclust.objectives.median import Median, Placed
    from gpuclust.solvers.scan import scan

    backend = select(device).backend
    source = ArraySource(backend.upload(X, X.dtype), None, backend)
    objective, params = Median.start(source, scan(source, Metric.MANHATTAN), centres.astype(np.float64))
    for _ in range(2):
        params = objective.solve(source, source.fold(objective.partial, objective.begin(backend, params)), params)
    found = source.fold(objective.partial, objective.begin(backend, params))
    everything = Placed(found.moves.merge(Moves(0, 0, np.ones(len(centres), np.int64))), found.cost, None)
    return lambda: objective._medians(source, everything, params.centers, np.empty(0, np.int64))


def prepare(path: str, k: int, device: str, iterations: int) -> Callable[..., Any]:
    """Load the data in the worker; return the task that times one thing."""
    X = np.load(path)
    init = data.initial_centres(X, k)
    few = X[: max(1, min(len(X), WORK // (k * X.shape[1])))]
    state: dict[str, Any] = {"label": scipy_labels(X, init) if len(few) == len(X) else None}

    def labels() -> np.ndarray:
        if state["label"] is None:
            from gpuclust import KMedians

            state["label"] = KMedians(k, init=init, n_init=1, max_iter=1).fit(X).labels_
        return state["label"]

    def fitted(estimator: str, most: int) -> Any:
        import gpuclust

        return getattr(gpuclust, estimator)(k, init=init, n_init=1, max_iter=most, tol=0, device=device).fit(X)

    def composition(assign: Callable[..., np.ndarray], most: int) -> np.ndarray:
        centres = init.astype(np.float64)
        for _ in range(most):
            centres = numpy_medians(X, assign(X, centres), centres)
        return centres

    def pyclustering() -> Any:
        from pyclustering.cluster.kmedians import kmedians
        from pyclustering.utils.metric import distance_metric, type_metric

        if "rows" not in state:
            state["rows"] = X.astype(np.float64).tolist()
        metric = distance_metric(type_metric.MANHATTAN)
        return kmedians(state["rows"], init.tolist(), tolerance=0, itermax=iterations, metric=metric).process()

    def task(what: str, times: int = 1, most: int = iterations) -> Any:
        """Seconds a call, and what came out."""
        if what == "assign" and "model" not in state:
            state["model"] = fitted("KMedians", iterations)
        if what == "update" and "update" not in state:
            state["update"] = our_update(X, init, device)
        if what.endswith("medians"):
            labels()
        calls: dict[str, Callable[[], Any]] = {
            "assign": lambda: state["model"].predict(X),
            "scipy": lambda: scipy_labels(few, init),
            "sklearn": lambda: sklearn_labels(few, init),
            "update": lambda: state["update"](),
            "numpy medians": lambda: numpy_medians(X, labels(), init),
            "pandas medians": lambda: pandas_medians(X, labels(), init),
            "KMedians": lambda: fitted("KMedians", most),
            "KMeans": lambda: fitted("KMeans", most),
            "pyclustering": pyclustering,
            "composition scipy": lambda: composition(scipy_labels, most),
            "composition sklearn": lambda: composition(sklearn_labels, most),
        }
        seconds: list[float] = []
        while len(seconds) < times or (times > 1 and sum(seconds) < LONG and len(seconds) < MOST_RUNS):
            start = time.perf_counter()
            found = calls[what]()
            seconds.append(time.perf_counter() - start)
        rows = len(few) if what in ("scipy", "sklearn") else len(X)
        out = {"seconds": float(np.median(seconds)), "runs": seconds, "rows": rows}
        if what in ("KMedians", "KMeans"):
            out |= {"passes": found.n_passes_, "n_iter": found.n_iter_}
            found = np.asarray(found.cluster_centers_)
        return out, found if what in ("KMedians", "composition scipy", "composition sklearn") else None

    return task


def assignments(worker: Worker, repeats: int) -> dict[str, float]:
    """Seconds a row of our assignment and the peers', one after the other."""
    seconds = {}
    for what in ("assign", "scipy", "sklearn"):
        worker.call(what=what)
        (found, _), _ = worker.call(what=what, times=repeats)
        seconds[what] = found["seconds"] / found["rows"]
    return seconds


def contest(options: Any, case: data.Case, path: Any) -> dict[str, Any]:
    """All measurements of one case, each thing once to warm up and then `--repeats` times."""
    worker = Worker(prepare, path=str(path), k=case.k, device=options.device, iterations=options.iterations)
    found: dict[str, Any] = {"case": case.name, "rows": case.n, "d": case.d, "k": case.k}
    centres = {}
    for what in ("update", "KMedians", "KMeans", "numpy medians", "pandas medians"):
        try:
            worker.call(what=what)
            (found[what], centres[what]), _ = worker.call(what=what, times=options.repeats)
        except WorkerError as error:
            print(f"{case.name} {what} failed: {error.reason}")
    found["rounds"] = [assignments(worker, options.repeats) for _ in range(ROUNDS)]
    faster = min(("scipy", "sklearn"), key=lambda name: float(np.median([turn[name] for turn in found["rounds"]])))
    (found["composition"], centres["composition"]), _ = worker.call(what=f"composition {faster}")
    found["composition"]["assignment"] = faster
    (found["converge"], _), _ = worker.call(what="KMedians", most=300)
    steps = found["converge"]["n_iter"]
    if found["composition"]["seconds"] * steps / options.iterations < PATIENCE:
        (found["converge composition"], _), _ = worker.call(what=f"composition {faster}", most=steps)
    if case.n * case.d <= MOST_VALUES:
        try:
            worker.call(what="pyclustering")
            (found["pyclustering"], _), _ = worker.call(what="pyclustering", times=options.repeats)
        except WorkerError as error:
            print(f"{case.name} pyclustering failed: {error.reason}")
    worker.close()
    ours, peers = (np.asarray(centres[name], np.float64) for name in ("KMedians", "composition"))
    found["same"] = bool(np.abs(ours - peers).max() <= 1e-4 * np.abs(peers).max())  # NumPy rounds to float32 each time
    return found


def compare(found: dict[str, Any]) -> dict[str, Any]:
    """Return the ratios."""
    ahead = [min(turn["scipy"], turn["sklearn"]) / turn["assign"] for turn in found["rounds"]]
    ours, fit = found["update"]["seconds"], found["KMedians"]["seconds"]
    long, peer = found.get("converge composition"), found.get("pyclustering")
    return {
        "case": found["case"],
        "assignment": float(np.median(ahead)),
        "update_numpy": found["numpy medians"]["seconds"] / ours,
        "update_pandas": found["pandas medians"]["seconds"] / ours,
        "fit": found["composition"]["seconds"] / fit,
        "converge": long["seconds"] / found["converge"]["seconds"] if long else None,
        "pyclustering": peer["seconds"] / fit if peer else None,
        "over_kmeans": fit / found["KMeans"]["seconds"],
        "passes": found["KMedians"]["passes"] / found["KMedians"]["n_iter"],
        "same": found["same"],
    }


def main() -> None:
    """Run the benchmark."""
    made = parser("kmedians", __doc__)
    made.add_argument("--cases", help="e.g. M1,M2 (default: all)")
    made.add_argument("--iterations", type=int, default=10)
    made.add_argument("--repeats", type=int, default=3)
    options = made.parse_args()
    recorder = Recorder(options, repeats=options.repeats, iterations=options.iterations)
    comparisons = []
    with scratch(options) as folder:
        for case, path in data.available(options, folder, CASES):
            found = contest(options, case, path)
            recorder.add(found)
            comparisons.append(compare(found))
            print(case.title, comparisons[-1], flush=True)
    summary: dict[str, Any] = {"comparisons": comparisons, "targets": TARGETS}
    if comparisons:
        summary["geometric_means"] = {
            name: geometric_mean(c[name] for c in comparisons if c[name]) for name in TARGETS
            if any(c[name] for c in comparisons)
        }  # fmt: skip
        print("\n" + markdown(COLUMNS, ([c[key] for key in COLUMNS] for c in comparisons)))
    recorder.finish(summary)


if __name__ == "__main__":
    main()
