"""The benchmark tables of the README, rendered from the result files in ``benchmarks/results``.

``python -m benchmarks.report`` rewrites what lies between the markers ``<!-- benchmarks:begin -->`` and
``<!-- benchmarks:end -->``; ``--check`` only says whether it is up to date; ``--print`` prints the tables.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from . import drift, growth, kmedians, quality, selection
from .data import CASES
from .exact import stopped_short
from .peers import OURS, PEERS
from .record import RESULTS
from .tables import markdown, show

BEGIN, END = "<!-- benchmarks:begin -->", "<!-- benchmarks:end -->"
OTHER_MINIMUM = 1e-3
README = Path(__file__).parent.parent / "README.md"
Result = dict[str, Any]


def seconds(row: Result | None) -> str:
    """Format a time; a contended one carries a dagger, a stopped one is a lower bound."""
    if row is None:
        return "-"
    if "wall" not in row:
        return f"> {row['stopped_after']:.3g}" if "stopped_after" in row else "-"
    elsewhere = abs(row.get("inertia_off", 0.0)) > OTHER_MINIMUM
    marks = {"†": row.get("contended"), "≠": elsewhere, "‡": stopped_short(row)}
    return show(row["wall"]) + "".join(mark for mark, applies in marks.items() if applies)


def mean_line(summary: Result, what: str) -> str:
    """Return the sentence under a table of ratios."""
    if "geometric_mean" not in summary:
        return "Not measured against a peer yet."
    mean, worst = summary["geometric_mean"], summary["worst"]
    return f"Geometric mean {mean:.2f} times {what}; worst case {worst:.2f}."


def kmeans_table(result: Result, tol: float) -> str:
    """Return one row per case and one column per library."""
    rows = [row for row in result["rows"] if row.get("tol") == tol]
    names = [OURS, *(n for n in PEERS if PEERS[n].rival and any(r["library"] == n for r in rows))]
    ratios = {(c["case"], c["tol"]): c for c in result["summary"]["comparisons"]}
    body = []
    for case in dict.fromkeys(row["case"] for row in rows):
        mine = {row["library"]: row for row in rows if row["case"] == case}
        found = ratios.get((case, tol), {})
        times = [seconds(mine.get(name)) for name in names]
        ours = [mine.get(OURS, {}).get(field) for field in ("n_iter", "inertia_off", "extra_mb")]
        body.append([CASES[case].title, *times, found.get("ratio"), *ours])
    return markdown(["case", *names, "ratio", "iterations", "inertia off", "extra MB"], body)


def kmeans(result: Result) -> str:
    """Render both modes."""
    settings, parts = result["settings"], []
    fixed = settings["mode"] == "fixed"
    for tol in dict.fromkeys(row["tol"] for row in result["rows"] if "tol" in row):
        limit = f"{settings['max_iter']} iterations" if fixed else f"to convergence, `tol={tol:g}`"
        parts.append(f"**K-Means, {limit}** (seconds)\n\n{kmeans_table(result, tol)}")
    float64_run = "(its float32 run where the file has none on float64 data)"
    reference = f"scikit-learn's {float64_run}" if fixed else "scikit-learn's"
    parts.append(
        mean_line(result["summary"], "the fastest peer's speed")
        + f" float32, same initial centres, one run. Inertia off: relative to {reference}, both recomputed"
        " in float64. Extra MB: our peak memory beyond the data. faiss and fastkmeans return no labels;"
        " fastkmeans draws its own initial centres."
        + ("" if fixed else f" Peers were stopped at {settings['stop']} times the fastest peer's time.")
    )
    return "\n\n".join(parts)


def seeding(result: Result) -> str:
    """Render k-means++."""
    fields = ("ours", "sklearn", "ratio", "potential_ratio", "seeds")
    body = [
        [CASES[c["case"]].title, *(c[field] for field in fields)] for c in result["summary"]["comparisons"]
    ]
    table = markdown(["case", "gpuclust s", "scikit-learn s", "ratio", "potential ratio", "seeds"], body)
    line = mean_line(result["summary"], "scikit-learn's speed")
    return (
        f"**k-means++ seeding**\n\n{table}\n\n{line} Potential ratio: ours over theirs, mean over the seeds."
    )


def predict(result: Result) -> str:
    """Render ``predict``."""
    fields = ("ours", "sklearn", "ratio", "wrong", "sklearn_wrong")
    body = [
        [CASES[c["case"]].title, *(c[field] for field in fields)] for c in result["summary"]["comparisons"]
    ]
    table = markdown(
        ["case", "gpuclust rows/s", "scikit-learn rows/s", "ratio", "wrong", "theirs wrong"], body
    )
    line = mean_line(result["summary"], "scikit-learn's speed")
    return (
        f"**predict**\n\n{table}\n\n{line}"
        " Wrong: share of the rows whose label is not the nearest centre, checked in float64."
    )


def growing(result: Result) -> str:
    """Render the growth table."""
    orders = ", ".join(f"{axis} {order:.2f}" for axis, order in result["summary"]["order"].items())
    return (
        f"**How the cost grows** ({result['settings']['iterations']} fixed iterations)\n\n"
        f"{growth.table(result['rows'])}\n\nFitted exponents: {orders} (1 is linear)."
    )


def outofcore(result: Result) -> str:
    """Render the larger-than-memory runs."""
    settings, summary = result["settings"], result["summary"]
    fields = ("rows_per_second", "peak_mb", "passes")
    body = [
        [row["run"], seconds({**row, "wall": row["seconds"]}), *(row.get(field) for field in fields)]
        for row in result["rows"]
    ]
    table = markdown(["run", "seconds", "rows/s", "peak RSS MB", "passes"], body)
    size = 4 * settings["n"] * settings["d"] / 1e9
    return (
        f"**A {size:.1f} GB file with a budget of {settings['memory']}** ({settings.get('estimator', 'KMeans')},"
        f" k={settings['k']}, {result['rows'][0]['n_iter']} iterations)\n\n{table}\n\n"
        f"Streamed from the page cache at {summary['share']:.2f} times the in-memory speed; "
        f"the same centres bit for bit: {show(summary['same_centres'])}."
    )


def coldstart(result: Result) -> str:
    """Render start-up."""
    fields = ("fit", "first", "later", "sklearn_import", "over", "contended")
    header = [
        "first fit of a process",
        "empty cache s",
        "later s",
        "scikit-learn import s",
        "over it s",
        "contended",
    ]
    table = markdown(header, ([row[field] for field in fields] for row in result["rows"]))
    return f"**Start-up**\n\n{table}"


def qualities(result: Result) -> str:
    """Render the comparison of final inertias."""
    seeds = result["settings"]["seeds"]
    return (
        f"**Quality** (mean final inertia over {seeds} seeds, `n_init=1`)\n\n{quality.table(result['rows'])}"
    )


def medians(result: Result) -> str:
    """Render K-Medians."""
    titles = {case.name: case.title for case in kmedians.CASES.values()}
    fields = (*kmedians.TARGETS, "passes")
    body = [[titles[c["case"]], *(c[field] for field in fields)] for c in result["summary"]["comparisons"]]
    header = [
        "case", "assignment", "update, NumPy", "update, pandas", "fit", "fit to the end", "fit, pyclustering",
        "time over K-Means", "passes an iteration",
    ]  # fmt: skip
    return (
        f"**K-Medians** ({result['settings']['iterations']} fixed iterations)\n\n{markdown(header, body)}\n\n"
        "How many times as fast: labels by Manhattan distance, against the faster of SciPy's `cdist` and scikit-learn's"
        " `pairwise_distances_argmin_min`; exact medians of given labels, against `np.median` cluster by cluster and"
        " pandas' `groupby`; the fit, against that assignment and `np.median`, and until no label changes, against as"
        " many iterations of it (where those take no longer than a minute or two); the fit, against pyclustering's C++"
        " core (small data only; its medians are wrong)."
    )


def metrics(result: Result) -> str:
    """Render the metrics."""
    body = [
        [
            c["case"],
            *(seconds({"wall": c[name], "contended": c["contended"]}) for name in ("ours", "sklearn")),
            *(c[field] for field in ("ratio", "value", "off", "ours_mb", "sklearn_mb")),
        ]
        for c in result["summary"]["comparisons"]
    ]
    header = ["case", "gpuclust s", "scikit-learn s", "ratio", "value", "largest difference", "extra MB", "theirs"]
    line = mean_line(result["summary"], "scikit-learn's speed")
    return (
        f"**Metrics**\n\n{markdown(header, body)}\n\n{line} Value: of silhouettes their mean, and the largest"
        " difference of any row's. Extra MB: peak memory beyond the data."
    )


def choices(result: Result) -> str:
    """Render how often the number of clusters is found."""
    low, high = result["settings"]["ks"]
    return (
        f"**Choosing k** ({low} to {high}; share of the sets on which the true k is chosen, within one of it)\n\n"
        f"{selection.table(result['summary']['shares'])}\n\n"
        f"Possible: K-Means, given the true k, finds the true clusters (adjusted Rand index of"
        f" {result['settings']['possible']:g} or more); most of the other sets are not convex. The rule of the"
        " recommendation, the k that most criteria choose and of several the smallest, was chosen on every other"
        " set.\n\n"
        f"{selection.details(result['rows'])}\n\nARI: of K-Means, given the true k."
    )


def drifting(result: Result) -> str:
    """Render how often drift is found."""
    most = result["summary"]
    alarms, power = drift.tables(result["rows"])
    return (
        "**Drift** (training rows / new rows without drift: share of the runs in which any test is significant at"
        f" {result['settings']['alpha']:g}, and in which the verdict is not ok)\n\n{alarms}\n\n"
        f"In the mean {most['significant']['mean']:.2%} and {most['watch']['mean']:.2%}. With drift: share of the"
        f" runs in which the verdict is watch or retrain, and in which it is retrain; 10,000 training rows.\n\n{power}"
    )


def services(result: Result) -> str:
    """Render the prediction service."""
    fields = ("connections", "requests_per_second", "rows_per_second", "p50_ms", "p99_ms", "failed", "server_cpu_us")
    body = [
        [c["load"], who, *(c[side][field] for field in fields), c["ratio"] if side == "ours" else None]
        for c in result["summary"]["comparisons"]
        for who, side in (("gpuclust serve", "ours"), ("Flask", "theirs"))
    ]
    header = [
        "load", "service", "connections", "requests/s", "rows/s", "p50 ms", "p99 ms", "failed", "CPU µs a request",
        "ratio",
    ]  # fmt: skip
    settings = result["settings"]
    return (
        f"**Prediction service** ({settings['features']} features, {settings['clusters']} clusters,"
        f" {settings['workers']} worker, {settings['seconds']:g} s a run)\n\n{markdown(header, body)}\n\n"
        "Against Flask's own server with scikit-learn's `KMeans`, as tutorials have it; both with the same centres,"
        " each alone on the machine with wrk. Ours measures drift and counts for Prometheus meanwhile."
    )


def soak(result: Result) -> str:
    """Render memory over time."""
    summary = result["summary"]
    return (
        f"**Prediction service, {summary['minutes']:g} minutes under load** (two workers): {summary['requests']:,}"
        f" requests, {summary['failed']:,} failed; memory of both {summary['first_mb']:.0f} MB at first,"
        f" {summary['half_mb']:.0f} MB half way, {summary['last_mb']:.0f} MB at the end."
    )


def killed(result: Result) -> str:
    """Render what a killed worker takes with it."""
    summary, runs = result["summary"], len(result["rows"])
    return (
        f"**Prediction service, one worker of two ended by SIGKILL under load** ({runs} times): {summary['requests']:,}"
        f" requests answered, {summary['lost']:,} lost, {summary['refused']:,} refused. The workers had"
        f" {summary['in_flight_at_most']:,} connections, each with at most one request in flight."
    )


def distributed(result: Result) -> str:
    """Render the cost of workers."""
    fields = ("n", "d", "k", "shards", "alone_ms", "workers_ms", "overhead_ms", "wire_kb", "statistics_kb", "rows_kb")
    body = [[row[field] for field in fields] for row in result["rows"] if row["part"] in ("overhead", "growth")]
    titles = ("rows", "d", "k", "shards", "alone ms", "workers ms", "more ms", "sent kB", "statistics kB", "rows kB")
    walls = ", ".join(f"{name} {show(wall)} s" for name, wall in result["summary"]["seconds"].items())
    tree, flat = (next(row for row in result["rows"] if row.get("way") == way) for way in ("tree", "client"))
    return (
        f"**Two Dask workers of one thread on this machine** (an iteration)\n\n{markdown(titles, body)}\n\n"
        "Alone: the same fit in one process of two threads. Sent: what the workers write, by Dask's own count. Below"
        f" {result['summary']['worthwhile_rows']:.1g} rows messages take over a tenth of an iteration. Whole fits of"
        f" {result['settings']['n']:,} x {result['settings']['d']}, k={result['settings']['k']}: {walls}"
        f" (scikit-learn in one process). Of {tree['workers']} workers on the same two cores, with k={tree['k']} and"
        f" d={tree['d']}, an iteration takes {show(tree['workers_ms'])} ms where they merge up a tree, and"
        f" {show(flat['workers_ms'])} ms where each sends to the client; {show(tree['client_cpu_ms'])} and"
        f" {show(flat['client_cpu_ms'])} ms of that are work of the client and the scheduler."
    )


SECTIONS: dict[str, Callable[[Result], str]] = {
    "kmeans-fixed": kmeans,
    "kmeans-converge": kmeans,
    "seeding": seeding,
    "predict": predict,
    "growth": growing,
    "outofcore": outofcore,
    "outofcore-kmedians": outofcore,
    "coldstart": coldstart,
    "quality": qualities,
    "kmedians": medians,
    "metrics": metrics,
    "selection": choices,
    "drift": drifting,
    "serving": services,
    "serving-kill": killed,
    "serving-soak": soak,
    "distributed": distributed,
}


def machine_line(result: Result) -> str:
    """Name the machine and the versions of one result."""
    made, machine = result["environment"], result["environment"]["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in made["versions"].items() if version)
    parts = [
        machine["cpu"],
        f"{machine['cores']} cores",
        f"{machine['ram_gb']} GB",
        machine["gpu"],
        machine["os"],
    ]
    return f"{', '.join(part for part in parts if part)}; Python {made['python']}, {versions}"


def command_line(result: Result) -> str:
    """Name the command, the date and the commit of one result."""
    made = result["environment"]
    commit = (made["commit"] or "unknown")[:10] + (" with local changes" if made["modified"] else "")
    return f"`{made['command']}` ({made['date'][:10]}, commit {commit})"


def render(folder: Path) -> str:
    """Render all sections for which a result file exists, each with its command; machines once each."""
    parts, machines = [], []
    for device in ("cpu", "cuda"):
        for name, section in SECTIONS.items():
            path = folder / f"{name}-{device}.json"
            if not path.exists():
                continue
            result = json.loads(path.read_text())
            machines.append(machine_line(result))
            number = 1 + list(dict.fromkeys(machines)).index(machines[-1])
            parts.append(f"{section(result)}\n\n<sub>{command_line(result)}, machine {number}</sub>")
    lines = [f"{i}. {line}" for i, line in enumerate(dict.fromkeys(machines), 1)]
    if lines:
        parts.append("Machines:\n\n" + "\n".join(lines))
    if any("†" in part for part in parts):
        parts.append("† Other programs used the machine during every repeat.")
    if any("≠" in part for part in parts):
        parts.append("≠ Inertia more than 0.1 % away from the reference's: another local minimum.")
    if any("‡" in part for part in parts):
        parts.append(
            "‡ Stopped by itself with `tol=0`, though one more exact iteration lowers its inertia by more than 1e-7 of"
            " it: not counted as the fastest."
        )
    return "\n\n".join(parts)


def main() -> int:
    """Rewrite, check or print the tables."""
    made = argparse.ArgumentParser(prog="python -m benchmarks.report", description=__doc__)
    made.add_argument("--readme", type=Path, default=README)
    made.add_argument("--results", type=Path, default=RESULTS)
    made.add_argument("--check", action="store_true")
    made.add_argument("--print", action="store_true", dest="show")
    options = made.parse_args()
    text = render(options.results)
    if options.show:
        print(text)
        return 0
    old = options.readme.read_text()
    if BEGIN not in old or END not in old:
        print(f"{options.readme} has no markers {BEGIN} and {END}", file=sys.stderr)
        return 1
    head, rest = old.split(BEGIN, 1)
    new = f"{head}{BEGIN}\n\n{text}\n\n{END}{rest.split(END, 1)[1]}"
    if options.check:
        print("up to date" if new == old else "out of date: run python -m benchmarks.report")
        return int(new != old)
    options.readme.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
