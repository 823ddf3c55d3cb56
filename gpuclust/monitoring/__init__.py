"""Drift: what changed between the rows that a model was fitted on and those that it is given now."""

from __future__ import annotations

from .comparing import compare
from .judging import Check, Thresholds
from .monitor import DriftMonitor
from .refitting import RefitReport, refit
from .report import DriftReport
from .summarizing import summarize
from .summary import TrainingSummary

__all__ = [
    "summarize",
    "compare",
    "refit",
    "Check",
    "DriftMonitor",
    "DriftReport",
    "RefitReport",
    "Thresholds",
    "TrainingSummary",
]
