"""Random rows like those that a model was fitted on, as far as is known."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from sklearn.impute import KNNImputer
from sklearn.utils import check_random_state

from gpuclust import models
from gpuclust.monitoring import TrainingSummary
from gpuclust.persistence.compound import width
from gpuclust.persistence.kinds import kind_of

from .export import Input

ABSENT = 0.05  # share of the values that are missing where a model fills them
SPREAD = 1.5  # standard deviations of the random rows: some lie beyond what was seen


def random_rows(
    model: Any, inputs: list[Input], n: int, random_state: Any, summary: TrainingSummary | None
) -> list[np.ndarray]:
    """Columns, drawn one by one: from the training summary if there is one, else from what the model has learnt."""
    rng = check_random_state(random_state)
    known, lacking = _known(model), _may_lack(model)
    columns = []
    for at, each in enumerate(inputs):
        values = known.get(at, (0.0, 1.0))
        if summary is not None and isinstance(values, tuple):
            columns.append(_like_training(rng, n, summary, at))
        elif isinstance(values, tuple):
            columns.append(values[0] + SPREAD * values[1] * rng.normal(size=n))
        else:
            columns.append(values[rng.randint(len(values), size=n)])
        if each.dtype is np.int64:
            columns[-1] = np.round(columns[-1].astype(np.float64))
        elif lacking[at]:
            columns[-1] = np.where(rng.uniform(size=n) < ABSENT, np.nan, columns[-1])
    return columns


def _may_lack(model: Any) -> list[bool]:
    """Which columns are numbers that something fills; none where neighbours do: of equally near ones either may."""
    features = models.input_features(model)
    if any(isinstance(part, KNNImputer) for part in model.get_params().values()):
        return [False] * len(features)
    return [each.used and each.missing and each.categories is None for each in features]


def _like_training(rng: Any, n: int, summary: TrainingSummary, at: int) -> np.ndarray:
    shares, values = summary.probabilities[at], summary.quantiles[at]
    if not np.isfinite(values).all():
        return np.zeros(n)
    return np.asarray(np.interp(rng.uniform(size=n), shares, values))


def _known(model: Any) -> dict[int, Any]:
    """Of each column what the first step that knows it tells: (middle, spread), or the categories."""
    preprocessor, estimator = models.parts(model)
    found: dict[int, Any] = {}
    if preprocessor is None:
        centers = estimator.cluster_centers_.astype(np.float64)
        spread = centers.std(axis=0)
        return dict(enumerate(zip(centers.mean(axis=0), np.where(spread > 0, spread, 1.0), strict=True)))
    for at, what in _told(preprocessor, list(range(models.n_features(model)))):
        found.setdefault(at, what)
    return found


def _told(part: Any, columns: list[int]) -> Iterator[tuple[int, Any]]:
    if hasattr(part, "transformers_"):
        for name, inner, _ in part.transformers_:
            yield from _told(inner, [columns[at] for at in part._transformer_to_input_indices[name]])
        return
    if hasattr(part, "steps"):
        for _, step in part.steps:
            if isinstance(step, str):
                continue
            yield from _told(step, columns)
            if hasattr(step, "statistics_"):  # columns of indicators come after those that are filled
                columns = [at for at, value in zip(columns, step.statistics_, strict=True) if value == value]
            elif kind_of(step) is None or width(step) != len(columns):
                return
        return
    if hasattr(part, "categories_"):
        yield from zip(columns, part.categories_, strict=True)
        return
    for middle, spread in _SCALES:
        if getattr(part, middle, None) is not None and getattr(part, spread, None) is not None:
            yield from zip(columns, zip(getattr(part, middle), getattr(part, spread), strict=True), strict=False)
            return


_SCALES = (("mean_", "scale_"), ("center_", "scale_"), ("data_min_", "data_range_"), ("lower_", "upper_"))
