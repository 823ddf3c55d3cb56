"""What a model is: a fitted clustering estimator, alone or as the last step of a scikit-learn Pipeline."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np
from sklearn.base import OneToOneFeatureMixin
from sklearn.impute import KNNImputer, SimpleImputer
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, OrdinalEncoder, TargetEncoder
from sklearn.utils import get_tags

from .data.columns import column_names, library, wrong_columns_told
from .preprocessing import FrequencyEncoder
from .preprocessing.onehot import alike
from .validation import feature_names_of

IMPUTERS = SimpleImputer, KNNImputer
ENCODERS = OneHotEncoder, FrequencyEncoder, OrdinalEncoder, TargetEncoder


class Model(NamedTuple):
    """The two halves of a model."""

    preprocessor: Any | None  # what rows pass before they are clustered: a fitted Pipeline of transformers
    estimator: Any  # has cluster_centers_, in the preprocessor's output


class Feature(NamedTuple):
    """One column of what a model is given."""

    name: str
    categories: tuple[Any, ...] | None = None  # the values that an encoder knows; None: a number
    missing: bool = False  # whether the model has a way with missing values
    signs: tuple[Any, ...] = ()  # what stood for a missing category in the training rows: None, NaN, or both
    used: bool = True  # False: it is dropped before anything is made of it, and may hold anything


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


def input_features(model: Any) -> list[Feature]:
    """The columns of the rows that a model is given, before any preprocessing.

    Categories are those that an encoder has seen. A column may be missing where something fills it or counts it as a
    category, or where it is dropped.

    Raises
    ------
    TypeError
        If it is no model.
    """
    preprocessor, estimator = parts(model)
    needs = [Feature("")] * int(estimator.n_features_in_)
    if preprocessor is not None:
        needs = _needs(preprocessor, needs)
    return [need._replace(name=name) for name, need in zip(feature_names(model), needs, strict=True)]


def used_features(model: Any) -> np.ndarray:
    """Which columns of its rows a model makes anything of, bool [d]."""
    return np.array([feature.used for feature in input_features(model)])


def _needs(part: Any, after: list[Feature]) -> list[Feature]:
    """What a step is given, by what the next one is given."""
    for _, step in reversed(getattr(part, "steps", [])):
        after = _needs(step, after)
    if hasattr(part, "steps") or _is_identity(part):
        return after
    if hasattr(part, "transformers_"):
        return _needs_of_columns(part, after)
    if isinstance(part, ENCODERS):
        return [_need_of_categories(part, list(values)) for values in part.categories_]
    if isinstance(part, IMPUTERS):
        fills = _absent(part.missing_values)
        needs = [Feature("", None, fills)] * int(part.n_features_in_)
        for j, f in enumerate(_imputed(part)):
            signs = (part.missing_values,) if fills and after[j].categories is not None else after[j].signs
            needs[f] = after[j]._replace(missing=fills, signs=signs, used=True)
        return needs
    if isinstance(part, OneToOneFeatureMixin):
        keeps = get_tags(part).input_tags.allow_nan
        return [need._replace(missing=need.missing and keeps, used=True) for need in after]
    return [Feature("")] * int(part.n_features_in_)


def _needs_of_columns(part: Any, after: list[Feature]) -> list[Feature]:
    needs: list[Feature | None] = [None] * int(part.n_features_in_)
    for name, step, columns in _used(part):
        given = _needs(step, after[part.output_indices_[name]])
        for f, need in zip(columns, given, strict=True):
            old = needs[f]
            needs[f] = need if old is None else _both(old, need)
    return [Feature("", None, True, used=False) if need is None else need for need in needs]


def _both(one: Feature, other: Feature) -> Feature:
    """What a column must be that two steps are given."""
    categories, missing = one.categories or other.categories, one.missing and other.missing
    return Feature("", categories, missing, one.signs + other.signs, one.used or other.used)


def _need_of_categories(part: Any, values: list[Any]) -> Feature:
    there = tuple(value for value in values if not _absent(value))
    anything = isinstance(part, FrequencyEncoder | TargetEncoder) or part.handle_unknown in (
        "ignore", "infrequent_if_exist", "warn", "use_encoded_value",
    )  # fmt: skip
    signs = tuple(value for value in values if _absent(value))
    return Feature("", there, anything or bool(signs), signs)


def _absent(value: Any) -> bool:
    return value is None or value != value


class Given:
    """Rows from elsewhere as a model was given them in its training.

    scikit-learn's encoders tell None from NaN, and files, JSON and DataFrames take one for the other: what is missing
    in a column of categories becomes what it was in training. A column that had both there is left as it is.

    Parameters
    ----------
    model : fitted Pipeline
    """

    def __init__(self, model: Any):
        features = input_features(model)
        self._preprocessor: Any = parts(model).preprocessor
        self._names: Sequence[Any] | None = getattr(model, "feature_names_in_", None)
        kinds = [{sign is None for sign in feature.signs} for feature in features]
        self._signs = {f: features[f].signs[0] for f, kind in enumerate(kinds) if len(kind) == 1}
        self._numbers = [f for f, each in enumerate(features) if each.categories is None and each.used]

    def __call__(self, rows: Any) -> Any:
        """A DataFrame or array [n, d], not changed."""
        if not self._signs:
            return rows
        places = self._places(rows, self._signs)
        return alike(rows, {at: self._signs[f] for f, at in places.items()})

    def preprocessed(self, rows: Any) -> Any:
        """What the model's preprocessing makes of such rows.

        Raises
        ------
        DataError
            If a column of numbers has text.
        """
        with wrong_columns_told(rows, list(self._places(rows, self._numbers).values())):
            return self._preprocessor.transform(rows)

    def _places(self, rows: Any, features: Iterable[int]) -> dict[int, int]:
        """Which columns of the rows those are: by name where there are names, as a ColumnTransformer finds them."""
        if self._names is None or library(rows) is None:
            return {f: f for f in features}
        there = {name: at for at, name in enumerate(column_names(rows))}
        return {f: there[self._names[f]] for f in features if self._names[f] in there}


class Centers(NamedTuple):
    """Centres of clusters as a table."""

    columns: list[str]
    values: np.ndarray  # f64 [k, columns]


def centers_in_input_units(model: Any) -> Centers:
    """The centres of a model in the units of the rows that it is given, in the order of their columns.

    Numbers are carried back through every scaler. A category that was one-hot encoded is a column "name=category": the
    share of the cluster's rows that have it, for means. One that was encoded by frequency is a column "name frequency".
    Columns that are dropped are left out.

    Raises
    ------
    TypeError
        If it is no model.
    ValueError
        If a step has no way back.
    """
    preprocessor, estimator = parts(model)
    columns = sorted(_carried(preprocessor, estimator.cluster_centers_), key=lambda column: column.feature)
    names = feature_names(model)
    return Centers([names[c.feature] + c.label for c in columns], np.stack([c.values for c in columns], axis=1))


class InputUnits:
    """What a preprocessor makes, column by column in the units of what it is given; in place of a scaler in profiles.

    Parameters
    ----------
    preprocessor : Pipeline of transformers
        Fitted; every step changes each feature by itself.

    Attributes
    ----------
    columns : list of str
        What the preprocessor's columns are in those units, as in `centers_in_input_units`.

    Raises
    ------
    ValueError
        If a step has no way back, or mixes features.
    """

    def __init__(self, preprocessor: Any):
        self._preprocessor, self._n_columns = preprocessor, len(preprocessor.get_feature_names_out())
        names = feature_names(preprocessor)
        self.columns = [names[c.feature] + c.label for c in self._back(np.zeros((1, self._n_columns)))]

    def inverse_transform(self, X: Any) -> np.ndarray:
        """Rows f64 [n, columns] in the units of the input, in the same columns."""
        return np.stack([column.values for column in self._back(X)], axis=1)

    def _back(self, X: Any) -> list[_Column]:
        columns = sorted(_carried(self._preprocessor, X), key=lambda column: column.origin)
        if [column.origin for column in columns] != list(range(self._n_columns)):
            raise ValueError("A step mixes features, so that its columns have no units of the input.")
        return columns


class _Column(NamedTuple):
    """One column of what a step makes, or is given."""

    feature: int
    label: str  # what it tells of the feature; empty: its value
    values: np.ndarray  # f64 [k]
    origin: int  # of which column of the last step; -1: of several


def _carried(preprocessor: Any, X: Any) -> list[_Column]:
    """Columns of the input, from those f64 [k, d] of what a preprocessor makes."""
    X = np.asarray(X, np.float64)
    columns = [_Column(f, "", X[:, f], f) for f in range(X.shape[1])]
    return columns if preprocessor is None else _back(preprocessor, columns)


def _back(part: Any, columns: list[_Column]) -> list[_Column]:
    """Columns of what a step is given, from those of what it makes."""
    for _, step in reversed(getattr(part, "steps", [])):
        columns = _back(step, columns)
    if hasattr(part, "steps") or _is_identity(part):
        return columns
    if hasattr(part, "transformers_"):
        return _back_through_columns(part, columns)
    if isinstance(part, OneHotEncoder):
        labels = _one_hot_labels(part)
        return [c._replace(feature=labels[c.feature][0], label=labels[c.feature][1]) for c in columns]
    if isinstance(part, ENCODERS):
        label = " frequency" if isinstance(part, FrequencyEncoder) else " encoded"
        return [c._replace(label=label) for c in columns]
    if isinstance(part, IMPUTERS):
        kept = _imputed(part)
        return [c._replace(feature=int(kept[c.feature])) for c in columns if c.feature < len(kept)]
    return _inverted(part, columns)


def _back_through_columns(part: Any, columns: list[_Column]) -> list[_Column]:
    found = []
    for name, step, inputs in _used(part):
        made = part.output_indices_[name]
        own = [c._replace(feature=c.feature - made.start) for c in columns if made.start <= c.feature < made.stop]
        found += [c._replace(feature=inputs[c.feature]) for c in _back(step, own)]
    return found


def _inverted(part: Any, columns: list[_Column]) -> list[_Column]:
    """Numbers through a step's inverse."""
    told = [c for c in columns if c.label]
    numbers = sorted((c for c in columns if not c.label), key=lambda c: c.feature)
    lost = isinstance(part, FunctionTransformer) and part.inverse_func is None and part.func is not np.clip
    if not hasattr(part, "inverse_transform") or lost or (told and not isinstance(part, OneToOneFeatureMixin)):
        raise ValueError(f"Centers cannot be carried back through {type(part).__name__}: it has no inverse.")
    if not numbers:
        return told
    alone = isinstance(part, OneToOneFeatureMixin)
    rows = np.full((len(numbers[0].values), int(part.n_features_in_) if alone else len(numbers)), np.nan)
    rows[:, [c.feature for c in numbers]] = np.stack([c.values for c in numbers], axis=1)
    back = np.asarray(part.inverse_transform(rows), np.float64)
    if alone:
        return [c._replace(values=back[:, c.feature]) for c in numbers] + told
    return [_Column(f, "", back[:, f], -1) for f in range(back.shape[1])]


