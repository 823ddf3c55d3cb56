"""What goes in and what comes out: containers, precision, memory layout, names.

scikit-learn's own estimators are the oracle wherever they accept the call.
"""

import numpy as np
import pytest
import scipy.sparse

from .oracle import BOTH, KINDS, START, WEIGHT, X, assert_same_state, container, fitted, ours_only, pair


@ours_only
@KINDS
@BOTH
def test_float32_stays_float32(name, kind):
    single = X.astype(np.float32)
    model = fitted(name, container(kind, single))
    assert model.cluster_centers_.dtype == np.float32
    assert_same_state(model, fitted(name, single))
    assert model.transform(container(kind, single)).dtype == np.float32
    np.testing.assert_array_equal(model.predict(container(kind, single)), model.labels_)


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64, np.uint16, np.float64])
@KINDS
@BOTH
def test_everything_else_gives_float64_centers(name, kind, dtype):
    data = np.abs(X).astype(dtype)
    model = fitted(name, container(kind, data))
    assert model.cluster_centers_.dtype == np.float64
    assert_same_state(model, fitted(name, data.astype(np.float64)))


@BOTH
@pytest.mark.parametrize(
    "data", [X.astype(object), X.tolist(), X.astype(">f8")], ids=["object", "list", "big-endian"]
)
def test_unusual_arrays_are_the_numbers_that_they_hold(name, data):
    assert_same_state(fitted(name, data), fitted(name))


@ours_only
@BOTH
def test_a_model_predicts_data_of_any_precision_and_form(name):
    model = fitted(name, X.astype(np.float32))
    for data in (X, X.tolist(), np.asfortranarray(X), scipy.sparse.csr_array(X), scipy.sparse.csc_array(X)):
        np.testing.assert_array_equal(model.predict(data), model.labels_)
    assert model.predict(np.zeros((2, 3), dtype=int)).shape == (2,)


def memory_mapped(data, folder):
    np.save(folder / "X.npy", data)
    return np.load(folder / "X.npy", mmap_mode="r")


LAYOUTS = {
    "read-only": lambda data, folder: data.copy(),
    "F-order": lambda data, folder: np.asfortranarray(data),
    "strided": lambda data, folder: np.repeat(data, 2, axis=0)[::2],
    "reversed": lambda data, folder: np.ascontiguousarray(data[::-1])[::-1],
    "memmap": memory_mapped,
    "writable memmap": lambda data, folder: np.memmap(folder / "X", data.dtype, "w+", shape=data.shape),
}


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("layout", LAYOUTS)
@BOTH
def test_inputs_of_any_layout_are_left_alone(name, layout, dtype, tmp_path):
    plain = X.astype(dtype)
    data, weight, start = LAYOUTS[layout](plain, tmp_path), WEIGHT.copy(), START.astype(dtype)
    if data.flags.writeable:
        data[...] = plain
        data.flags.writeable = layout == "writable memmap"
    weight.flags.writeable = start.flags.writeable = False
    ours = pair(name, init=start)[0].fit(data, sample_weight=weight)
    ours.transform(data), ours.score(data, None, weight)
    np.testing.assert_array_equal(data, plain)
    np.testing.assert_array_equal(ours.predict(data), ours.labels_)
    assert_same_state(ours, pair(name, init=start)[0].fit(plain, sample_weight=weight))


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
@BOTH
def test_feature_names_are_remembered_and_compared(name, kind):
    model = fitted(name, container(kind, X))
    assert model.feature_names_in_.tolist() == ["a", "b", "c"]
    assert model.feature_names_in_.dtype == object
    swapped = container("pandas", X)[["b", "a", "c"]]
    with pytest.raises(ValueError, match="The feature names should match those that were passed during fit"):
        model.predict(swapped)
    with pytest.warns(
        UserWarning, match="X does not have valid feature names, but .* was fitted with feature names"
    ):
        model.predict(X)


@BOTH
def test_unnamed_fit_warns_about_named_data(name):
    with pytest.warns(UserWarning, match="X has feature names, but .* was fitted without feature names"):
        fitted(name).predict(container("pandas", X))


@BOTH
@pytest.mark.parametrize("kind", ["pandas", "polars"])
def test_set_output_gives_scikit_learns_frame(name, kind):
    testing = pytest.importorskip(f"{kind}.testing")
    data = container(kind, X)
    if kind == "pandas":
        data.index = [f"row{i}" for i in range(len(data))]
    ours, theirs = (model.set_output(transform=kind).fit(data) for model in pair(name))
    theirs.cluster_centers_ = ours.cluster_centers_  # only the frame is compared, not the fit
    testing.assert_frame_equal(ours.transform(data), theirs.transform(data))
    assert ours.get_feature_names_out().tolist() == [f"{name.lower()}{i}" for i in range(3)]
    assert list(ours.fit_transform(data).columns) == list(ours.get_feature_names_out())
    assert isinstance(ours.set_output(transform="default").transform(data), np.ndarray)
