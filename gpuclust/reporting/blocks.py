"""What a page is made of, as plain text and numbers; the template escapes all of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class Block:
    """A part of a section."""

    @property
    def kind(self) -> str:
        """By which the template chooses how to write it."""
        return type(self).__name__.lower()


@dataclass(frozen=True)
class Text(Block):
    """A paragraph."""

    text: str


@dataclass(frozen=True)
class Notes(Block):
    """Remarks that the reader should not miss."""

    items: Sequence[str]


@dataclass(frozen=True)
class Facts(Block):
    """Names and values."""

    rows: Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Code(Block):
    """A command."""

    text: str


@dataclass(frozen=True)
class Table(Block):
    """Cells of text under column headings; the first `headings` cells of a row head it."""

    caption: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str]]
    headings: int = 1
    words: frozenset[int] = frozenset()  # columns of text, which are not aligned as numbers are


@dataclass(frozen=True)
class Figure(Block):
    """A picture as a data URI."""

    uri: str
    width: int
    height: int
    alt: str
    caption: str


@dataclass(frozen=True)
class Gallery(Block):
    """Figures beside each other, where there is room."""

    figures: Sequence[Figure]


@dataclass(frozen=True)
class Details(Block):
    """Blocks that are shown when asked for."""

    summary: str
    blocks: Sequence[Block]


@dataclass(frozen=True)
class Section:
    """A heading and what stands under it; `name` is what links point to."""

    name: str
    heading: str
    blocks: Sequence[Block]
