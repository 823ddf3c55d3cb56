"""What a fitted attribute may be, in a few words: "finite[d]" is an array of d finite numbers.

A rule is one or more words, with `|` between them. A word in brackets is an array of that shape: letters are sizes, and
each has one value in an object. Without brackets it is a single value.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import numpy as np

_WORD = re.compile(r"(\w+)(?:\[([a-z,]*)\])?")


def fits(rule: str, value: Any, sizes: dict[str, int]) -> bool:
    """Whether a value is what a rule says; sizes that it fixes are entered into `sizes`."""
    return any(_fits_word(word, shape, value, sizes) for word, shape in _words(rule))


@lru_cache(maxsize=512)
def _words(rule: str) -> tuple[tuple[str, tuple[str, ...] | None], ...]:
    found = []
    for each in rule.split(" | "):
        match = _WORD.fullmatch(each)
        assert match is not None, rule
        found.append((match[1], None if match[2] is None else tuple(match[2].split(","))))
    return tuple(found)


def _fits_word(word: str, shape: tuple[str, ...] | None, value: Any, sizes: dict[str, int]) -> bool:
    if shape is None:
        return _SINGLE[word](value)
    if not isinstance(value, np.ndarray) or value.ndim != len(shape) or not _ARRAY[word](value):
        return False
    return all(sizes.setdefault(letter, size) == size for letter, size in zip(shape, value.shape, strict=True))


def is_real(value: Any) -> bool:
    """A single number, not a truth value."""
    return isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool)


def is_plain(value: Any) -> bool:
    """What a cell of a table can be."""
    return value is None or isinstance(value, (bool, str, np.bool_)) or is_real(value)


def _is_count(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool) and bool(0 <= value < 1 << 63)


def _finite(value: Any) -> bool:
    try:
        return bool(np.isfinite(value).all())
    except (OverflowError, TypeError):  # a whole number beyond float64
        return False


_SINGLE: dict[str, Callable[[Any], bool]] = {
    "none": lambda value: value is None,
    "bool": lambda value: isinstance(value, (bool, np.bool_)),
    "text": lambda value: isinstance(value, str),
    "list": lambda value: isinstance(value, list),
    "dict": lambda value: isinstance(value, dict),
    "object": lambda value: hasattr(value, "get_params") and not isinstance(value, type),
    "dtype": lambda value: isinstance(value, np.dtype),
    "number": is_real,
    "finite": lambda value: is_real(value) and _finite(value),
    "cost": lambda value: is_real(value) and _finite(value) and value >= 0,
    "count": _is_count,
    "value": is_plain,
    "size": lambda value: _is_count(value) and value > 0,
}
_ARRAY: dict[str, Callable[[np.ndarray], bool]] = {
    "bool": lambda array: array.dtype == bool,
    "text": lambda array: array.dtype.kind in "UO" and all(isinstance(each, str) for each in array),
    "number": lambda array: array.dtype.kind in "iuf",
    "finite": lambda array: array.dtype.kind in "iuf" and _finite(array),
    "scale": lambda array: array.dtype.kind in "iuf" and not bool(((array <= 0) | np.isinf(array)).any()),
    "cost": lambda array: array.dtype.kind in "iuf" and _finite(array) and bool((array >= 0).all()),
    "count": lambda array: array.dtype.kind in "iu" and bool((array >= 0).all()),
    "value": lambda array: array.dtype.kind in "iufbU" or (array.dtype.kind == "O" and all(map(is_plain, array))),
}
