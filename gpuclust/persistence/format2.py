"""Format 2: a header of JSON that holds the model, the features and the training summary; a checksum over its text."""

from __future__ import annotations

import json
import platform
from datetime import UTC, datetime
from typing import Any

import numpy as np

from gpuclust import models
from gpuclust._version import versions
from gpuclust.errors import ModelFileError
from gpuclust.files.container import text_digest
from gpuclust.monitoring import TrainingSummary

from .clusterers import CLUSTERERS
from .features import describe
from .kinds import name_of
from .model_file import FORMAT_VERSION
from .objects import decode_object, encode_object
from .values import Decoder, Encoder

PACKAGES = ("gpuclust", "numpy", "scikit-learn", "safetensors")


def encode(model: Any, summary: TrainingSummary | None, rows: Any) -> tuple[dict[str, str], dict[str, np.ndarray]]:
    """Metadata and tensors of a file.

    Raises
    ------
    TypeError
        If something of the model is of a class that files do not hold.
    ModelFileError
        If what it has learnt is not what such a model can learn, for example centres that are NaN.
    """
    encoder = Encoder(encode_object)
    held = {
        "model": encoder.encode(model, "model"),
        "summary": None if summary is None else encoder.encode(summary.as_dict(), "summary"),
    }
    try:
        _decode(held, encoder.tensors)
    except ModelFileError as error:
        raise ModelFileError(f"The model is not valid: {error}.") from None
    header = {
        "format_version": FORMAT_VERSION,
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
        "versions": {"python": platform.python_version()} | versions(PACKAGES),
        "features": describe(model, rows),
    }
    text = json.dumps(header | held, allow_nan=False)
    return {"gpuclust": text, "sha256": text_digest(text, encoder.tensors)}, encoder.tensors


def decode(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> tuple[Any, TrainingSummary | None]:
    """The model and the summary.

    Raises
    ------
    ModelFileError
        If they are not what `encode` writes.
    """
    model, summary = _decode(header, tensors)
    _check_features(header.get("features"), models.n_features(model))
    return model, summary


def _decode(header: dict[str, Any], tensors: dict[str, np.ndarray]) -> tuple[Any, TrainingSummary | None]:
    decoder = Decoder(tensors, decode_object)
    model = decoder.decode(header.get("model"))
    try:
        estimator = models.parts(model).estimator
    except TypeError:
        raise ModelFileError("what it holds is no clustering model") from None
    if name_of(estimator) not in CLUSTERERS or not hasattr(estimator, "cluster_centers_"):
        raise ModelFileError("it has no fitted clustering estimator at its end")
    values = decoder.decode(header.get("summary"))
    summary = None if values is None else _summary(values, models.n_features(model), len(estimator.cluster_centers_))
    if decoder.left:
        raise ModelFileError(f"it holds unknown tensors: {', '.join(sorted(decoder.left))}")
    return model, summary


def _summary(values: Any, d: int, k: int) -> TrainingSummary:
    try:
        return TrainingSummary.from_dict(values, d, k)
    except (TypeError, ValueError, LookupError, AttributeError) as error:
        raise ModelFileError(f"its training summary is not valid: {error}") from None


def _check_features(features: Any, d: int) -> None:
    listed = isinstance(features, list) and all(
        isinstance(each, dict) and set(each) == {"name", "dtype"} and all(type(part) is str for part in each.values())
        for each in features
    )
    if not listed:
        raise ModelFileError("its features are not told by name and dtype")
    if len(features) != d:
        raise ModelFileError(f"it names {len(features)} features but has {d}")
