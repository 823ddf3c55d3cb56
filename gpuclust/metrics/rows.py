"""The door to the metrics of rows: X as a source, its labels in the ledger, centres of given labels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np
from sklearn.utils import check_array

from ..backends.base import Backend, Chunk
from ..backends.metric import Metric
from ..config import Device
from ..data.source import Source
from ..errors import NotFiniteError
from ..objectives.median import medians
from ..solvers.scan import scan
from ..validation import Reader, open_source
from .labels import checked, encoded


class Labelled(NamedTuple):
    """Rows with their labels in the ledger's column "label"."""

    source: Source
    codes: np.ndarray  # i32 [n], in 0 .. k - 1
    k: int


class Options(NamedTuple):
    """What every function on rows takes."""

    device: Device
    chunk_size: int | None
    sample_weight: Any = None


def check_held(*values: Any) -> None:
    """Refuse what is not finite.

    Raises
    ------
    NotFiniteError
        If there is any.
    """
    if not all(np.isfinite(each).all() for each in values):
        raise NotFiniteError("Input X contains NaN or infinity, or distances that float64 cannot hold.")


def one_of(metric: Any, known: tuple[str, ...]) -> str:
    """The name of a metric.

    Raises
    ------
    ValueError
        If it is none of those known.
    """
    if not isinstance(metric, str) or metric not in known:
        raise ValueError(f"metric={metric!r} is none of {', '.join(map(repr, known))}.")
    return metric


def opened(X: Any, options: Options, *, clusters: int = 0, metric: Metric = Metric.EUCLIDEAN) -> Source:
    """X as a source on the backend that was asked for; one that is opened already stays as it is.

    Of streams and device rows nobody has seen whether they are finite.
    """
    if isinstance(X, Source):
        return X
    return open_source(
        Reader(), X, options.sample_weight, options.device, reset=True,
        chunk_size=options.chunk_size, clusters=clusters, metric=metric,
    )  # fmt: skip


def labelled(X: Any, labels: Any, options: Options, metric: Metric = Metric.EUCLIDEAN) -> Labelled:
    """X as a source, and its labels.

    Raises
    ------
    ValueError
        If there are as many clusters as rows, or fewer than two, or not one label for each row.
    """
    codes, k = encoded(checked(labels, "labels"))
    source = opened(X, options, clusters=k, metric=metric)
    check_length(source, codes)
    check_number_of_labels(k, source.n_rows)
    return put(source, codes, k)


def check_length(source: Source, labels: np.ndarray) -> None:
    if source.n_rows != len(labels):
        raise ValueError(
            f"Found input variables with inconsistent numbers of samples: [{source.n_rows}, {len(labels)}]"
        )


def check_number_of_labels(k: int, rows: float) -> None:
    """Refuse as many labels as rows, or fewer than two.

    Raises
    ------
    ValueError
        In scikit-learn's words.
    """
    if not 1 < k < rows:
        raise ValueError(f"Number of labels is {k}. Valid values are 2 to n_samples - 1 (inclusive)")


def put(source: Source, codes: np.ndarray, k: int) -> Labelled:
    """Labels into the ledger."""
    source.allocate("label", np.int32, 0)
    source.fill("label", codes)
    return Labelled(source, codes, k)


def checked_centers(centers: Any, source: Source) -> np.ndarray:
    """Centres f64 [k, d].

    Raises
    ------
    ValueError
        If they have another number of features than the rows.
    """
    centers = check_array(centers, dtype=np.float64, order="C", input_name="centers")
    if centers.shape[1] != source.n_features:
        raise ValueError(f"X has {source.n_features} features, but the centers have {centers.shape[1]}.")
    return centers


class Centred(NamedTuple):
    """Means or medians of clusters, and of all rows."""

    centers: np.ndarray  # f64 [k, d]
    mass: np.ndarray  # f64 [k]: weights of the clusters' rows
    overall: np.ndarray  # f64 [d]


def means(rows: Labelled) -> Centred:
    """Exact means of the labels, rounded once."""
    source, backend, nothing = rows.source, rows.source.backend, np.zeros((rows.k, rows.source.n_features))
    sums = source.fold(_scatter, rows.k, scan(source).magic).sums
    found = backend.means(sums, nothing, nothing[0])
    overall = backend.means(sums.sum(axis=0, keepdims=True), nothing[:1], nothing[0])
    return Centred(backend.to_host(found.centers), found.mass, backend.to_host(overall.centers)[0])


def _scatter(backend: Backend, chunk: Chunk, k: int, magic: np.ndarray) -> ByCluster:
    return ByCluster(backend.scatter(chunk, k, magic))


def middles(rows: Labelled) -> Centred:
    """Exact medians of the labels, feature by feature."""
    source, k = rows.source, rows.k
    frame = scan(source, Metric.MANHATTAN)
    mass = source.fold(_by_cluster, k).sums
    centers = medians(source, frame, k)
    source.allocate("label", np.int32, 0)
    overall = medians(source, frame, 1)
    put(source, rows.codes, k)
    return Centred(centers, mass.value(), overall[0])


@dataclass(frozen=True)
class ByCluster:
    """Sums over the rows of each cluster, [k, ...]."""

    sums: Any  # DD or exact sums, f64

    def merge(self, other: ByCluster) -> ByCluster:
        return ByCluster(self.sums + other.sums)


def _by_cluster(backend: Backend, chunk: Chunk, k: int) -> ByCluster:
    label = chunk.rows["label"]
    return ByCluster(backend.total(backend.full(label.shape, 0.0, np.float64), chunk.weight, label, k).mass)


def spread(rows: Labelled, centers: np.ndarray, metric: Metric, *, root: bool = False) -> np.ndarray:
    """Weighted sum, by cluster, of what its rows cost at its centre, f64 [k]; `root`: of the square roots."""
    return rows.source.fold(_spread, centers, metric, root).sums.value()


def _spread(backend: Backend, chunk: Chunk, centers: np.ndarray, metric: Metric, root: bool) -> ByCluster:
    return reduce(ByCluster.merge, (_costs(backend, part, centers, metric, root) for part in backend.blocks(chunk)))


def _costs(backend: Backend, chunk: Chunk, centers: np.ndarray, metric: Metric, root: bool) -> ByCluster:
    label = chunk.rows["label"]
    cost = backend.costs(chunk.X, centers, label, metric)
    cost = cost**0.5 if root else cost
    weighty = cost if chunk.weight is None else cost * chunk.weight
    return ByCluster(backend.total(cost, weighty, label, len(centers)).mass)  # the mass of rows that weigh their cost
