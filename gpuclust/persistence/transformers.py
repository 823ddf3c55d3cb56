"""scikit-learn's transformers of numbers in model files: what they learn, and what must hold of it."""

from __future__ import annotations

from typing import Any

import numpy as np

from .kind import Checks, Kind, learnt


def _needs(**attributes: str) -> Any:
    """A check that an attribute is there where a parameter asks for it."""

    def check(fitted: Any) -> Checks:
        for parameter, attribute in attributes.items():
            there = getattr(fitted, attribute, None) is not None
            yield there or not getattr(fitted, parameter), f"it has no {attribute}, which {parameter} needs"

    return check


def _check_imputer(fitted: Any) -> Checks:
    indicator = fitted.indicator_
    yield not callable(fitted.strategy), "its strategy is a function"
    yield from _check_indicator(fitted, indicator)


def _check_indicator(fitted: Any, indicator: Any) -> Checks:
    yield (indicator is not None) == fitted.add_indicator, "its indicator does not agree with add_indicator"
    if indicator is not None:
        named = type(indicator).__name__ == "MissingIndicator" and hasattr(indicator, "features_")
        yield named, "its indicator is not a fitted MissingIndicator"
        yield indicator._n_features == fitted.n_features_in_, "its indicator has another number of features"


def _rebuild_imputer(fitted: Any) -> None:
    if not hasattr(fitted, "_fill_dtype"):  # scikit-learn before 1.7 had one type for both
        fitted._fill_dtype = fitted._fit_dtype


def _kept_of_imputer(fitted: Any) -> int:
    """Columns without a value are dropped, unless asked for; the indicator adds its own."""
    statistics = fitted.statistics_
    empty = 0 if fitted.strategy == "constant" or fitted.keep_empty_features else int(np.sum(statistics != statistics))
    return len(statistics) - empty + _width_of_indicator(fitted.indicator_)


def _width_of_indicator(indicator: Any) -> int:
    return 0 if indicator is None else len(indicator.features_)


def _check_missing(fitted: Any) -> Checks:
    features, d = fitted.features_, fitted._n_features
    yield bool((features < d).all() and (np.diff(features) > 0).all()), "its features are not rising numbers of columns"
    yield getattr(fitted, "n_features_in_", d) == d, "it has two numbers of features"


def _rebuild_neighbours(fitted: Any) -> None:
    from sklearn.utils._mask import _get_mask

    fitted._mask_fit_X = _get_mask(fitted._fit_X, fitted.missing_values)
    fitted._valid_mask = ~np.all(fitted._mask_fit_X, axis=0)


def _check_neighbours(fitted: Any) -> Checks:
    yield len(fitted._fit_X) > 0, "it has no rows"
    yield not callable(fitted.metric) and not callable(fitted.weights), "its metric or its weights are a function"
    yield from _check_indicator(fitted, fitted.indicator_)


def _kept_of_neighbours(fitted: Any) -> int:
    kept = fitted.n_features_in_ if fitted.keep_empty_features else int(np.sum(fitted._valid_mask))
    return kept + _width_of_indicator(fitted.indicator_)


def _check_threshold(fitted: Any) -> Checks:
    yield bool((fitted.variances_ > fitted.threshold).any()), "no feature exceeds its threshold"


def _check_function(fitted: Any) -> Checks:
    yield fitted.func is None or isinstance(fitted.func, np.ufunc), "its func is not a function"
    yield fitted.inverse_func is None or isinstance(fitted.inverse_func, np.ufunc), "its inverse_func is not a function"
    yield not callable(fitted.feature_names_out), "its feature_names_out is a function"
    yield not fitted.kw_args and not fitted.inv_kw_args, "its function has further arguments"


TRANSFORMERS: dict[str, Kind] = {
    "sklearn.StandardScaler": learnt(
        "sklearn.preprocessing",
        state={
            "n_samples_seen_": "cost | cost[d]", "mean_": "number[d] | none", "var_": "number[d] | none",
            "scale_": "scale[d] | none",
        },
        check=_needs(with_mean="mean_", with_std="scale_"),
    ),
    "sklearn.MinMaxScaler": learnt(
        "sklearn.preprocessing",
        state={
            "n_samples_seen_": "count", "scale_": "scale[d]", "min_": "number[d]", "data_min_": "number[d]",
            "data_max_": "number[d]", "data_range_": "number[d]",
        },
    ),
    "sklearn.MaxAbsScaler": learnt(
        "sklearn.preprocessing", state={"n_samples_seen_": "count", "scale_": "scale[d]", "max_abs_": "number[d]"}
    ),
    "sklearn.RobustScaler": learnt(
        "sklearn.preprocessing",
        state={"center_": "number[d] | none", "scale_": "scale[d] | none"},
        check=_needs(with_centering="center_", with_scaling="scale_"),
    ),
    "sklearn.FunctionTransformer": learnt("sklearn.preprocessing", check=_check_function),
    "sklearn.PCA": learnt(
        "sklearn.decomposition",
        state={
            "components_": "finite[c,d]", "mean_": "finite[d]", "explained_variance_": "cost[c]",
            "explained_variance_ratio_": "number[c]", "singular_values_": "cost[c]", "noise_variance_": "cost",
            "n_components_": "size", "n_samples_": "size", "_fit_svd_solver?": "text",
        },
        width=lambda fitted: len(fitted.components_),
    ),
    "sklearn.VarianceThreshold": learnt(
        "sklearn.feature_selection",
        state={"variances_": "cost[d]"},
        check=_check_threshold,
        width=lambda fitted: int(np.sum(fitted.variances_ > fitted.threshold)),
    ),
    "sklearn.SimpleImputer": learnt(
        "sklearn.impute",
        state={
            "statistics_": "value[d]", "indicator_": "object | none", "_fit_dtype": "dtype", "_fill_dtype?": "dtype",
        },
        check=_check_imputer,
        rebuild=_rebuild_imputer,
        width=_kept_of_imputer,
    ),
    "sklearn.KNNImputer": learnt(
        "sklearn.impute",
        state={"_fit_X": "number[n,d]", "indicator_": "object | none"},
        needless=frozenset({"_mask_fit_X", "_valid_mask"}),
        check=_check_neighbours,
        rebuild=_rebuild_neighbours,
        width=_kept_of_neighbours,
    ),
    "sklearn.MissingIndicator": Kind(
        "sklearn.impute",
        state={
            "n_features_in_?": "size", "feature_names_in_?": "text[d]", "_n_features": "size", "features_": "count[f]",
            "_precomputed": "bool",
        },
        check=_check_missing,
        width=lambda fitted: len(fitted.features_),
    ),
}  # fmt: skip
