"""scikit-learn's own checks of estimators, and that names and parameters are its own."""

from __future__ import annotations

import inspect

import numpy as np
import pandas as pd
import pytest
import sklearn.impute
import sklearn.preprocessing
from sklearn.utils import get_tags
from sklearn.utils.estimator_checks import parametrize_with_checks

from gpuclust.preprocessing import (
    FrequencyEncoder,
    MinMaxScaler,
    OutlierFilter,
    RobustScaler,
    SimpleImputer,
    StandardScaler,
    Winsorizer,
)

pytestmark = pytest.mark.usefixtures("one_thread")
THEIRS = {
    StandardScaler: sklearn.preprocessing.StandardScaler,
    MinMaxScaler: sklearn.preprocessing.MinMaxScaler,
    RobustScaler: sklearn.preprocessing.RobustScaler,
    SimpleImputer: sklearn.impute.SimpleImputer,
}
CHECKS = parametrize_with_checks(
    [
        StandardScaler(), StandardScaler(with_mean=False), MinMaxScaler(), RobustScaler(), SimpleImputer(),
        SimpleImputer(strategy="median"), Winsorizer(), OutlierFilter(), OutlierFilter("zscore"), FrequencyEncoder(),
    ]
).mark  # fmt: skip


# A list, because scikit-learn before 1.9 hands over a generator, which new versions of pytest refuse.
@pytest.mark.parametrize(CHECKS.args[0], list(CHECKS.args[1]), **CHECKS.kwargs)
def test_estimator_checks(estimator, check):
    if "on_sparse_data" in str(check) and not get_tags(estimator).input_tags.sparse:
        pytest.skip("old versions of scikit-learn try sparse rows where none are taken")
    check(estimator)


@pytest.mark.parametrize("ours", THEIRS)
def test_parameters_are_scikit_learns_and_two(ours):
    mine, theirs = (inspect.signature(thing).parameters for thing in (ours, THEIRS[ours]))
    assert list(mine) == [*theirs, "device", "chunk_size"]
    assert all((mine[n].kind, str(mine[n].default)) == (p.kind, str(p.default)) for n, p in theirs.items())


@pytest.mark.parametrize("ours", THEIRS)
def test_frames_come_out_as_frames(ours, rng):
    X = pd.DataFrame(rng.normal(size=(20, 2)), columns=["a", "b"], index=np.arange(20) * 2)
    model = ours().set_output(transform="pandas").fit(X)
    out = model.transform(X)
    assert list(out.columns) == list(model.get_feature_names_out()) == ["a", "b"]
    pd.testing.assert_frame_equal(out, THEIRS[ours]().set_output(transform="pandas").fit(X).transform(X))


@pytest.mark.parametrize("ours", [*THEIRS, Winsorizer, OutlierFilter])
def test_devices_are_named_as_for_estimators(ours):
    for device in ("cuda:all", ["cuda:0", "cuda:1"]):
        ours(device=device)._validate_params()
    with pytest.raises(ValueError, match="device"):
        ours(device=3)._validate_params()
