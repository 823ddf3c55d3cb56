"""Objects as JSON: class, parameters and what was learnt; built again by constructors and by setting attributes."""

from __future__ import annotations

import inspect
import math
from typing import Any

import numpy as np

from gpuclust.errors import ModelFileError

from .clusterers import CLUSTERERS
from .compound import split_columns
from .kind import Kind
from .kinds import KINDS, class_of, kind_of, name_of
from .rules import fits
from .values import Decoder, Encoder, shown

NODE = {"class", "params", "defaults", "omitted", "state", "output"}
OUTPUTS = (None, "default", "pandas", "polars")
_BESIDE = {"_sklearn_output_config", "_metadata_request"}  # `output` holds the one; the other is for fits


def encode_object(encoder: Encoder, value: Any, path: str) -> dict[str, Any]:
    """An object of a class on the list.

    Raises
    ------
    TypeError
        If its class is not on the list, or if it has something that a file cannot hold.
    """
    kind = kind_of(value)
    if kind is None:
        raise TypeError(
            f"A model file holds {', '.join(KINDS)}, and functions of NumPy's such as log1p; {path} is a"
            f" {type(value).__name__}, none of them."
        )
    params, omitted = _params(encoder, value, path)
    return {
        "class": name_of(value), "params": params, "defaults": _at_default(value, params), "omitted": omitted,
        "state": _state(encoder, value, kind, path),
        "output": getattr(value, "_sklearn_output_config", {}).get("transform"),
    }  # fmt: skip


def _params(encoder: Encoder, value: Any, path: str) -> tuple[dict[str, Any], list[str]]:
    """Parameters, and the names of those that only another fit would need and that are no plain values."""
    name = name_of(value)
    fitted_columns = name == "sklearn.ColumnTransformer" and hasattr(value, "transformers_")
    params = split_columns(value) if fitted_columns else value.get_params(deep=False)
    if name in CLUSTERERS:
        params = {key: _unwrapped(each) for key, each in params.items()}
        omitted = [key for key, each in params.items() if not _is_plain(each)]
        omitted += ["checkpoint"] if isinstance(params.get("checkpoint"), str) else []  # a place on another machine
    else:
        generators = (np.random.RandomState, np.random.Generator)
        omitted = [key for key, each in params.items() if isinstance(each, generators)]
        omitted += ["memory"] if params.get("memory") is not None else []  # a Pipeline's cache
    kept = {key: each for key, each in params.items() if key not in omitted}
    return {key: encoder.encode(each, f"{path}.{key}") for key, each in kept.items()}, sorted(omitted)


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return value is None or isinstance(value, (bool, int, str))


def _unwrapped(value: Any) -> Any:
    """NumPy's numbers as Python's: parameters are given as either."""
    return value.item() if isinstance(value, np.generic) else value


def _at_default(value: Any, params: dict[str, Any]) -> list[str]:
    """Parameters with the value that their class gives them: another version may do without those."""
    given, found = value.get_params(deep=False), inspect.signature(type(value).__init__).parameters
    return [
        key for key in params
        if given[key] is found[key].default or (_is_plain(given[key]) and given[key] == found[key].default)
    ]  # fmt: skip


def _state(encoder: Encoder, value: Any, kind: Kind, path: str) -> dict[str, Any]:
    held = {key for key in vars(value) if key not in value.get_params(deep=False)} - _BESIDE - kind.needless
    unknown = held - set(kind.rules)
    if unknown:
        raise TypeError(
            f"A {type(value).__name__} with {', '.join(sorted(unknown))} cannot be saved: this version of gpuclust"
            " does not know what that is. Run pip install --upgrade gpuclust."
        )
    return {key: encoder.encode(getattr(value, key), f"{path}.{key}") for key in kind.rules if key in held}


def decode_object(decoder: Decoder, node: dict[str, Any]) -> Any:
    """The object that `encode_object` told of.

    Raises
    ------
    ModelFileError
        If there is no such class on the list, or if what it is said to have learnt cannot be.
    """
    name = node["class"]
    if not isinstance(name, str) or name not in KINDS:
        raise ModelFileError(f"its class is {shown(name)}, not one of {', '.join(KINDS)}")
    if not isinstance(node.get("params"), dict) or not isinstance(node.get("state"), dict) or set(node) != NODE:
        raise ModelFileError(f"{name} is not told of in full")
    if node["output"] not in OUTPUTS:
        raise ModelFileError(f"the output of {name} is {shown(node['output'])}")
    kind = KINDS[name]
    params = {key: decoder.decode(each) for key, each in node["params"].items()}
    state = {key: decoder.decode(each) for key, each in node["state"].items()}
    try:
        made = class_of(name)(**_known(name, params, node["defaults"]))
        _learn(made, kind, state)
        made._validate_params()
    except (TypeError, ValueError, LookupError, AttributeError, ArithmeticError) as error:
        raise ModelFileError(f"{name}: {error}") from None
    if node["output"] is not None:
        made._sklearn_output_config = {"transform": node["output"]}
    return made


def _known(name: str, params: dict[str, Any], defaults: Any) -> dict[str, Any]:
    """Parameters without those that did nothing in the version that saved and that this one lacks, or still knows."""
    known = class_of(name)._get_param_names()
    idle = {key for key in params if key in defaults and (key not in known or params[key] == "deprecated")}
    return {key: each for key, each in params.items() if key not in idle}


def _learn(made: Any, kind: Kind, state: dict[str, Any]) -> None:
    """Set attributes after a look at each, rebuild what follows from them, and check that they agree."""
    sizes: dict[str, int] = {}
    if not state and kind.required():
        return  # not fitted: a transformer without columns
    missing = [key for key in kind.required() if key not in state]
    if missing or set(state) - set(kind.rules):
        raise ValueError(f"it {'lacks ' + ', '.join(missing) if missing else 'has attributes that are not its own'}")
    for key, rule in kind.rules.items():
        if key not in state:
            continue
        if not fits(rule, state[key], sizes):
            raise ValueError(f"{key} is {shown(state[key])}, not {rule}{_where(sizes)}")
        if key == "n_features_in_":
            sizes["d"] = int(state[key])
        setattr(made, key, state[key])
    kind.rebuild(made)
    for holds, reason in kind.check(made):
        if not holds:
            raise ValueError(reason)


def _where(sizes: dict[str, int]) -> str:
    told = ", ".join(f"{letter} = {size}" for letter, size in sizes.items())
    return f" where {told}" if told else ""
