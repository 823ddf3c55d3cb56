"""Format 1, which is only read: an estimator alone, its checks, and the checksum over all of it."""

from __future__ import annotations

import importlib
import math
from collections.abc import Iterator
from itertools import chain
from typing import TYPE_CHECKING, Any

from gpuclust.errors import ModelFileError
from gpuclust.files.container import digest

if TYPE_CHECKING:
    from numpy.typing import NDArray

CLASSES = {
    "KMeans": "gpuclust.estimators.kmeans",
    "MiniBatchKMeans": "gpuclust.estimators.minibatch",
    "KMedians": "gpuclust.estimators.kmedians",
    "MiniBatchKMedians": "gpuclust.estimators.minibatch_kmedians",
}  # the whitelist
TENSORS = {"cluster_centers_", "counts", "sketch"}


def decode(header: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Any:
    """The estimator of a file.

    Raises
    ------
    ModelFileError
        If the file is damaged, or not what a file of this format was.
    """
    check_model(header, tensors)
    try:
        intact = header.get("sha256") == digest(header, tensors)
    except ValueError:  # a number that was damaged into an infinite one
        intact = False
    if not intact:
        raise ModelFileError("its checksum does not match its contents")
    return _restore(header, tensors)


def check_model(header: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> None:
    """Raise ModelFileError with the first thing that is wrong."""
    for valid, reason in chain(_header_rules(header), _tensor_rules(header, tensors)):
        if not valid:
            raise ModelFileError(reason)


def _header_rules(header: dict[str, Any]) -> Iterator[tuple[bool, str]]:
    """Yield (holds, what is wrong if not); a generator, so that later rules may rely on earlier ones."""
    names, width = header.get("feature_names_in"), header.get("n_features_in")
    params = header.get("params")
    yield (
        header.get("class") in tuple(CLASSES),
        f"its class is {header.get('class')!r}, not one of {', '.join(CLASSES)}",
    )
    yield isinstance(params, dict), "its parameters are missing"
    yield all(_is_plain(value) for value in (params or {}).values()), "a parameter is not a plain value"
    yield _is_count(width) and width != 0, f"its number of features is {width!r}"
    yield (
        header.get("n_iter") is None or _is_count(header["n_iter"]),
        f"its n_iter is {header.get('n_iter')!r}",
    )
    yield (
        header.get("n_steps") is None or _is_count(header["n_steps"]),
        f"its n_steps is {header.get('n_steps')!r}",
    )
    yield (
        header.get("inertia") is None or _is_cost(header["inertia"]),
        f"its inertia is {header.get('inertia')!r}",
    )
    if names is not None:
        yield (
            isinstance(names, list) and all(type(name) is str for name in names),
            "its feature names are not text",
        )
        yield len(names) == width, f"it names {len(names)} features but has {width}"


def _tensor_rules(header: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Iterator[tuple[bool, str]]:
    import numpy as np

    yield "cluster_centers_" in tensors, "the centers are missing"
    yield set(tensors) <= TENSORS, f"it holds unknown tensors: {', '.join(sorted(set(tensors) - TENSORS))}"
    centers = tensors["cluster_centers_"]
    k = header["params"].get("n_clusters", len(centers) if centers.ndim else 0)
    expected = (k, header["n_features_in"])
    yield (
        centers.dtype in (np.float32, np.float64),
        f"the centers are {centers.dtype}, not float32 or float64",
    )
    yield centers.shape == expected and k > 0, f"the centers have shape {centers.shape}, not {expected}"
    yield bool(np.isfinite(centers).all()), "a center is NaN or infinite"
    if "counts" in tensors:
        counts = tensors["counts"]
        yield (
            counts.shape == (k,) and counts.dtype == np.float64,
            f"the counts have shape {counts.shape}, not {(k,)}",
        )
        yield bool((np.isfinite(counts) & (counts >= 0)).all()), "a count is negative, NaN or infinite"
    if "sketch" in tensors:
        kept = tensors["sketch"]
        yield (
            kept.shape[:2] == expected and kept.ndim == 3 and kept.shape[2] > 0 and kept.shape[2] % 2 == 0,
            f"the sketch has shape {kept.shape}, not {(*expected, 'an even number')}",
        )
        yield kept.dtype == centers.dtype, f"the sketch is {kept.dtype}, not {centers.dtype} as the centers"
        yield bool(np.isfinite(kept).all()), "a value of the sketch is NaN or infinite"
        yield bool((kept[:, :, 1:] >= kept[:, :, :-1]).all()), "the values of the sketch are not in order"


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


def _is_cost(value: Any) -> bool:
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def _restore(header: dict[str, Any], tensors: dict[str, NDArray[Any]]) -> Any:
    """Build the estimator; its own constructor and parameter checks have the last word on the parameters."""
    import numpy as np

    params = dict(header["params"])
    if "cuda" in str(params.get("device", "")):
        params["device"] = "auto"
    try:
        model = getattr(importlib.import_module(CLASSES[header["class"]]), header["class"])(**params)
        model._validate_params()
    except (TypeError, ValueError) as error:
        raise ModelFileError(str(error)) from None
    centers = tensors["cluster_centers_"]
    model.cluster_centers_ = centers
    model.n_features_in_ = centers.shape[1]
    if header["n_iter"] is not None:
        model.n_iter_ = header["n_iter"]
    model.device_ = "cpu"
    if header["inertia"] is not None:
        model.inertia_ = float(header["inertia"])
    if header["feature_names_in"] is not None:
        model.feature_names_in_ = np.array(header["feature_names_in"], dtype=object)
    if header["n_steps"] is not None:
        model.n_steps_ = header["n_steps"]
    if "counts" in tensors:
        model._counts = tensors["counts"]
    if "sketch" in tensors:
        model._sketch = tensors["sketch"]
    return model
