"""Values as JSON and tensors: what JSON has no word for is an object of one key, which names its kind.

None, booleans, whole numbers, finite floats, text and lists are themselves. Arrays of numbers are tensors of the file,
under the name of the attribute that holds them. Functions are names in a table of ours, and objects are built from the
classes in `kinds`: nothing is imported or called by a name from a file.
"""

from __future__ import annotations

import math
from collections import UserList
from collections.abc import Callable
from typing import Any

import numpy as np

from gpuclust.errors import ModelFileError

DEEPEST = 40  # levels of lists and objects in a file
NUMBERS = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64", "float16", "float32", "float64",
)  # fmt: skip
TYPES: dict[str, type] = {"python float": float, "python int": int, "python bool": bool, "python object": object}
TYPES |= {name: np.dtype(name).type for name in NUMBERS}
FUNCTIONS: dict[str, np.ufunc] = {
    f"numpy.{name}": getattr(np, name)
    for name in (
        "abs", "arcsinh", "arctan", "cbrt", "cos", "exp", "exp2", "expm1", "log", "log10", "log1p", "log2", "negative",
        "reciprocal", "sign", "sin", "sinh", "sqrt", "square", "tan", "tanh",
    )
}  # fmt: skip
FLOATS = {"nan": math.nan, "inf": math.inf, "-inf": -math.inf}


class Encoder:
    """Turn values into JSON; collect the tensors."""

    def __init__(self, encode_object: Callable[[Encoder, Any, str], Any]) -> None:
        self.tensors: dict[str, np.ndarray] = {}
        self._object = encode_object

    def encode(self, value: Any, path: str) -> Any:
        """A value as JSON; `path` says where it stands.

        Raises
        ------
        TypeError
            If a file has no way to hold it.
        """
        if value is None or isinstance(value, (bool, int)):
            return value
        if isinstance(value, (str, np.str_)):
            return str(value)
        if isinstance(value, (np.ndarray, np.generic)):
            return self._array(value, path) if isinstance(value, np.ndarray) else _scalar(value, path)
        if isinstance(value, float):
            return value if math.isfinite(value) else {"float": repr(value)}
        if isinstance(value, UserList):  # the columns that a ColumnTransformer of scikit-learn 1.6 leaves out
            return self._container(value.data, path)
        if isinstance(value, (list, tuple, dict, slice)):
            return self._container(value, path)
        name = _named(value)
        return self._object(self, value, path) if name is None else name

    def _container(self, value: Any, path: str) -> Any:
        if isinstance(value, dict):
            return {
                "dict": [[self.encode(key, path), self.encode(each, f"{path}.{key}")] for key, each in value.items()]
            }
        if isinstance(value, slice):
            return {"slice": [self.encode(each, path) for each in (value.start, value.stop, value.step)]}
        items = [self.encode(each, f"{path}.{at}") for at, each in enumerate(value)]
        return items if isinstance(value, list) else {"tuple": items}

    def _array(self, value: np.ndarray, path: str) -> Any:
        if value.dtype.name in NUMBERS:
            fortran = bool(value.ndim > 1 and value.flags.f_contiguous and not value.flags.c_contiguous)
            self.tensors[path] = np.ascontiguousarray(value).reshape(value.shape)
            return {"tensor": path, "fortran": True} if fortran else {"tensor": path}
        if value.ndim != 1 or value.dtype.kind not in "UO":
            raise TypeError(f"{path} is an array of {value.dtype} and {value.ndim} dimensions: a model file has none.")
        kind = "text" if value.dtype.kind == "U" else "objects"
        return {kind: [self.encode(each, f"{path}.{at}") for at, each in enumerate(value.tolist())]}


def _scalar(value: np.generic, path: str) -> Any:
    if value.dtype.name not in NUMBERS:
        raise TypeError(f"{path} is a {value.dtype}: a model file has none.")
    plain = value.item()
    finite = not isinstance(plain, float) or math.isfinite(plain)
    return {"scalar": value.dtype.name, "value": plain if finite else repr(plain)}


