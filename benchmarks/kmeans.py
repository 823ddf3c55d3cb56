"""K-Means against other libraries, from the same initial centres.

``--mode fixed``: 20 iterations, ``tol=0``. ``--mode converge``: at most 300, ``tol=1e-4`` and ``tol=0``.

Each library runs in its own process, which holds the data; repeats take turns. A short warm-up fit comes
first and its time (compilation, thread pools) is reported apart. In ``converge`` mode peers run once. A
peer that takes ``--stop`` times the fastest peer's time so far is ended and listed as "> t": it cannot be
the fastest. Inertia is recomputed for everybody in float64 from the returned centres; "off ref." is its
relative distance from scikit-learn on float64 data (``fixed``) or from scikit-learn's lloyd (``converge``).
With ``tol=0`` a library that stops before the limit although one more exact iteration would lower the inertia
by more than 1e-7 of it "stopped short" (faiss: its float32 objective no longer changed) and does not count.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from . import data, exact
from .exact import stopped_short
from .measure import Measure, summarise
from .peers import OURS, PEERS
from .record import Recorder, parser, scratch
from .tables import geometric_mean, markdown
from .workers import TooSlow, Worker, WorkerError

WARMUP_ITERATIONS = 3
FIXED_ONLY = ("sklearn-float64",)  # 20 iterations of exact arithmetic say what everybody's inertia should be
ONCE = ("sklearn-elkan", "fastkmeans", "sklearn-float64")  # far from the fastest: one repeat settles it
ESSENTIAL = (OURS, "sklearnex", "sklearn-lloyd")  # always run; the others within --budget
REFERENCES = ("sklearn-float64", "sklearn-lloyd")  # inertia is compared with the first of these that ran
SETTINGS = {"fixed": (20, (0.0,), 2.0), "converge": (300, (1e-4, 0.0), 1.2)}  # max_iter, tols, stop factor
TARGETS = {"fixed": (1.7, 1.0), "converge": (2.5, 1.3)}  # geometric mean, worst case
COLUMNS = (
    "case",
    "tol",
    "ours",
    "peer",
    "peer_wall",
    "ratio",
    "inertia_off",
    "extra_mb",
    "allowed_mb",
    "contended",
)


def prepare(library: str, path: str, k: int, device: str) -> Callable[..., dict[str, Any]]:
    """Load data and library in the worker; return the task that fits once."""
    X = np.load(path)
    init = data.initial_centres(X, k)
    fit = PEERS[library].load(device)

    def task(max_iter: int, tol: float) -> dict[str, Any]:
        result = fit(X, init, max_iter, tol)
        return {"centres": np.asarray(result.centres), "n_iter": result.n_iter, "inertia": result.inertia}

    return task


class Team:
    """The workers of one case; started at first use, and again after one was stopped."""

    def __init__(self, options: argparse.Namespace, case: data.Case, path: Path) -> None:
        self.options, self.case, self.path = options, case, path
        self.warmup: dict[str, Measure] = {}  # of the first start: it includes any compilation
        self._workers: dict[str, Worker] = {}

    def call(self, library: str, limit: float | None, **request: Any) -> tuple[dict[str, Any], Measure]:
        """Let a library run once."""
        try:
            return self.ready(library).call(limit, self.options.patience, **request)
        except (TooSlow, WorkerError):
            if library in self._workers:
                self._workers.pop(library).close()
            raise

    def ready(self, library: str) -> Worker:
        """Return a warmed-up worker."""
        if library not in self._workers:
            worker = Worker(
                prepare, library=library, path=str(self.path), k=self.case.k, device=self.options.device
            )
            self._workers[library] = worker
            _, first = worker.call(max_iter=WARMUP_ITERATIONS, tol=0.0)
            self.warmup.setdefault(library, first)
        return self._workers[library]

    def close(self) -> None:
        """End all workers."""
        for worker in self._workers.values():
            worker.close()


class Contest:
    """All libraries on one case with one tolerance."""

    def __init__(self, team: Team, libraries: list[str], tol: float) -> None:
        self.team, self.options, self.tol = team, team.options, tol
        self.max_iter, _, stop = SETTINGS[self.options.mode]
        self.stop = self.options.stop or stop
        self.runs: dict[str, list[Measure]] = {name: [] for name in libraries}
        self.centres: dict[str, np.ndarray] = {}
        self.rows = {
            name: {"case": team.case.name, "tol": tol, "library": name, "note": PEERS[name].note}
            for name in libraries
        }

    def repeats(self, library: str) -> int:
        """Return how often a library runs."""
        once = library in ONCE or (self.options.mode == "converge" and library != OURS)
        return 1 if once else int(self.options.repeats)

    def limit(self, library: str) -> float | None:
        """Return the seconds after which a peer cannot become the fastest any more."""
        if library in (OURS, *REFERENCES):
            return None
        best = [run.wall for name, runs in self.runs.items() for run in runs if PEERS[name].rival]
        return max(5.0, self.stop * min(best)) if best else None

    def turn(self, library: str) -> bool:
        """Let a library run once; tell whether it may run again."""
        row, limit = self.rows[library], self.limit(library)
        try:
            value, measured = self.team.call(library, limit, max_iter=self.max_iter, tol=self.tol)
        except TooSlow:
            row["stopped_after"] = limit
            return False
        except WorkerError as error:
            print(f"{library} failed: {error}", file=sys.stderr)
            row["failed"] = error.reason
            return False
        self.runs[library].append(measured)
        self.centres[library] = value["centres"]
        row.update(n_iter=value["n_iter"], inertia_reported=value["inertia"])
        return True

    def run(self, deadline: float) -> list[dict[str, Any]]:
        """Run all libraries in turns and return their rows."""
        late = time.perf_counter() > deadline
        for library, row in self.rows.items():
            if reason := excused(library, self.options.mode, self.tol, late):
                row["skipped"] = reason
        going = [name for name, row in self.rows.items() if "skipped" not in row]
        for repeat in range(self.options.repeats):
            if repeat and time.perf_counter() > deadline:
                break
            going = [name for name in going if repeat < self.repeats(name) and self.turn(name)]
        return self.judge()

    def judge(self) -> list[dict[str, Any]]:
        """Add medians, the warm-up, the exact inertia, and its distance from the reference's."""
        X = np.load(self.team.path)
        for library, row in self.rows.items():
            if self.runs[library]:
                row.update(summarise(self.runs[library]))
                row["inertia"] = exact.inertia(X, self.centres[library])
                if self.tol == 0 and row["n_iter"] and row["n_iter"] < self.max_iter:  # it says that it has converged
                    row["next_fall"] = exact.next_fall(X, self.centres[library])
            if first := self.team.warmup.get(library):
                row.update(warmup=first.wall, warmup_extra_mb=first.extra_mb)
        reference = next(
            (self.rows[r]["inertia"] for r in REFERENCES if "inertia" in self.rows.get(r, {})), None
        )
        for library, row in self.rows.items():
            if reference and "inertia" in row and PEERS[library].comparable:
                row["inertia_off"] = row["inertia"] / reference - 1
        return list(self.rows.values())


