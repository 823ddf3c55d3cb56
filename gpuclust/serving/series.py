"""What is counted of one model alone, for Prometheus: it goes with the model.

prometheus_client's own files of several workers keep every series that was ever in them. A worker keeps those of its
model in files beside them, in the same form, which are removed as a whole.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from prometheus_client import multiprocess
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.mmap_dict import MmapedDict, mmap_key

FOLDER: Final = "PROMETHEUS_MULTIPROC_DIR"  # where several workers put their counts
CLUSTERS: Final = "gpuclust_cluster_rows", "Rows scored, by cluster and model.", ["cluster", "model"]
DRIFT: Final = (
    "gpuclust_drift", "Effect of each test of drift against the training rows; the worst worker's.",
    ["check", "feature"],
)  # fmt: skip
KINDS: Final = {CLUSTERS[0]: "counter", DRIFT[0]: "gauge_livemax"}  # how prometheus_client adds up workers


class ModelSeries:
    """The rows of each cluster and the effects of drift, of one worker under one model.

    Parameters
    ----------
    model : str
        What names it.
    folder : str or None
        Where several workers put their counts.
    """

    def __init__(self, model: str, folder: str | None) -> None:
        self.model, self._folder = model, folder
        self._keys: dict[tuple[str, ...], str] = {}
        self._files: dict[str, Any] = {}
        self._begin()

    def _begin(self) -> None:
        self._pid = os.getpid()
        self._rows: dict[str, float] = {}  # by cluster
        self._effects: dict[tuple[str, str], float] = {}
        for file in self._files.values():
            file.close()
        if self._folder is not None:
            for name in KINDS:
                self._files[name] = self._opened(name)

    def _opened(self, name: str) -> Any:
        return MmapedDict(str(self._place(name)))  # type: ignore[no-untyped-call]

    def _place(self, name: str) -> Path:
        return Path(str(self._folder), f"{KINDS[name]}_{self._pid}-{self.model}.db")

    def scored(self, cluster: str, rows: int) -> None:
        """So many rows more of a cluster."""
        if self._pid != os.getpid():  # a fork: the files are its parent's
            self._begin()
        self._rows[cluster] = self._rows.get(cluster, 0.0) + rows
        self._write(CLUSTERS, "_total", [cluster, self.model], self._rows[cluster])

    def drifted(self, effects: dict[tuple[str, str], float]) -> None:
        """The effect of every test by (test, feature)."""
        self._effects.update(effects)
        for labels, value in effects.items():
            self._write(DRIFT, "", list(labels), value)

    def undrifted(self) -> None:
        """Nothing is known of drift any more; what was counted stays."""
        self._effects = {}
        self._keys = {key: written for key, written in self._keys.items() if key[0] != DRIFT[0]}
        if self._files:
            self._files[DRIFT[0]].close()
            self._place(DRIFT[0]).unlink(missing_ok=True)
            self._files[DRIFT[0]] = self._opened(DRIFT[0])

    def _write(self, family: tuple[str, str, list[str]], suffix: str, labels: list[str], value: float) -> None:
        name, text, known = family
        if not self._files:
            return
        key = self._keys.get((name, *labels))
        if key is None:
            key = self._keys[name, *labels] = mmap_key(name, name + suffix, known, labels, text)
        self._files[name].write_value(key, value, 0.0)

    def collect(self) -> Iterator[Any]:
        """All of it, where there is one worker: prometheus_client finds the files of several."""
        rows = CounterMetricFamily(*CLUSTERS[:2], labels=CLUSTERS[2])
        effects = GaugeMetricFamily(*DRIFT[:2], labels=DRIFT[2])
        for cluster, value in self._rows.items():
            rows.add_metric([cluster, self.model], value)
        for labels, value in self._effects.items():
            effects.add_metric(list(labels), value)
        yield from (rows, effects)

    def close(self) -> None:
        """Another model is served."""
        for name, file in self._files.items():
            file.close()
            self._place(name).unlink(missing_ok=True)
        self._files = {}


def remove_left(folder: str, model: str, alive: set[int]) -> None:
    """Remove what workers that are no more counted of other models than this one."""
    for place in Path(folder).glob("*_*-*.db"):
        pid, _, other = place.stem.rpartition("_")[2].partition("-")
        if other != model and int(pid) not in alive:
            place.unlink(missing_ok=True)


def mark_process_dead(pid: int, folder: str | None = None) -> None:
    """A worker is no more: what it found last of its rows is true of none. What it counted stays.

    `gpuclust serve --workers N` sees to it. A supervisor of your own, such as gunicorn in `child_exit`, calls it in
    place of prometheus_client's function of this name, which knows nothing of the files of single models.

    Parameters
    ----------
    pid : int
        The process that was the worker.
    folder : str, optional
        Where the workers put their counts; default: PROMETHEUS_MULTIPROC_DIR of the environment.

    Raises
    ------
    ValueError
        If there is no folder.
    """
    folder = folder or os.environ.get(FOLDER)
    if folder is None:
        raise ValueError(f"Workers put their counts in no folder: set {FOLDER}, or pass folder=.")
    multiprocess.mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
    for place in Path(folder).glob(f"gauge_*_{pid}-*.db"):
        place.unlink(missing_ok=True)
