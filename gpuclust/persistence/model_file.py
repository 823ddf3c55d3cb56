"""Model files: tensors in safetensors, everything else as JSON in the file's metadata, a checksum over both.

The loader never imports by name and never unpickles: a file can only choose among the classes listed in `kinds`, and
what it holds is checked before an object is built from it.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any, NamedTuple

from gpuclust.errors import ModelFileError
from gpuclust.files.atomic import atomic_write
from gpuclust.files.container import read_container, text_digest

if TYPE_CHECKING:
    import numpy as np

    from gpuclust.monitoring import TrainingSummary

FORMAT_VERSION = 2
METADATA_KEY = "gpuclust"


class ModelFile(NamedTuple):
    """What a model file holds."""

    model: Any  # an estimator, or a Pipeline that ends in one
    summary: TrainingSummary | None  # of the rows that it was fitted on
    info: dict[str, Any]  # format_version, saved, versions, class, estimator, params, features, sha256


def save_model(
    model: Any, path: str | os.PathLike[str], *, training_data: Any = None, summary: TrainingSummary | None = None
) -> None:
    """Save a fitted model to one file, which any machine with gpuclust can load, with or without a GPU.

    Parameters
    ----------
    model : KMeans, MiniBatchKMeans, KMedians, MiniBatchKMedians or a scikit-learn Pipeline that ends in one
        Fitted. The transformers of a pipeline may be gpuclust.preprocessing's, and of scikit-learn's those that
        gpuclust.persistence.kinds lists. Labels are not saved: ``predict`` gives them back. Mini-batches go on from the
        saved centers, counts and sketch. Parameters of the estimator that are not plain values (arrays or callables as
        `init`, a generator as `random_state`) are left out; the loaded one has their defaults. A KNNImputer keeps the
        rows that it was fitted on, and so does its file.
    path : str or path-like
        The file to write; by custom it ends in ``.gpuclust``. It is replaced in one step, or not at all.
    training_data : array-like, frame, stream or path of shape (n_samples, n_features), optional
        The rows that the model was fitted on, before any preprocessing: order statistics of them are stored, so that
        new rows can be compared with them (`gpuclust.monitoring.compare`). The rows themselves are not.
    summary : TrainingSummary, optional
        Those statistics, where they are known already.

    Raises
    ------
    TypeError
        If the model, or a part of it, is of a class that files do not hold.
    NotFittedError
        If it was not fitted.
    ModelFileError
        If what it has learnt is not valid, for example centers that are NaN.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> import gpuclust
    >>> model = gpuclust.KMeans(2, random_state=0).fit([[0.0], [1.0], [9.0]])
    >>> gpuclust.save_model(model, "model.gpuclust")  # doctest: +SKIP
    """
    data = model_bytes(model, training_data=training_data, summary=summary)
    with atomic_write(path) as handle:
        handle.write(data)


def model_bytes(model: Any, *, training_data: Any = None, summary: TrainingSummary | None = None) -> bytes:
    """The content of the file that `save_model` writes; see there for the parameters and errors."""
    from safetensors.numpy import save
    from sklearn.utils.validation import check_is_fitted

    from gpuclust.models import parts
    from gpuclust.persistence.clusterers import CLUSTERERS
    from gpuclust.persistence.format2 import encode
    from gpuclust.persistence.kinds import name_of

    estimator = parts(model).estimator
    if name_of(estimator) not in CLUSTERERS:
        names = ", ".join(name.removeprefix("gpuclust.") for name in CLUSTERERS)
        own = type(estimator).__name__
        raise TypeError(f"save_model saves {names}, alone or at the end of a Pipeline; a {own} is none of them.")
    check_is_fitted(estimator, "cluster_centers_")
    if training_data is not None and summary is None:
        from gpuclust.monitoring import summarize

        summary = summarize(model, training_data)
    metadata, tensors = encode(model, summary, training_data)
    return save(tensors, metadata)


def load_model(path: str | os.PathLike[str]) -> Any:
    """Load a model that `save_model` wrote.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    KMeans, MiniBatchKMeans, KMedians, MiniBatchKMedians or Pipeline
        Fitted, on the CPU, ready for ``predict``, ``transform`` and ``score``; without ``labels_``. If it was
        made for a certain GPU (``device='cuda:1'``) its `device` is ``'auto'``: this machine may have none.

    Raises
    ------
    ModelFileError
        The file is truncated, damaged, of a newer format, or not a gpuclust model; the message says which.
    OSError
        It cannot be read.
    """
    return read_model(path).model


def read_model(path: str | os.PathLike[str]) -> ModelFile:
    """Load a model, the summary of the rows that it was fitted on, and what the file says of itself.

    Parameters
    ----------
    path : str or path-like

    Returns
    -------
    ModelFile
        `info` has format_version, saved (ISO 8601, UTC), versions (of gpuclust and what it needs, when it was saved),
        class, estimator (class of the last step), params (of that), features ([{name, dtype}]) and sha256.

    Raises
    ------
    ModelFileError, OSError
        As `load_model`.
    """
    metadata, tensors = read_container(path)
    text = metadata.get(METADATA_KEY)
    if text is None:
        raise ModelFileError(f"{os.fspath(path)} is a safetensors file but not a gpuclust model.")
    try:
        return _decoded(text, metadata.get("sha256", ""), tensors)
    except ModelFileError as error:
        raise ModelFileError(f"{os.fspath(path)} is damaged or no valid model: {error}.") from None


def _decoded(text: str, checksum: str, tensors: dict[str, np.ndarray]) -> ModelFile:
    from gpuclust.persistence import format1, format2

    header = _parse(text)
    if header["format_version"] == 1:
        model, summary = format1.decode(header, tensors), None
        checksum = header["sha256"]
    else:
        if checksum != text_digest(text, tensors):
            raise ModelFileError("its checksum does not match its contents")
        model, summary = format2.decode(header, tensors)
    return ModelFile(model, summary, _info(header, model, checksum))


def _parse(text: str) -> dict[str, Any]:
    try:
        header = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError):
        raise ModelFileError("its metadata is not valid JSON") from None
    if not isinstance(header, dict):
        raise ModelFileError("its metadata is not a JSON object")
    found = header.get("format_version")
    if type(found) is not int or found < 1:
        raise ModelFileError(f"format_version is {found!r}")
    if found > FORMAT_VERSION:
        raise ModelFileError(
            f"it has format {found}, newer than format {FORMAT_VERSION}, the newest that this version of gpuclust"
            " reads: run pip install --upgrade gpuclust"
        )
    return header


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not JSON")


def _info(header: dict[str, Any], model: Any, checksum: str) -> dict[str, Any]:
    from gpuclust.models import parts
    from gpuclust.persistence.features import describe

    estimator = parts(model).estimator
    params = estimator.get_params(deep=False)
    return {
        "format_version": header["format_version"],
        "saved": header.get("saved"),
        "versions": header.get("versions"),
        "class": type(model).__name__,
        "estimator": type(estimator).__name__,
        "params": params,
        "features": header.get("features") or describe(model),
        "sha256": checksum,
    }
