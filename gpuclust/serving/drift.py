"""The rows that a service sees, compared with those that its model was fitted on."""

from __future__ import annotations

import threading
import time
from typing import Any, Final, NamedTuple

import numpy as np

from ..monitoring import DriftMonitor, TrainingSummary

PENDING: Final = 1024  # rows that are counted together
VALUES: Final = 500_000  # of rows that are compared in a second: a few hundredths of a core
VERDICTS: Final = {"ok": 0, "watch": 1, "retrain": 2}


class Seen(NamedTuple):
    """Rows as they came, and what was found of them."""

    rows: np.ndarray
    label: np.ndarray
    distance: np.ndarray


class Drift:
    """A monitor, and the rows that wait for it: counting a few at a time would cost more than scoring them.

    Of rows that come faster than `VALUES` numbers a second, a random sample is compared.
    """

    def __init__(self, model: Any, summary: TrainingSummary) -> None:
        self._monitor = DriftMonitor(model, summary)
        self._waiting: list[Seen] = []
        self._lock = threading.Lock()
        self._rows, self._since = 0, time.monotonic()
        self._rate = max(1, VALUES // summary.n_features)  # rows a second
        self._left, self._filled = float(self._rate), self._since
        self._random = np.random.default_rng(0)

    def saw(self, seen: Seen) -> bool:
        """Keep rows; whether so many wait that they should be counted."""
        now = time.monotonic()
        self._left = min(self._rate, self._left + (now - self._filled) * self._rate)
        self._filled = now
        n, most = len(seen.label), int(self._left)
        if n > most:
            some = np.sort(self._random.choice(n, most, replace=False))
            seen, n = Seen(*(column[some] for column in seen)), most
        self._left -= n
        with self._lock:
            self._rows += n
            if n:
                self._waiting.append(seen)
            return self._rows >= PENDING

    def count(self) -> None:
        """Count the rows that wait. For any thread."""
        with self._lock:
            waiting, self._waiting, self._rows = self._waiting, [], 0
        if waiting:
            self._monitor.add(*(np.concatenate(column) for column in zip(*waiting, strict=True)))

    def report(self, window: float) -> tuple[int, dict[tuple[str, str], float]] | None:
        """The verdict and the effect of every test by (test, feature); None where there are too few rows.

        Once `window` seconds have been counted, the next report is on rows from then on.
        """
        self.count()
        report = self._monitor.report()
        if report is None:
            return None
        if time.monotonic() - self._since > window:
            self._monitor.reset()
            self._since = time.monotonic()
        return VERDICTS[report.verdict], {(each.check, each.feature or ""): each.effect for each in report.checks}
