"""make_preprocessor: a pipeline from the types of a DataFrame's columns, and why it is as it is."""

from __future__ import annotations

from typing import Any, Final

import numpy as np
from sklearn.compose import ColumnTransformer
from sklearn.impute import KNNImputer
from sklearn.pipeline import Pipeline

from ..profiling.rows import listed
from .frequency import FrequencyEncoder
from .imputer import SimpleImputer
from .kinds import Choice, Facts, all_single, choice_of, facts_of
from .onehot import OneHotEncoder
from .scalers import MinMaxScaler, RobustScaler, StandardScaler
from .winsorizer import Winsorizer

SCALERS: Final = {"robust": RobustScaler, "standard": StandardScaler, "minmax": MinMaxScaler, "none": None}
IMPUTERS: Final = ("median", "mean", "most_frequent", "knn", "none")
OPTIONS: Final[dict[str, tuple[str, ...]]] = {
    "scale": tuple(SCALERS),
    "impute": IMPUTERS,
    "categorical": ("onehot", "frequency", "drop"),
    "outliers": ("winsorize", "none"),
    "missing": ("keep", "drop"),
}
SCALED: Final = {
    "robust": "have their median subtracted and are divided by their interquartile range, which outliers hardly move",
    "standard": "have mean 0 and variance 1",
    "minmax": "lie between 0 and 1",
    "none": "keep their units, so that those with the widest range decide",
}
BECOMES: Final = {
    "number": "numbers", "boolean": "0 and 1", "onehot": "one column per category", "frequency": "frequencies",
    "drop": "dropped",
}  # fmt: skip


def make_preprocessor(
    df: Any,
    scale: str | None = "robust",
    impute: str | None = "median",
    categorical: str = "onehot",
    outliers: str | None = None,
    missing: str = "keep",
) -> Pipeline:
    """An unfitted pipeline that turns rows like those of a DataFrame into numbers that can be clustered.

    Parameters
    ----------
    df : DataFrame (pandas, polars or pyarrow)
        Its columns' types and values decide; the pipeline is not fitted on it. A sample of the rows will do.
    scale : {'robust', 'standard', 'minmax', 'none', None}, default='robust'
        How numbers are scaled. Columns of categories and booleans lie in [0, 1] and are left alone.
    impute : {'median', 'mean', 'most_frequent', 'knn', 'none', None}, default='median'
        What fills missing numbers; 'knn': scikit-learn's KNNImputer, on the scaled numbers.
    categorical : {'onehot', 'frequency', 'drop'}, default='onehot'
        A column for each category (frequencies where there are more than 30), or the frequency of the category.
    outliers : {None, 'none', 'winsorize'}, default=None
        'winsorize': values beyond the 1st and the 99th percentile are moved to these, before all else.
    missing : {'keep', 'drop'}, default='keep'
        'drop': columns of which more than half is missing are dropped, and nothing is filled: drop the incomplete rows
        first, with `drop_missing`, since no step of a Pipeline can.

    Returns
    -------
    Pipeline
        Of one step, 'columns', a ColumnTransformer. `explanation_` is a list of sentences: what becomes of each column,
        and why. Join it to an estimator by `make_pipeline(preprocessor, KMeans(8))`.

    Raises
    ------
    ValueError
        If an option is none of these, or no column is left.
    TypeError
        If `df` is no DataFrame.
    ImportError
        If pandas is not installed.

    Examples
    --------
    >>> import pandas as pd
    >>> from gpuclust.preprocessing import make_preprocessor
    >>> df = pd.DataFrame({"age": [30.5, 41.0, 25.0], "city": ["Bonn", "Ulm", "Bonn"]})
    >>> make_preprocessor(df).fit_transform(df).shape
    (3, 3)
    """
    options = {"scale": scale, "impute": impute, "categorical": categorical, "outliers": outliers, "missing": missing}
    chosen = {name: _checked(name, value) for name, value in options.items()}
    facts = facts_of(df)
    choices = [choice_of(each, chosen["categorical"], chosen["missing"]) for each in facts]
    named: dict[str, list[Any]] = {role: [c.name for c in choices if c.role == role] for role in BECOMES}
    if len(named["drop"]) == len(choices):
        raise ValueError("No column is left to cluster. " + " ".join(_columns_told(choices)))
    columns = ColumnTransformer(
        _transformers(named, chosen, np.float32 if all_single(facts) else np.float64), sparse_threshold=0,
        verbose_feature_names_out=False,
    )  # fmt: skip
    made = Pipeline([("columns", columns)])
    made.explanation_ = [*_columns_told(choices), *_steps_told(named, facts, chosen)]
    return made


def _checked(name: str, value: Any) -> str:
    value = "none" if value is None else value
    if value not in OPTIONS[name]:
        raise ValueError(f"{name}={value!r} is none of {', '.join(map(repr, OPTIONS[name]))}.")
    return str(value)


def _transformers(named: dict[str, list[Any]], chosen: dict[str, str], dtype: Any) -> list[tuple[str, Any, list[Any]]]:
    """The ColumnTransformer's parts, for the roles that columns have."""
    fills = chosen["missing"] == "keep" and chosen["impute"] != "none"
    made = {
        "number": _numbers(chosen, fills),
        "boolean": SimpleImputer(strategy="median") if fills else "passthrough",
        "onehot": OneHotEncoder(handle_unknown="ignore", sparse_output=False, dtype=dtype),
        "frequency": FrequencyEncoder(dtype=dtype),
    }
    return [(role, part, named[role]) for role, part in made.items() if named[role]]


def _numbers(chosen: dict[str, str], fills: bool) -> Any:
    """The steps of the numbers: neighbours are looked for among scaled numbers, means are scaled with the others."""
    knn = fills and chosen["impute"] == "knn"
    scaler = SCALERS[chosen["scale"]]
    steps = [
        ("winsorize", Winsorizer() if chosen["outliers"] == "winsorize" else None),
        ("impute", SimpleImputer(strategy=chosen["impute"]) if fills and not knn else None),
        ("scale", None if scaler is None else scaler()),
        ("neighbors", KNNImputer() if knn else None),
    ]
    left = [(name, step) for name, step in steps if step is not None]
    return Pipeline(left) if left else "passthrough"


def _columns_told(choices: list[Choice]) -> list[str]:
    return [f"{choice.name}: {BECOMES[choice.role]}, because {choice.reason}." for choice in choices]


def _steps_told(named: dict[str, list[Any]], facts: list[Facts], chosen: dict[str, str]) -> list[str]:
    """What is done to the columns that are used."""
    told = []
    if named["number"]:
        told.append(f"Numbers {SCALED[chosen['scale']]}.")
        if chosen["outliers"] == "winsorize":
            told.append("Numbers beyond the 1st and the 99th percentile are moved to these first.")
    if chosen["missing"] == "drop":
        told.append("Rows with a missing value are to be dropped before: the pipeline cannot do it.")
        return told
    lacking = [each.name for each in facts if each.missing and each.name in named["number"] + named["boolean"]]
    which = f" ({listed(lacking)})" if lacking else ""
    if chosen["impute"] == "knn":
        told.append(f"Missing numbers{which} are filled from the 5 nearest rows that have them.")
    elif chosen["impute"] != "none":
        told.append(f"Missing numbers{which} are filled with the {chosen['impute'].replace('_', ' ')} of their column.")
    elif lacking:
        told.append(f"Missing numbers{which} are not filled, and no row that lacks one can be clustered.")
    if named["onehot"] or named["frequency"]:
        told.append("A missing category counts as a category of its own; one that the fit did not see as none.")
    return told