def excused(library: str, mode: str, tol: float, late: bool) -> str | None:
    """Return why a library does not take part.

    faiss stops when nothing changes, which is ``tol=0``. When the time budget is spent, only those go on
    that were fastest in every run so far, and ours.
    """
    peer = PEERS[library]
    if mode == "converge" and not (peer.any_tol or (tol == 0 and peer.comparable)):
        return "no comparable stopping rule"
    return "time budget" if late and library not in ESSENTIAL else None


def compare(rows: list[dict[str, Any]], case: data.Case) -> dict[str, Any] | None:
    """Return ours against the fastest peer of one case."""
    ours = next((r for r in rows if r["library"] == OURS and "wall" in r), None)
    others = [r for r in rows if PEERS[r["library"]].rival and "wall" in r and not stopped_short(r)]
    if ours is None or not others:
        return None
    best = min(others, key=lambda r: r["wall"])
    allowed = 64 + 24 * case.n / 2**20
    return {
        "case": case.name,
        "tol": ours["tol"],
        "ours": ours["wall"],
        "peer": best["library"],
        "peer_wall": best["wall"],
        "ratio": best["wall"] / ours["wall"],
        "cpu_ratio": best["cpu"] / ours["cpu"],
        "inertia_off": ours.get("inertia_off"),
        "extra_mb": ours["extra_mb"],
        "allowed_mb": allowed,
        "contended": ours["contended"] or best["contended"],
    }