def _is_identity(part: Any) -> bool:
    return part is None or isinstance(part, str) or (isinstance(part, FunctionTransformer) and part.func is None)


def _imputed(part: Any) -> np.ndarray:
    """Which features an imputer keeps, i64; indicators come after them."""
    known = getattr(part, "statistics_", None)
    if known is not None:
        return np.flatnonzero([not _absent(value) for value in known])
    kept = np.ones(int(part.n_features_in_), bool) if part.keep_empty_features else part._valid_mask
    return np.flatnonzero(kept)


def _one_hot_labels(part: Any) -> list[tuple[int, str]]:
    """The feature of every column that an encoder makes, and which of its categories that is."""
    labels = []
    rare = getattr(part, "infrequent_categories_", None) or [None] * len(part.categories_)
    dropped = [None] * len(part.categories_) if part.drop_idx_ is None else list(part.drop_idx_)
    for f, values in enumerate(part.categories_):
        few = set() if rare[f] is None else set(rare[f])
        names = ["missing" if _absent(v) else str(v) for i, v in enumerate(values) if i != dropped[f] and v not in few]
        labels += [(f, f"={name}") for name in [*names, *(["others"] if few else [])]]
    return labels


def _used(part: Any) -> Iterable[tuple[str, Any, list[int]]]:
    """The parts of a ColumnTransformer that make columns, and which columns they are given."""
    for name, step, _ in part.transformers_:
        columns = [int(column) for column in part._transformer_to_input_indices[name]]
        if columns and not isinstance(step, str):
            yield name, step, columns
