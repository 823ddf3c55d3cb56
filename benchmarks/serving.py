"""The prediction service against a plain Flask + scikit-learn one, under wrk; its memory over time; a killed worker.

``python -m benchmarks.serving`` compares: one row of JSON a request at 64 connections, and 10 000 rows a request, Arrow
for ours and JSON for Flask's. ``--soak 10`` loads two workers for ten minutes and watches their memory; ``--kill`` ends
one worker of two by SIGKILL under load and counts the requests that are lost. wrk is needed (``apt install wrk``).
"""

from __future__ import annotations

import json
import os
import signal
import statistics
import time
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from .record import Recorder, parser, scratch
from .services import Load, Service, drive, free_port, result_of, start_wrk
from .tables import markdown

OURS, THEIRS = "gpuclust serve", "Flask + scikit-learn"
FEATURES, CLUSTERS, TRAINING, BULK = 16, 32, 20_000, 10_000
TARGETS = {"single": 5.0, "bulk": 20.0}
PACKAGES = ("fastapi", "uvicorn", "httptools", "uvloop", "orjson", "flask", "werkzeug", "pyarrow")
COLUMNS = (
    "service", "load", "connections", "requests_per_second", "rows_per_second", "p50_ms", "p99_ms", "server_cpu_us",
)  # fmt: skip
MOST_GROWTH = 0.02  # of the memory, over the second half of a soak


def models(folder: Path) -> tuple[Path, Path, np.ndarray]:
    """Ours and scikit-learn's model with the same centres, and rows."""
    import joblib
    from sklearn.cluster import KMeans as Peer

    from gpuclust import KMeans, save_model

    rng = np.random.default_rng(0)
    X = rng.normal(size=(TRAINING, FEATURES)) + 4 * rng.integers(0, 3, (TRAINING, FEATURES))
    model = KMeans(CLUSTERS, random_state=0, device="cpu").fit(X)
    peer = Peer(CLUSTERS, init=model.cluster_centers_, n_init=1, max_iter=1).fit(X)
    peer.cluster_centers_ = model.cluster_centers_
    save_model(model, folder / "model.gpuclust", training_data=X)
    joblib.dump(peer, folder / "model.joblib")
    return folder / "model.gpuclust", folder / "model.joblib", X


def ours(model: Path, workers: int = 1) -> Service:
    """Start our service."""
    port = free_port()
    words = ["gpuclust", "serve", str(model), "--port", str(port), "--workers", str(workers), "--device", "cpu"]
    service = Service(OURS, words, port)
    service.ask("POST", "/v1/reload")  # is answered when all workers are there
    return service


def theirs(model: Path) -> Service:
    """Start Flask's."""
    port = free_port()
    return Service(THEIRS, ["benchmarks.flask_service", str(model), str(port)], port)


def as_json(X: np.ndarray, path: str) -> Load:
    """Rows as JSON."""
    return Load(path, "application/json", json.dumps({"rows": X.tolist()}).encode(), len(X))


def as_arrow(X: np.ndarray) -> Load:
    """Rows as an Arrow stream."""
    import pyarrow as pa

    table = pa.table({f"x{f}": column for f, column in enumerate(X.T)})
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return Load("/v1/predict", "application/vnd.apache.arrow.stream", sink.getvalue().to_pybytes(), len(X))


def compare(options: Any, recorder: Recorder, folder: Path) -> dict[str, Any]:
    """Both services in turns, each alone on the machine."""
    path, peer, X = models(folder)
    bulk = np.ascontiguousarray(X[:BULK])
    cases = [
        ("single", "1 row, JSON", options.connections, as_json(X[:1], "/v1/predict"), as_json(X[:1], "/predict")),
        ("bulk", f"{BULK:,} rows, Arrow / JSON", options.bulk, as_arrow(bulk), as_json(bulk, "/predict")),
    ]
    best: dict[tuple[str, str], dict[str, Any]] = {}
    for name, title, connections, mine, other in cases:
        runs: dict[str, list[dict[str, Any]]] = {OURS: [], THEIRS: []}
        for _ in range(options.repeats):
            for start, load in ((lambda: ours(path, options.workers), mine), (lambda: theirs(peer), other)):
                service = start()
                drive(service, load, folder, min(1.0, options.seconds), connections)
                found = drive(service, load, folder, options.seconds, connections, options.patience)
                service.close()
                runs[service.name].append(found)
                recorder.add({"case": name, "load": title, "rows": load.rows, **found})
                print(f"{title}: {service.name} {found['requests_per_second']:,.0f} requests/s", flush=True)
        for service_name, some in runs.items():
            best[name, service_name] = middle(some) | {"load": title}
    print("\n" + markdown(COLUMNS, ([row[key] for key in COLUMNS] for row in best.values())))
    return summarise(best)


def middle(runs: list[dict[str, Any]]) -> dict[str, Any]:
    """The run with the median rate, of the clean ones where there are any; failures of all."""
    clean = [run for run in runs if not run["contended"]] or runs
    rate = statistics.median_low([run["requests_per_second"] for run in clean])
    chosen = next(run for run in clean if run["requests_per_second"] == rate)
    failed = sum(run["lost"] + run["refused"] + run["timeouts"] for run in runs)
    return {**chosen, "failed": failed}


