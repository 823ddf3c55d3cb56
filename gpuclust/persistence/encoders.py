"""scikit-learn's encoders of categories in model files: what they learn, and what must hold of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kind import Checks, Kind, learnt
from .rules import fits

_LISTED = {"categories_": "list"}
_GROUPED = {
    "_infrequent_enabled": "bool", "_infrequent_indices?": "list", "_default_to_infrequent_mappings?": "list",
}  # fmt: skip


def check_categories(fitted: Any) -> Checks:
    """An array of distinct values for each feature; numbers are in order."""
    found, d = fitted.categories_, fitted.n_features_in_
    yield np.dtype(getattr(fitted, "dtype", float)).kind in "fiu", "its dtype is not one of numbers"
    yield len(found) == d, f"it has categories of {len(found)} features, not {d}"
    for values in found:
        yield fits("value[c]", values, {}), "the categories of a feature are not an array of plain values"
        yield _distinct(values), "the categories of a feature are not distinct, or not in order"
    if getattr(fitted, "_infrequent_enabled", False):
        yield from _check_groups(fitted, d)


def _distinct(values: np.ndarray) -> bool:
    """Numbers are searched by halving: they must rise, with NaN at the end."""
    if values.dtype.kind not in "iuf":
        known = [value for value in values.tolist() if value == value]
        return len(set(known)) == len(known) >= len(values) - 1
    last = values[:-1]
    return bool((last < values[1:]).all()) or (
        bool((last[:-1] < last[1:]).all()) and np.isnan(values[-1:]).any() and not np.isnan(last).any()
    )


def _check_groups(fitted: Any, d: int) -> Checks:
    """Infrequent categories share one code: the last."""
    infrequent = getattr(fitted, "_infrequent_indices", [])
    mappings = getattr(fitted, "_default_to_infrequent_mappings", [])
    yield len(infrequent) == len(mappings) == d, "it does not say which categories are infrequent"
    for values, rare, mapping, at in zip(fitted.categories_, infrequent, mappings, range(d), strict=True):
        codes = len(values) - (at in getattr(fitted, "_missing_indices", {}))
        yield (rare is None) == (mapping is None), "a feature has infrequent categories but no codes"
        if rare is not None:
            yield fits("count[r]", rare, {}) and fits("count[m]", mapping, {"m": codes}), "its codes have a wrong shape"
            yield rare.size > 0 and bool((rare < codes).all()), "an infrequent category does not exist"
            yield bool((mapping <= codes - len(rare)).all()), "a code of a category is too large"


def _count_of(fitted: Any, at: int) -> int:
    """Codes of a feature's categories, after those that are infrequent became one."""
    rare = fitted._infrequent_indices[at] if fitted._infrequent_enabled else None
    return len(fitted.categories_[at]) - (0 if rare is None else len(rare) - 1)


def _check_onehot(fitted: Any) -> Checks:
    yield from check_categories(fitted)
    yield not callable(fitted.feature_name_combiner), "its feature_name_combiner is a function"
    d = fitted.n_features_in_
    for name in ("drop_idx_", "_drop_idx_after_grouping"):
        dropped = getattr(fitted, name)
        yield dropped is None or fits("value[d]", dropped, {"d": d}), f"{name} is no array of {d} categories or None"
        for at, index in enumerate([] if dropped is None else dropped.tolist()):
            most = _count_of(fitted, at) if name.startswith("_") else len(fitted.categories_[at])
            there = index is None or (fits("count", index, {}) and index < most)
            yield there, f"{name} names a category that is not there"
    yield (fitted.drop_idx_ is None) == (fitted._drop_idx_after_grouping is None), "its dropped categories disagree"
    fitted._n_features_outs = fitted._compute_n_features_outs()


def _check_ordinal(fitted: Any) -> Checks:
    yield from check_categories(fitted)
    for at, index in fitted._missing_indices.items():
        valid = fits("count", at, {}) and at < fitted.n_features_in_ and fits("count", index, {})
        yield valid and index < len(fitted.categories_[at]), "it names a missing value that is not there"


def _check_target(fitted: Any) -> Checks:
    yield from check_categories(fitted)
    kind, d = fitted.target_type_, fitted.n_features_in_
    yield kind in ("continuous", "binary", "multiclass"), f"its target_type_ is {kind!r}"
    classes = len(fitted.classes_) if kind == "multiclass" else 1
    rule = "finite[c]" if kind == "multiclass" else "finite"
    yield fits(rule, fitted.target_mean_, {"c": classes}), f"its target_mean_ is not {rule}"
    yield len(fitted.encodings_) == d * classes, f"it has {len(fitted.encodings_)} encodings, not {d * classes}"
    for at, codes in enumerate(fitted.encodings_):
        size = len(fitted.categories_[at // classes])
        yield fits("finite[c]", codes, {"c": size}), f"an encoding is not an array of {size} finite numbers"


ENCODERS: dict[str, Kind] = {
    "sklearn.OneHotEncoder": learnt(
        "sklearn.preprocessing",
        state=_LISTED | _GROUPED | {"drop_idx_": "value[d] | none", "_drop_idx_after_grouping": "value[d] | none"},
        needless=frozenset({"_n_features_outs"}),
        check=_check_onehot,
        width=lambda fitted: int(sum(fitted._n_features_outs)),
    ),
    "sklearn.OrdinalEncoder": learnt(
        "sklearn.preprocessing", state=_LISTED | _GROUPED | {"_missing_indices": "dict"}, check=_check_ordinal
    ),
    "sklearn.TargetEncoder": learnt(
        "sklearn.preprocessing",
        state=_LISTED
        | {
            "_infrequent_enabled": "bool", "target_type_": "text", "classes_?": "value[k] | none",
            "target_mean_": "finite | finite[k]", "encodings_": "list",
        },
        check=_check_target,
        width=lambda fitted: len(fitted.encodings_),
    ),
}  # fmt: skip
