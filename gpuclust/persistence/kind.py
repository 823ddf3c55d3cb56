"""What a model file knows of a class: where it lives, what it learns in a fit, and what must hold of that."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple

Checks = Iterator[tuple[bool, str]]  # (holds, what is wrong if not); later ones may rely on earlier ones
EVERY = {"n_features_in_": "size", "feature_names_in_?": "text[d]"}


def same_width(fitted: Any) -> int:
    """As many columns come out as went in."""
    return int(fitted.n_features_in_)


def no_checks(fitted: Any) -> Checks:
    """Nothing beyond the rules of single attributes."""
    return iter(())


def nothing(fitted: Any) -> None:
    """Nothing to rebuild."""


class Kind(NamedTuple):
    """One class."""

    home: str  # its module
    state: Mapping[str, str] = MappingProxyType({})  # attribute -> rule (see `rules`); one that ends in ? may be absent
    needless: frozenset[str] = frozenset()  # attributes that are not written
    check: Callable[[Any], Checks] = no_checks  # after the rules hold
    rebuild: Callable[[Any], None] = nothing  # sets what follows from the rest, before the checks
    width: Callable[[Any], int] = same_width  # columns that come out

    @property
    def rules(self) -> dict[str, str]:
        """Attribute -> rule."""
        return {name.removesuffix("?"): rule for name, rule in self.state.items()}

    def required(self) -> list[str]:
        """Attributes that a fitted object has."""
        return [name for name in self.state if not name.endswith("?")]


def learnt(home: str, /, **how: Any) -> Kind:
    """A class whose other attributes are those of any fitted transformer."""
    return Kind(home, state=EVERY | how.pop("state", {}), **how)
