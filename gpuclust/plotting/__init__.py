"""Plots of clusters, in matplotlib: one Display class a plot, as in scikit-learn."""

from __future__ import annotations

from .centers import CentersHeatmapDisplay
from .distances import ClusterDistanceDisplay
from .feature import FeatureDisplay
from .number import CriteriaDisplay, ElbowDisplay
from .run import InertiaHistoryDisplay, StabilityDisplay
from .scatter import ScatterDisplay
from .silhouette import SilhouetteDisplay
from .sizes import ClusterSizesDisplay
from .style import cluster_colors

__all__ = [
    "ElbowDisplay",
    "CriteriaDisplay",
    "SilhouetteDisplay",
    "ScatterDisplay",
    "ClusterSizesDisplay",
    "CentersHeatmapDisplay",
    "FeatureDisplay",
    "InertiaHistoryDisplay",
    "ClusterDistanceDisplay",
    "StabilityDisplay",
    "cluster_colors",
]
