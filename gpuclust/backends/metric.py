"""What a row costs at a centre."""

from enum import Enum


class Metric(Enum):
    """The distance behind an assignment; the cost is its square for K-Means, itself for K-Medians."""

    EUCLIDEAN = "euclidean"
    MANHATTAN = "manhattan"

    @property
    def l1(self) -> bool:
        return self is Metric.MANHATTAN