def _named(value: Any) -> Any:
    """Types and functions, by the names that this file gives them."""
    if isinstance(value, np.dtype) and (value.name in NUMBERS or value.kind == "O"):
        return {"dtype": value.name}
    for tag, table in (("type", TYPES), ("function", FUNCTIONS)):
        for name, known in table.items():
            if value is known:
                return {tag: name}
    return None


class Decoder:
    """Turn JSON and tensors into values. Every tensor is used once."""

    def __init__(self, tensors: dict[str, np.ndarray], decode_object: Callable[[Decoder, Any], Any]) -> None:
        self.left = dict(tensors)
        self._object = decode_object
        self._depth = 0

    def decode(self, value: Any) -> Any:
        """The value that `Encoder.encode` made this of.

        Raises
        ------
        ModelFileError
            If it is none that an encoder makes.
        """
        if not isinstance(value, (list, dict)):
            return value
        self._depth += 1
        if self._depth > DEEPEST:
            raise ModelFileError(f"its values are nested more than {DEEPEST} levels deep")
        try:
            return [self.decode(each) for each in value] if isinstance(value, list) else self._tagged(value)
        finally:
            self._depth -= 1

    def _tagged(self, node: dict[str, Any]) -> Any:
        tag = next(iter(node), "")
        if tag == "class":
            return self._object(self, node)
        if tag not in _MAKE or not set(node) <= {tag, _BESIDE.get(tag)}:
            raise ModelFileError(f"a value is tagged {', '.join(map(repr, node))[:80]}, which means nothing")
        try:
            return _MAKE[tag](self, node)
        except ModelFileError:  # of a value inside
            raise
        except (TypeError, ValueError, LookupError, ArithmeticError):
            raise ModelFileError(f"a value is no {tag}: {shown(node)}") from None

    def tensor(self, node: dict[str, Any]) -> np.ndarray:
        found = self.left.pop(node["tensor"])
        return np.asfortranarray(found) if node.get("fortran") is True else found

    def dictionary(self, node: dict[str, Any]) -> dict[Any, Any]:
        return {self.decode(key): self.decode(each) for key, each in node["dict"]}

    def several(self, values: Any) -> list[Any]:
        if not isinstance(values, list):
            raise TypeError
        return [self.decode(each) for each in values]


def _objects(values: list[Any]) -> np.ndarray:
    found = np.empty(len(values), dtype=object)
    found[:] = values
    return found


def _text(values: list[Any]) -> np.ndarray:
    if not all(type(value) is str for value in values):
        raise TypeError
    return np.array(values, dtype=str)


def _number(node: dict[str, Any]) -> np.generic:
    value = node["value"]
    return TYPES[node["scalar"]](FLOATS[value] if isinstance(value, str) else value)


_MAKE: dict[str, Callable[[Decoder, dict[str, Any]], Any]] = {
    "float": lambda decoder, node: FLOATS[node["float"]],
    "scalar": lambda decoder, node: _number(node),
    "tensor": Decoder.tensor,
    "text": lambda decoder, node: _text(node["text"]),
    "objects": lambda decoder, node: _objects(decoder.several(node["objects"])),
    "tuple": lambda decoder, node: tuple(decoder.several(node["tuple"])),
    "dict": Decoder.dictionary,
    "slice": lambda decoder, node: slice(*decoder.several(node["slice"])),
    "dtype": lambda decoder, node: np.dtype({"object": "O"}.get(node["dtype"]) or TYPES[node["dtype"]]),
    "type": lambda decoder, node: TYPES[node["type"]],
    "function": lambda decoder, node: FUNCTIONS[node["function"]],
}
_BESIDE = {"scalar": "value", "tensor": "fortran"}


def shown(value: Any) -> str:
    """A value in few words, whatever it is."""
    if isinstance(value, np.ndarray):
        odd = value.dtype.kind == "f" and not np.isfinite(value).all()
        return f"an array of {value.dtype} of shape {value.shape}{', some NaN or infinite' if odd else ''}"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
