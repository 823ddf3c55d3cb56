"""The report: one HTML file on how many clusters there are, whether they are real, and what they are."""

from __future__ import annotations

from .report import write_report

__all__ = ["write_report"]
