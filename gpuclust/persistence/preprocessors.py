"""gpuclust.preprocessing in model files: what its classes learn, and what must hold of it."""

from __future__ import annotations

from typing import Any

from .encoders import ENCODERS, check_categories
from .kind import Checks, Kind, learnt
from .rules import fits
from .transformers import TRANSFORMERS

_HOME = "gpuclust.preprocessing"


def _check_caps(fitted: Any) -> Checks:
    yield bool((fitted.lower_ <= fitted.upper_).all()), "a lower cap is above the upper one"


def _check_frequencies(fitted: Any) -> Checks:
    yield from check_categories(fitted)
    found, shares = fitted.categories_, fitted.frequencies_
    yield len(shares) == len(found), f"it has shares of {len(shares)} features, not {len(found)}"
    for values, each in zip(found, shares, strict=True):
        valid = fits("cost[c]", each, {"c": len(values)}) and bool((each <= 1).all())
        yield valid, f"the frequencies of a feature are not {len(values)} shares"


PREPROCESSORS: dict[str, Kind] = {
    f"gpuclust.{name}": TRANSFORMERS[f"sklearn.{name}"]._replace(home=_HOME)  # derived from scikit-learn's
    for name in ("StandardScaler", "MinMaxScaler", "RobustScaler", "SimpleImputer")
} | {
    "gpuclust.Winsorizer": learnt(_HOME, state={"lower_": "number[d]", "upper_": "number[d]"}, check=_check_caps),
    "gpuclust.OneHotEncoder": ENCODERS["sklearn.OneHotEncoder"]._replace(home=_HOME),
    "gpuclust.FrequencyEncoder": learnt(
        _HOME, state={"categories_": "list", "frequencies_": "list"}, check=_check_frequencies
    ),
}
