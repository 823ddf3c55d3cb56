"""What a centre learns from a batch: the mean of all that it was given, or a median of it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Final, Protocol, final

import numpy as np

from ..backends.kernels import sketch
from ..backends.layout import Layout
from ..backends.metric import Metric
from ..backends.statistics import Cost
from ..backends.threads import limited, run
from ..data.source import Source
from ..objectives.mean import Assigned, assign
from ..objectives.median import middle
from .batches import blocks
from .nearest import label
from .scan import scan

BLOCK_ROWS: Final = 1 << 16
SKETCH_BYTES: Final = 64 << 20
LEAST, MOST = 32, 512  # values to a sketch
MERGING: Final = 16  # multiply-adds that it costs to merge a value


@dataclass(frozen=True)
class Running:
    """What a step hands to the next."""

    centers: np.ndarray  # f64 [k, d]
    counts: np.ndarray  # f64 [k]: the weight that each centre has seen
    since: int = 0  # rows since the last reassignment
    sketch: np.ndarray | None = None  # [k, d, R] in the rows' dtype, ascending: what stands for the values it was given

    def placed(self, where: np.ndarray, rows: np.ndarray, counts: np.ndarray) -> Running:
        """With the centres `where` put on rows, and nothing else in their sketches."""
        centers = self.centers.copy()
        centers[where] = rows
        if self.sketch is not None:
            self.sketch[where] = rows[:, :, None]
        return replace(self, centers=centers, counts=counts)


class Update(Protocol):
    name: ClassVar[str]
    metric: ClassVar[Metric]

    def start(self, centers: np.ndarray, counts: np.ndarray, since: int = 0) -> Running:
        """Centres f64 [k, d] that have seen nothing but themselves."""

    def learn(
        self, batch: Source, running: Running, random_state: np.random.RandomState
    ) -> tuple[Running, Cost]:
        """Centres and counts after a batch, and what it cost under those before."""


@final
@dataclass(frozen=True)
class MeanUpdate:
    """A centre is the mean of all the weight that it was given since it was placed, held in float64. Sums are exact."""

    name: ClassVar[str] = "MiniBatchKMeans"
    metric: ClassVar[Metric] = Metric.EUCLIDEAN

    def start(self, centers: np.ndarray, counts: np.ndarray, since: int = 0) -> Running:
        return Running(centers, counts, since)

    def learn(
        self, batch: Source, running: Running, random_state: np.random.RandomState
    ) -> tuple[Running, Cost]:
        seen, centers = _seen(batch, running.centers), running.centers
        found = batch.backend.means(seen.delta.sums, centers, np.zeros(centers.shape[1]))
        means, mass = batch.backend.to_host(found.centers), found.mass
        counts = running.counts + mass
        rate = np.divide(mass, counts, out=np.zeros_like(mass), where=mass > 0)[:, None]
        centers = np.where(rate == 1, means, centers + rate * (means - centers))
        return replace(running, centers=centers, counts=counts), seen.cost


def _seen(batch: Source, centers: np.ndarray) -> Assigned:
    frame = scan(batch)
    batch.allocate("label", np.int32, -1)
    batch.allocate_bounds(len(centers), 1, Metric.EUCLIDEAN)
    return batch.fold(assign, batch.backend.pack(centers, frame, Layout.build(centers, 1), None))


@final
@dataclass(frozen=True)
class MedianUpdate:
    """A centre is, feature by feature, the median of a sketch of all that it was given since it was placed.

    A sketch is R values that stand for equal shares of that weight. A batch is merged into it by sorting both together
    and keeping the values at (i + u) / R of the weight, u uniform in [0, 1): so each value's expected share stays its
    weight's share (systematic resampling; the equal-weight merge of Agarwal et al., "Mergeable summaries", PODS 2012,
    section 3, with weights). Of up to R / 2 rows of equal weight given in one batch the median is exact; after many
    batches its rank is off by a share with a standard deviation of at most 1 / (2 sqrt(R)).
    """

    dtype: np.dtype
    lower: bool
    size: int  # R, even
    name: ClassVar[str] = "MiniBatchKMedians"
    metric: ClassVar[Metric] = Metric.MANHATTAN

    @staticmethod
    def fitting(k: int, d: int, dtype: np.dtype) -> int:
        """Values to a sketch where the user leaves it open: as many as 64 MiB hold, 32 at least and 512 at most."""
        return int(np.clip(SKETCH_BYTES // (k * d * dtype.itemsize), LEAST, MOST)) // 2 * 2

    def start(self, centers: np.ndarray, counts: np.ndarray, since: int = 0) -> Running:
        kept = np.repeat(centers.astype(self.dtype)[:, :, None], self.size, axis=2)
        return Running(centers, counts, since, kept)

    def learn(
        self, batch: Source, running: Running, random_state: np.random.RandomState
    ) -> tuple[Running, Cost]:
        """As `Update.learn`; the sketch is changed in place."""
        kept, counts, cost = running.sketch, running.counts.copy(), None
        assert kept is not None
        centers, seen = running.centers.copy(), np.zeros(len(counts), bool)
        for block in blocks(batch, BLOCK_ROWS):
            found = label(block, running.centers, self.metric)
            self._merge(block, kept, counts, random_state)
            counts += found.mass.value()
            seen |= found.rows > 0
            cost = found if cost is None else cost.merge(found)
        half = kept.shape[2] // 2  # a sketch keeps the size that it began with
        centers[seen] = middle(kept[seen, :, half - 1], kept[seen, :, half], self.lower)
        return replace(running, centers=centers, counts=counts), cost or Cost.none(len(counts))

    def _merge(
        self, block: Source, kept: np.ndarray, counts: np.ndarray, random_state: np.random.RandomState
    ) -> None:
        to_host, weight = block.backend.to_host, block.host_weight
        labels = to_host(block.rows("label"))
        order = np.argsort(labels, kind="stable")
        start = np.searchsorted(labels[order], np.arange(len(counts) + 1))
        offset = random_state.random_sample(kept.shape[:2])
        with limited(MERGING * kept.size):
            run(
                sketch.merge_pass, block.host_rows, np.empty(0) if weight is None else weight, order, start, counts,
                offset, kept,
            )  # fmt: skip