def summary(comparisons: list[dict[str, Any]], mode: str) -> dict[str, Any]:
    """Return the geometric mean and the worst case over all comparisons, per tolerance and together."""
    mean_target, worst_target = TARGETS[mode]
    result: dict[str, Any] = {"comparisons": comparisons, "target": [mean_target, worst_target]}
    if comparisons:
        ratios = [c["ratio"] for c in comparisons]
        mean = geometric_mean(ratios)
        result |= {"geometric_mean": mean, "worst": min(ratios)}
        result["met"] = mean >= mean_target and min(ratios) >= worst_target
        for tol in sorted({c["tol"] for c in comparisons}):
            result[f"geometric_mean_tol_{tol:g}"] = geometric_mean(
                c["ratio"] for c in comparisons if c["tol"] == tol
            )
    return result


def print_rows(case: data.Case, tol: float, rows: list[dict[str, Any]]) -> None:
    """Print one case."""
    header = [
        "library",
        "wall s",
        "cpu s",
        "n_iter",
        "inertia",
        "off ref.",
        "extra MB",
        "other",
        "warm-up s",
        "",
    ]
    body = []
    for r in rows:
        wall = r.get("wall", f"> {r['stopped_after']:.1f}" if "stopped_after" in r else None)
        remark = r.get("skipped") or r.get("failed") or ("stopped short" if stopped_short(r) else r["note"])
        marks = (["contended"] if r.get("contended") else []) + ([remark] if remark else [])
        numbers = [
            r.get(f) for f in ("cpu", "n_iter", "inertia", "inertia_off", "extra_mb", "max_other", "warmup")
        ]
        body.append([r["library"], wall, *numbers, ", ".join(marks)])
    print(f"\n{case.title}, tol={tol:g}\n{markdown(header, body)}", flush=True)


def main() -> None:
    """Run the benchmark."""
    made = parser("kmeans", __doc__)
    made.add_argument("--mode", choices=list(SETTINGS), default="fixed")
    made.add_argument("--cases", help="e.g. A,B (default: all)")
    made.add_argument("--libs", help=f"default: {','.join(PEERS)}")
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--stop", type=float, help="end a peer at this multiple of the fastest peer's time")
    made.add_argument(
        "--budget", type=float, default=900.0, help="seconds; later only the usual winners run, once"
    )
    options = made.parse_args()
    libraries = options.libs.split(",") if options.libs else list(PEERS)
    if unknown := set(libraries) - set(PEERS):
        made.error(f"unknown library: {', '.join(sorted(unknown))}")
    if options.mode == "converge":
        libraries = [name for name in libraries if name not in FIXED_ONLY]
    max_iter, tols, stop = SETTINGS[options.mode]
    recorder = Recorder(
        options, suffix=f"-{options.mode}", mode=options.mode, max_iter=max_iter, stop=options.stop or stop
    )
    deadline, comparisons = time.perf_counter() + options.budget, []
    with scratch(options) as folder:
        # The case with most clusters takes as long as all others together: it goes last.
        for case, path in sorted(data.available(options, folder), key=lambda found: found[0].k):
            team = Team(options, case, path)
            for tol in tols:
                rows = Contest(team, libraries, tol).run(deadline)
                print_rows(case, tol, rows)
                for row in rows:
                    recorder.add(row)
                if found := compare(rows, case):
                    comparisons.append(found)
                recorder.finish(summary(comparisons, options.mode))  # a run that is cut short keeps what it has
            team.close()
    report(recorder.content["summary"])


def report(result: dict[str, Any]) -> None:
    """Print ours against the fastest peer."""
    keys = [
        "case",
        "tol",
        "ours",
        "peer",
        "peer_wall",
        "ratio",
        "inertia_off",
        "extra_mb",
        "allowed_mb",
        "contended",
    ]
    print("\n" + markdown(keys, ([c[key] for key in keys] for c in result["comparisons"])))
    if result["comparisons"]:
        mean, worst = result["target"]
        print(
            f"geometric mean {result['geometric_mean']:.2f} (target {mean}), "
            f"worst {result['worst']:.2f} (target {worst})"
        )


if __name__ == "__main__":
    main()
