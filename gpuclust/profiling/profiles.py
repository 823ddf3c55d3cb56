"""What the rows of each cluster look like, feature by feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ..backends.moments import Summary
from ..config import Device
from .quantiles import quantiles
from .rows import Groups, moments, opened, pandas
from .units import Units


@dataclass(frozen=True, eq=False)
class Profile:
    """Statistics of clusters; see `profile`.

    Attributes
    ----------
    table : DataFrame indexed by (cluster, feature)
    overall : DataFrame indexed by feature
        The same of all rows together, noise included.
    noise_rows : int
        Rows labelled -1, which means in no cluster; the table has them as cluster -1.
    """

    table: Any
    overall: Any
    noise_rows: int


def profile(
    X: Any,
    labels: Any,
    *,
    feature_names: Sequence[Any] | None = None,
    scaler: Any = None,
    percentiles: Sequence[float] = (5, 25, 75, 95),
    device: Device = "auto",
    chunk_size: int | None = None,
) -> Profile:
    """Rows, share, mean, median, spread, range and percentiles of every feature, by cluster and overall.

    Everything is exact and depends neither on the order of the rows nor on the chunk size: sums are double-double,
    medians and percentiles are found among the rows (streams are read a few times for them).

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
    labels : array-like of shape (n_samples,)
        Cluster of each row: integers or strings. Rows labelled -1 are in no cluster ("noise").
    feature_names : sequence of str, optional
        Default: the columns of a DataFrame or a Parquet file, else x0, x1, ...
    scaler : fitted scaler, optional
        What made X of the original rows, by each feature alone (StandardScaler, MinMaxScaler, RobustScaler,
        MaxAbsScaler, a pipeline of such): statistics are told in the units before.
    percentiles : sequence of float, default=(5, 25, 75, 95)
        In [0, 100], by numpy's linear interpolation.
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', default='auto'
        Where ranks are counted for percentiles of data that are read in chunks or are on a GPU; 'auto': where the rows
        are.
    chunk_size : int, optional
        Rows per chunk. The result does not depend on it.

    Returns
    -------
    Profile
        Columns of its tables: rows, share (of all rows), mean, median, std (divisor n - 1; NaN for one row), min, max,
        and a column for each percentile: p5, p25, ...

    Raises
    ------
    ValueError
        If `labels` or `feature_names` have another length, a percentile is outside [0, 100], the scaler is not affine
        in each feature alone, or X has NaN or infinite values.
    DataError
        If a file cannot be read, or a stream comes with weights.
    ImportError
        If pandas is not installed.

    Examples
    --------
    >>> from gpuclust.profiling import profile
    >>> profile([[1.0], [2.0], [9.0]], [0, 0, 1]).table["mean"].tolist()
    [1.5, 9.0]
    """
    pandas()
    q = np.asarray(percentiles, np.float64).reshape(-1)
    if not np.all((q >= 0) & (q <= 100)):
        raise ValueError(f"percentiles={tuple(percentiles)!r} must lie in [0, 100].")
    with opened(X, feature_names, device, chunk_size) as rows:
        groups = Groups.of(labels, rows.source.n_rows)
        found = moments(rows.source, groups.code, len(groups.names))
        every = found.together()
        units = Units.of(scaler, every.low[0], every.high[0])
        both = np.concatenate([[50.0], q, 100 - q] if units.falls.any() else [[50.0], q]) / 100
        own, together = quantiles(rows.source, groups, found, both)
    tables = (_columns(part, units, cuts, q) for part, cuts in ((found, own), (every, together)))
    return _result(groups, rows.names, *tables)


def _columns(found: Summary, units: Units, cuts: np.ndarray, q: np.ndarray) -> dict[str, np.ndarray]:
    """The columns of a table, [k, d] each; cuts f64 [1 + q (+ q), k, d]: medians, percentiles, and those from above."""
    falls, last = units.falls, len(cuts) - len(q)
    rows = found.count[:, :1]
    table = {
        "rows": np.broadcast_to(rows, found.count.shape),
        "share": np.broadcast_to(rows / rows.sum(), found.count.shape),
        "mean": units.back(found.mean),
        "median": units.back(cuts[0]),
        "std": units.width(found.std),
        "min": units.back(np.where(falls, found.high, found.low)),
        "max": units.back(np.where(falls, found.low, found.high)),
    }
    for i, percent in enumerate(q):
        table[f"p{percent:g}"] = units.back(np.where(falls, cuts[last + i], cuts[1 + i]))
    return table


def _result(groups: Groups, names: list[str], own: dict[str, np.ndarray], every: dict[str, np.ndarray]) -> Profile:
    pd = pandas()
    index = pd.MultiIndex.from_product([groups.names, names], names=["cluster", "feature"])
    table = pd.DataFrame({name: column.ravel() for name, column in own.items()}, index=index)
    overall = pd.DataFrame({name: column[0] for name, column in every.items()}, index=pd.Index(names, name="feature"))
    noise = 0 if groups.noise is None else int(own["rows"][groups.noise, 0])
    return Profile(table, overall, noise)
