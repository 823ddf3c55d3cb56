"""The columns that a model is given: their names, and what they hold."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuclust import models


def describe(model: Any, rows: Any = None) -> list[dict[str, str]]:
    """Name and dtype of each column: as the training rows have them, else as far as the model says."""
    names, d = models.feature_names(model), models.n_features(model)
    dtypes = _dtypes_of(rows, d) or _dtypes_known(model, d)
    return [{"name": name, "dtype": dtype} for name, dtype in zip(names, dtypes, strict=True)]


def _dtypes_of(rows: Any, d: int) -> list[str] | None:
    """The dtypes of a frame's columns or of an array."""
    schema = getattr(rows, "schema", None)
    if hasattr(rows, "dtypes"):  # pandas, polars
        found = [str(dtype).lower() for dtype in rows.dtypes]
    elif schema is not None and hasattr(schema, "types"):  # pyarrow
        found = [str(dtype) for dtype in schema.types]
    else:
        dtype = getattr(rows, "dtype", None)
        found = [] if dtype is None else [str(dtype)] * d
    return found if len(found) == d else None


def _dtypes_known(model: Any, d: int) -> list[str]:
    """Columns that an encoder has categories of hold those; all others hold numbers."""
    preprocessor, estimator = models.parts(model)
    if preprocessor is None:
        return [str(estimator.cluster_centers_.dtype)] * d
    return [_dtype_of(feature.categories) for feature in models.input_features(model)]


def _dtype_of(categories: tuple[Any, ...] | None) -> str:
    if categories is None:
        return "float64"
    kinds = {"str" if isinstance(value, str) else np.asarray(value).dtype.name for value in categories}
    return "object" if len(kinds) > 1 else kinds.pop() if kinds else "str"
