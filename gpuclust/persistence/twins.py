"""Whole models of scikit-learn's classes only."""

from __future__ import annotations

from copy import copy, deepcopy
from typing import Any


def to_sklearn(model: Any) -> Any:
    """A model, or a part of one, of scikit-learn's classes only, fitted: each step by its own `to_sklearn`.

    Parameters
    ----------
    model : fitted estimator, transformer, Pipeline or ColumnTransformer

    Returns
    -------
    The same of scikit-learn's; what is scikit-learn's already is copied.

    Raises
    ------
    TypeError, NotImplementedError
        If scikit-learn has no such class, as for K-Medians.
    NotFittedError
        If a part was not fitted.
    """
    if hasattr(model, "steps"):
        made = copy(model)
        made.steps = [(name, to_sklearn(step)) for name, step in model.steps]
        return made
    if hasattr(model, "transformers_"):
        return _columns_to_sklearn(model)
    if hasattr(model, "to_sklearn"):
        return model.to_sklearn()
    if type(model).__module__.partition(".")[0] == "gpuclust":
        raise TypeError(f"scikit-learn has no {type(model).__name__}.")
    return deepcopy(model)


def _columns_to_sklearn(model: Any) -> Any:
    """A ColumnTransformer: what it was given becomes what it fitted, so that it can be fitted again."""
    made = copy(model)
    made.transformers_ = [(name, to_sklearn(part), columns) for name, part, columns in model.transformers_]
    fitted = {name: part for name, part, _ in made.transformers_}
    made.transformers = [
        (name, part if isinstance(part, str) else fitted[name], columns) for name, part, columns in model.transformers
    ]
    if not isinstance(model.remainder, str) and "remainder" in fitted:
        made.remainder = fitted["remainder"]
        made._remainder = (*model._remainder[:1], made.remainder, *model._remainder[2:])
    return made