def summarise(best: dict[tuple[str, str], dict[str, Any]]) -> dict[str, Any]:
    """How many times the peer's rate."""
    found = []
    for case, target in TARGETS.items():
        mine, other = best[case, OURS], best[case, THEIRS]
        ratio = mine["rows_per_second"] / other["rows_per_second"]
        found.append({
            "case": case, "load": mine["load"], "ours": mine, "theirs": other, "ratio": ratio, "target": target,
            "met": ratio >= target, "contended": mine["contended"] or other["contended"],
        })  # fmt: skip
        print(f"{mine['load']}: {ratio:.1f} times Flask's (target {target:g})")
    return {"comparisons": found}


def soak(options: Any, recorder: Recorder, folder: Path) -> dict[str, Any]:
    """Two workers under load for minutes: single rows and, between them, bulk; memory after each slice."""
    path, _, X = models(folder)
    service = ours(path, 2)
    single, bulk = as_json(X[:1], "/v1/predict"), as_arrow(np.ascontiguousarray(X[:BULK]))
    begin, failed, total, number = time.monotonic(), 0, 0, 0
    piece = min(30.0, options.soak * 60 / 4)
    while time.monotonic() - begin < options.soak * 60:
        for load, seconds, connections in ((single, 0.8 * piece, options.connections), (bulk, 0.2 * piece, 4)):
            found = drive(service, load, folder, seconds, connections)
            failed += found["lost"] + found["refused"] + found["timeouts"]
            total += found["requests"]
        minute = (time.monotonic() - begin) / 60
        rss = sorted(service.rss_mb().values())[-2:]
        recorder.add({"slice": number, "minute": minute, "requests": total, "failed": failed, "rss_mb": rss})
        memory = " + ".join(f"{mb:.0f}" for mb in rss)
        print(f"{minute:.1f} min: {total:,} requests, {failed} failed, {memory} MB", flush=True)
        number += 1
    service.close()
    used = [sum(row["rss_mb"]) for row in recorder.content["rows"]]
    half = used[len(used) // 2]
    return {
        "minutes": options.soak, "requests": total, "failed": failed, "first_mb": used[0], "half_mb": half,
        "last_mb": used[-1], "growth": used[-1] / half - 1,
        "met": failed == 0 and used[-1] / half - 1 < MOST_GROWTH,
    }  # fmt: skip


def kill(options: Any, recorder: Recorder, folder: Path) -> dict[str, Any]:
    """SIGKILL for one worker of two, in the middle of each run."""
    path, _, X = models(folder)
    for number in range(options.repeats):
        service = ours(path, 2)
        load = as_json(X[:1], "/v1/predict")
        running = start_wrk(service, load, folder, options.seconds, options.connections)
        time.sleep(options.seconds / 2)
        victim = max(service.processes()[1:], key=lambda each: sum(each.cpu_times()[:2]))
        at_most = sum(1 for each in victim.net_connections("tcp") if each.status == "ESTABLISHED")
        os.kill(victim.pid, signal.SIGKILL)
        found = result_of(running)
        recorder.add({"run": number, **found, "connections_of_the_killed": at_most})
        print(f"{found['requests']:,} requests, {found['lost']} lost; the worker had {at_most} connections", flush=True)
        service.close()
    rows = recorder.content["rows"]
    return {
        "requests": sum(row["requests"] for row in rows), "lost": sum(row["lost"] for row in rows),
        "refused": sum(row["refused"] + row["timeouts"] for row in rows),
        "in_flight_at_most": sum(row["connections_of_the_killed"] for row in rows),
        "met": all(row["lost"] <= row["connections_of_the_killed"] and not row["refused"] for row in rows),
    }  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    made = parser("serving", __doc__)
    made.add_argument("--seconds", type=float, default=10.0, help="of each run")
    made.add_argument("--connections", type=int, default=64, help="for single rows")
    made.add_argument("--bulk", type=int, default=4, help="connections for bulk")
    made.add_argument("--repeats", type=int, default=3)
    made.add_argument("--workers", type=int, default=1, help="of ours, in the comparison")
    made.add_argument("--soak", type=float, help="minutes under load, in place of the comparison")
    made.add_argument("--kill", action="store_true", help="end a worker under load, in place of the comparison")
    options = made.parse_args()
    if options.quick:
        options.seconds, options.repeats = min(options.seconds, 2.0), 1
    mode, work = ("-soak", soak) if options.soak else ("-kill", kill) if options.kill else ("", compare)
    recorder = Recorder(
        options, suffix=mode, features=FEATURES, clusters=CLUSTERS, seconds=options.seconds, workers=options.workers,
        packages={name: metadata.version(name) for name in PACKAGES},
    )  # fmt: skip
    with scratch(options) as folder:
        recorder.finish(work(options, recorder, folder))


if __name__ == "__main__":
    main()
