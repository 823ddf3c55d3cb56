"""Drift: what changed between the rows that a model was fitted on and those that it is given now."""

from gpuclust.monitoring.summary import TrainingSummary

__all__ = ["TrainingSummary"]
