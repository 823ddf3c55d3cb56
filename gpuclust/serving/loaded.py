"""A model as the service holds it: never changed, only replaced."""

from __future__ import annotations

import copy
import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np

from ..models import input_features, parts
from ..monitoring import TrainingSummary
from ..persistence import read_model
from .answers import Answer
from .columns import Ask, Columns
from .drift import Drift, Seen
from .problems import LARGEST, Refused, in_a_line, unsuitable
from .scorer import Scored, Scorer, as_table


@dataclass(frozen=True, eq=False)
class Loaded:
    """A model, what it is given, and what its file tells."""

    scorer: Scorer
    columns: Columns
    info: dict[str, Any]  # plain facts, for /v1/model
    digest: str  # SHA-256 of the file
    typical: float | None  # distance to the own centre of half of the training rows
    drift: Drift | None  # None where the file tells nothing of the training rows
    updates: int = 0  # steps of partial_fit since

    @classmethod
    def read(cls, path: str | os.PathLike[str], device: str) -> Loaded:
        """The model of a file, ready to score.

        Raises
        ------
        ModelFileError, OSError
            If the file cannot be read or is no model.
        """
        digest = digest_of(path)
        model, summary, info = read_model(path)
        scorer = Scorer(model, device)
        scorer.warm_up()
        columns = Columns(tuple(input_features(model)), hasattr(model, "feature_names_in_"))
        typical, drift = (None, None) if summary is None else (typical_distance(summary), Drift(model, summary))
        return cls(scorer, columns, info, digest, typical, drift)

    @classmethod
    def read_if_new(cls, path: str | os.PathLike[str], device: str, old: Loaded) -> Loaded:
        """`old` itself where the file still holds it."""
        return old if not old.updates and digest_of(path) == old.digest else cls.read(path, device)

    @cached_property
    def header(self) -> tuple[bytes, bytes]:
        """Of every answer: which model it is from."""
        name = self.digest[:16] + (f"+{self.updates}" if self.updates else "")
        return b"x-model", name.encode()

    @property
    def learns(self) -> bool:
        """Whether the model learns from mini-batches."""
        return hasattr(parts(self.scorer.model).estimator, "partial_fit")

    def taught(self, rows: np.ndarray, device: str) -> Loaded:
        """The same with a model that learned from these rows; this one is left as it is.

        Raises
        ------
        Refused
            If it cannot learn from them.
        """
        prepared = self.scorer.prepared(rows)
        if (np.abs(prepared) > LARGEST).any():  # a center that followed it would have no distances
            raise unsuitable(f"A value is beyond {LARGEST:g}.")
        model = copy.deepcopy(self.scorer.model)
        estimator = parts(model).estimator
        try:
            estimator.partial_fit(as_table(prepared, getattr(estimator, "feature_names_in_", None)))
        except (ValueError, TypeError) as error:
            raise unsuitable(in_a_line(error)) from None
        return replace(self, scorer=Scorer(model, device), updates=self.updates + 1)

    def answers(self, asks: Sequence[Ask]) -> tuple[list[Answer], Seen]:
        """What is asked of each, and what was found of all rows together.

        Raises
        ------
        Refused
            If any of the rows cannot be placed.
        """
        rows = asks[0].rows if len(asks) == 1 else np.concatenate([ask.rows for ask in asks])
        prepared = self.scorer.prepared(rows)
        scored = self.scorer.assign(prepared)
        self._check(scored)
        found, start = [], 0
        for ask in asks:
            part = slice(start, start + len(ask.rows))
            start = part.stop
            distance = scored.distance[part]
            every = self.scorer.distances(prepared[part]) if ask.distances else None
            anomaly = distance / self.typical if ask.anomaly and self.typical is not None else None
            found.append(Answer(scored.label[part], distance, every, anomaly))
        return found, Seen(rows, *scored)

    def check(self, ask: Ask, most: int) -> None:
        """Raise where this model cannot answer, or with more values than allowed."""
        if ask.anomaly and self.typical is None:
            raise Refused(
                409,
                "The model file has no summary of its training rows, which anomaly scores need: save it again with"
                " save_model(model, path, training_data=X).",
            )
        values = len(ask.rows) * self.scorer.n_clusters
        if ask.distances and values > most:
            raise Refused(413, f"{values} distances are more than the {most} that an answer may have.")

    def _check(self, scored: Scored) -> None:
        if scored.label.min() < 0:
            row = int(np.flatnonzero(scored.label < 0)[0])
            raise unsuitable(f"Row {row} has a value that is not finite once it is preprocessed.")
        if not np.isfinite(scored.distance).all():
            row = int(np.flatnonzero(~np.isfinite(scored.distance))[0])
            raise unsuitable(f"Row {row} is so far from every centre that its distance is beyond float64.")


def digest_of(path: str | os.PathLike[str]) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def typical_distance(summary: TrainingSummary) -> float:
    """The median of the training rows' distances to their own centre, or their mean where that is 0; positive."""
    median = float(summary.distances[np.searchsorted(summary.distance_probabilities, 0.5)])
    shares = np.diff(summary.distance_probabilities, prepend=0.0)
    return median or float(shares @ summary.distances) or 1.0
