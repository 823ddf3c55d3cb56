"""Model files: tensors in safetensors, everything else as JSON in the file's metadata, a checksum over both.

The loader never imports by name and never unpickles: a file can only choose among the classes listed in
checks.py, and what it holds is checked before an estimator is built from it.
"""

from __future__ import annotations

import importlib
import json
import math
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from gpuclust.errors import ModelFileError
from gpuclust.files.atomic import atomic_write
from gpuclust.files.container import digest, read_container
from gpuclust.persistence.checks import CLASSES, check_model

if TYPE_CHECKING:
    from numpy.typing import NDArray

FORMAT_VERSION = 1
METADATA_KEY = "gpuclust"


def save_model(estimator: Any, path: str | os.PathLike[str]) -> None:
    """Save a fitted estimator to one file, which any machine with gpuclust can load, with or without a GPU.

    Parameters
    ----------
    estimator : KMeans, MiniBatchKMeans, KMedians or MiniBatchKMedians
        Fitted. Its labels are not saved: ``predict`` gives them back. Mini-batches go on from the saved
        centers, counts and sketch. Parameters that are not plain values (arrays or callables as `init`, a generator
        as `random_state`) are left out; the loaded estimator has their defaults.
    path : str or path-like
        The file to write; by custom it ends in ``.gpuclust``. It is replaced in one step, or not at all.

    Examples
    --------
    >>> import gpuclust
    >>> model = gpuclust.KMeans(2, random_state=0).fit([[0.0], [1.0], [9.0]])
    >>> gpuclust.save_model(model, "model.gpuclust")  # doctest: +SKIP
    """
    data = model_bytes(estimator)
    with atomic_write(path) as handle:
        handle.write(data)


def model_bytes(estimator: Any) -> bytes:
    """Return the content of the file that `save_model` writes."""
    from safetensors.numpy import save
    from sklearn.utils.validation import check_is_fitted

    name = type(estimator).__name__
    if name not in CLASSES or type(estimator) is not _class(name):
        raise TypeError(f"save_model saves {', '.join(CLASSES)}; a {name} is none of them.")
    check_is_fitted(estimator, "cluster_centers_")
    tensors = _tensors(estimator)
    header = _header(estimator, name)
    check_model(header, tensors)
    header["sha256"] = digest(header, tensors)
    return save(tensors, {METADATA_KEY: json.dumps(header, allow_nan=False)})


def load_model(path: str | os.PathLike[str]) -> Any:
    """Load an estimator that `save_model` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    KMeans, MiniBatchKMeans, KMedians or MiniBatchKMedians
        Fitted, on the CPU, ready for ``predict``, ``transform`` and ``score``; without ``labels_``. If it was
        made for a certain GPU (``device='cuda:1'``) its `device` is ``'auto'``: this machine may have none.

    Raises
    ------
    ModelFileError
        The file is truncated, damaged, of a newer format, or not a gpuclust model; the message says which.
    """
    metadata, tensors = read_container(path)
    header = _parse(metadata.get(METADATA_KEY), path)
    try:
        check_model(header, tensors)
    except ModelFileError as error:
        raise ModelFileError(f"{os.fspath(path)}: {error}") from None
    try:
        intact = header.get("sha256") == digest(header, tensors)
    except ValueError:  # a number that was damaged into an infinite one
        intact = False
    if not intact:
        raise ModelFileError(f"{os.fspath(path)} is damaged: its checksum does not match its contents.")
    return _restore(header, tensors, path)


def _class(name: str) -> Any:
    return getattr(importlib.import_module(CLASSES[name]), name)


def _tensors(estimator: Any) -> dict[str, NDArray[Any]]:
    import numpy as np

    tensors = {"cluster_centers_": np.ascontiguousarray(estimator.cluster_centers_)}
    if getattr(estimator, "_counts", None) is not None:  # mini-batch: how much each centre has seen
        tensors["counts"] = np.ascontiguousarray(estimator._counts, dtype=np.float64)
    if getattr(estimator, "_sketch", None) is not None:  # and of what
        tensors["sketch"] = np.ascontiguousarray(estimator._sketch)
    return tensors


def _header(estimator: Any, name: str) -> dict[str, Any]:
    params = {key: _plain(value) for key, value in estimator.get_params(deep=False).items()}
    names = getattr(estimator, "feature_names_in_", None)
    iterations = getattr(estimator, "n_iter_", None)  # partial_fit makes steps, not iterations
    steps = getattr(estimator, "n_steps_", None)
    return {
        "format_version": FORMAT_VERSION,
        "class": name,
        "params": {key: value for key, (plain, value) in params.items() if plain},
        "params_omitted": sorted(key for key, (plain, _) in params.items() if not plain),
        "n_features_in": int(estimator.n_features_in_),
        "feature_names_in": None if names is None else [str(column) for column in names],
        "inertia": _finite(getattr(estimator, "inertia_", None)),
        "n_iter": None if iterations is None else int(iterations),
        "n_steps": None if steps is None else int(steps),
        "device": str(getattr(estimator, "device_", "cpu")),
        "versions": _versions(),
        "saved": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _plain(value: Any) -> tuple[bool, Any]:
    """Return whether JSON can hold the value exactly, and the value with NumPy's scalars made Python's."""
    import numpy as np

    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float):
        return _finite(value) is not None, value
    return value is None or isinstance(value, bool | int | str), value


def _finite(value: Any) -> float | None:
    return float(value) if value is not None and math.isfinite(value) else None


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in ("gpuclust", "numpy", "scikit-learn", "safetensors"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:  # run from a source tree
            continue
    return found


def _parse(text: str | None, path: str | os.PathLike[str]) -> dict[str, Any]:
    name = os.fspath(path)
    if text is None:
        raise ModelFileError(f"{name} is a safetensors file but not a gpuclust model.")
    try:
        header = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ModelFileError(f"{name} is damaged: its metadata is not valid JSON.") from None
    if not isinstance(header, dict):
        raise ModelFileError(f"{name} is damaged: its metadata is not a JSON object.")
    found = header.get("format_version")
    if isinstance(found, int) and not isinstance(found, bool) and found > FORMAT_VERSION:
        raise ModelFileError(
            f"{name} has format {found}, newer than format {FORMAT_VERSION}, the newest that this version of "
            "gpuclust reads: run pip install --upgrade gpuclust"
        )
    if found != FORMAT_VERSION or isinstance(found, bool):
        raise ModelFileError(f"{name} is damaged: format_version is {found!r}.")
    return header


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _restore(header: dict[str, Any], tensors: dict[str, NDArray[Any]], path: str | os.PathLike[str]) -> Any:
    """Build the estimator; its own constructor and parameter checks have the last word on the parameters."""
    import numpy as np

    params = dict(header["params"])
    if str(params.get("device", "")).startswith("cuda"):
        params["device"] = "auto"
    try:
        model = _class(header["class"])(**params)
        model._validate_params()
    except (TypeError, ValueError) as error:
        raise ModelFileError(f"{os.fspath(path)} is damaged: {error}") from None
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
