"""Sections as one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

from .._version import __version__
from ..extras import require
from .blocks import Section


@dataclass(frozen=True)
class Page:
    """A report."""

    title: str
    subtitle: str
    key: Sequence[tuple[str, str]]  # figures that are read first
    sections: Sequence[Section]
    footer: str

    def html(self) -> str:
        """The file's text. Everything but the style sheet is escaped.

        Raises
        ------
        ImportError
            If Jinja2 is missing.
        """
        jinja2 = require("jinja2", "A report")
        markupsafe = require("markupsafe", "A report")
        folder = files(__package__)
        environment = jinja2.Environment(
            autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
        )
        template = environment.from_string((folder / "page.html.j2").read_text(encoding="utf-8"))
        return template.render(
            title=self.title, subtitle=self.subtitle, key=self.key, sections=self.sections, footer=self.footer,
            version=__version__, style=markupsafe.Markup((folder / "page.css").read_text(encoding="utf-8")),
        )  # fmt: skip
