"""What a model is: a fitted clustering estimator, alone or as the last step of a scikit-learn Pipeline."""

from __future__ import annotations

from typing import Any, NamedTuple

from .validation import feature_names_of


class Model(NamedTuple):
    """The two halves of a model."""

    preprocessor: Any | None  # what rows pass before they are clustered: a fitted Pipeline of transformers
    estimator: Any  # has cluster_centers_, in the preprocessor's output


class Feature(NamedTuple):
    """One column of what a model is given."""

    name: str
    categories: tuple[Any, ...] | None = None  # the values that an encoder knows; None: a number
    missing: bool = False  # whether the model has a way with missing values


def parts(model: Any) -> Model:
    """A model as its preprocessor and its estimator.

    Raises
    ------
    TypeError
        If it is neither an estimator with centres nor a Pipeline that ends in one.
    """
    steps = getattr(model, "steps", None)
    estimator = model if steps is None else steps[-1][1]
    if not hasattr(estimator, "predict") or not hasattr(estimator, "n_clusters"):
        raise TypeError(f"A model is a clustering estimator or a Pipeline that ends in one, not {model!r}.")
    return Model(model[:-1] if steps is not None and len(steps) > 1 else None, estimator)


def n_features(model: Any) -> int:
    """How many columns rows have before any preprocessing."""
    return int(model.n_features_in_)


def feature_names(model: Any) -> list[str]:
    """What those columns are called; x0, x1, ... where they have no names."""
    return feature_names_of(model, n_features(model))
