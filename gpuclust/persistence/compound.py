"""scikit-learn's Pipeline and ColumnTransformer in model files: parts that must fit each other."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np

from .kind import Checks, Kind, learnt
from .rules import fits
from .values import shown


def _check_pipeline(fitted: Any) -> Checks:
    yield _are_named(fitted.steps, 2) and len(fitted.steps) > 0, "its steps are not pairs of a name and a transformer"
    steps = [step for _, step in fitted.steps if step is not None and step != "passthrough"]
    yield all(hasattr(step, "get_params") for step in steps), "a step is neither an object nor 'passthrough'"
    yield len(steps) > 0 and steps[0] is fitted.steps[0][1], "its first step is no object"
    yield fitted.memory is None, "it has a cache"
    told = getattr(fitted, "explanation_", [])
    yield all(type(line) is str for line in told), "its explanation is not text"
    yield all(map(is_fitted, steps)), "a step is not fitted"
    for before, after in pairwise(steps):
        given, taken = width(before), width(after, out=False)
        yield given == taken, f"{_name(before)} gives {given} columns but {_name(after)} takes {taken}"


def _are_named(parts: Any, length: int) -> bool:
    tuples = isinstance(parts, list) and all(isinstance(part, tuple) and len(part) == length for part in parts)
    names = [part[0] for part in parts] if tuples else []
    return tuples and all(type(name) is str and "__" not in name for name in names) and len(set(names)) == len(names)


def _name(part: Any) -> str:
    return type(part).__name__


def is_fitted(part: Any) -> bool:
    """Whether an object of a file has learnt something; a Pipeline has its steps' word for it."""
    steps = getattr(part, "steps", None)
    return is_fitted(steps[0][1]) if steps else hasattr(part, "n_features_in_") or hasattr(part, "_n_features")


def width(part: Any, *, out: bool = True) -> int:
    """Columns that a fitted part gives, or those that it takes."""
    from .kinds import kind_of

    kind = kind_of(part)
    if kind is None:
        raise ValueError(f"{shown(part)} is no transformer")
    return kind.width(part) if out else int(getattr(part, "n_features_in_", 0) or part._n_features)


def _width_of_pipeline(fitted: Any) -> int:
    return width([step for _, step in fitted.steps if step is not None and step != "passthrough"][-1])


# --- ColumnTransformer: `transformers_` says it all; `transformers` and the private attributes follow from it ---


def split_columns(fitted: Any) -> dict[str, Any]:
    """The parameters of a fitted ColumnTransformer as a file holds them: words, but no transformers before they were
    fitted, and columns in place of functions that chose them."""
    given = [(name, part if isinstance(part, str) else None) for name, part, _ in fitted.transformers]
    return fitted.get_params(deep=False) | {
        "transformers": [(*pair, chosen) for pair, chosen in zip(given, fitted._columns, strict=True)],
        "remainder": fitted.remainder if isinstance(fitted.remainder, str) else None,
    }


def _rebuild_columns(fitted: Any) -> None:
    """Put the transformers, now fitted, in their places among the parameters."""
    valid = _are_named(fitted.transformers, 3) and _are_named(fitted.transformers_, 3)
    if not valid:
        raise ValueError("its transformers are not a name, a transformer and columns each")
    found = {name: (part, chosen) for name, part, chosen in fitted.transformers_}
    if list(found)[: len(fitted.transformers)] != [name for name, _, _ in fitted.transformers]:
        raise ValueError("its fitted transformers are others than its transformers")
    fitted.transformers = [
        (name, part if isinstance(part, str) else found[name][0], chosen) for name, part, chosen in fitted.transformers
    ]
    rest, remaining = found.get("remainder", ("drop", []))
    if fitted.remainder is None:
        fitted.remainder = rest
    fitted._columns = [chosen for _, _, chosen in fitted.transformers]
    fitted._remainder = ("remainder", fitted.remainder, remaining)
    fitted._transformer_to_input_indices = {name: _indices(fitted, chosen) for name, (_, chosen) in found.items()}
    fitted._transformer_to_input_indices.setdefault("remainder", [])


def _indices(fitted: Any, chosen: Any) -> list[int]:
    """Numbers of columns that were chosen by names, numbers, a slice or a mask."""
    d, names = fitted.n_features_in_, [str(name) for name in getattr(fitted, "feature_names_in_", [])]
    if isinstance(chosen, slice):
        start, stop = (names.index(end) if isinstance(end, str) else end for end in (chosen.start, chosen.stop))
        if isinstance(chosen.stop, str):
            stop += 1  # a slice of names includes the last
        return list(range(d)[start : stop : chosen.step])
    several = isinstance(chosen, (list, np.ndarray))  # a single name would give rows of one dimension
    listed = list(chosen) if several else []
    if not several or not all(isinstance(each, (str, int, np.integer, np.bool_)) for each in listed):
        raise ValueError(f"columns are chosen by {shown(chosen)}")
    if len(listed) == d and fits("bool[d]", np.asarray(listed), {"d": d}):
        return [int(at) for at in np.flatnonzero(listed)]
    return [names.index(each) if isinstance(each, str) else range(d)[each] for each in listed]


def _check_columns(fitted: Any) -> Checks:
    slices, start = fitted.output_indices_, 0
    for name, part, _ in fitted.transformers_:
        taken = len(fitted._transformer_to_input_indices[name])
        out = slices.get(name)
        yield isinstance(out, slice), f"it does not say where the columns of {name} are"
        if taken == 0 or part == "drop":
            yield out.start == out.stop, f"{name} has columns without having any"
            continue
        yield hasattr(part, "get_params") and is_fitted(part), f"{name} is not fitted"
        yield width(part, out=False) == taken, f"{name} takes {width(part, out=False)} columns but is given {taken}"
        yield out == slice(start, start + width(part), None), f"the columns of {name} are not where they should be"
        start += width(part)


def _width_of_columns(fitted: Any) -> int:
    return max((out.stop for out in fitted.output_indices_.values()), default=0)


COMPOUND: dict[str, Kind] = {
    "sklearn.Pipeline": Kind(
        "sklearn.pipeline",
        state={"explanation_?": "list"},  # of `make_preprocessor`
        check=_check_pipeline,
        width=_width_of_pipeline,
    ),
    "sklearn.ColumnTransformer": learnt(
        "sklearn.compose",
        state={
            "transformers_": "list", "output_indices_": "dict", "sparse_output_": "bool",
            "_transformers_feature_names_out?": "text[o]",
        },
        needless=frozenset({"_columns", "_remainder", "_transformer_to_input_indices", "_n_features"}),
        check=_check_columns,
        rebuild=_rebuild_columns,
        width=_width_of_columns,
    ),
}  # fmt: skip
