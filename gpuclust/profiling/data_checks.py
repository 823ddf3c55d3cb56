"""What to look at in data before they are clustered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Final

import numpy as np

from ..backends.base import Backend, Chunk
from ..backends.moments import Summary
from ..config import Device
from .quantiles import quantiles
from .rows import Groups, blocks, host, listed, moments, opened, pandas

CORRELATED: Final = 1000  # features, above which correlations are not computed
CUTS: Final = np.array([0.005, 0.25, 0.75, 0.995])
ROWS_A_FEATURE: Final = 10
SCALES: Final = 10.0  # times a standard deviation that another may be
OUTLIERS: Final = 0.05  # share of values outside the fences; 0.7 % of normal ones are
SAME: Final = 0.99  # correlation
DUPLICATES: Final = 0.1  # share of rows


@dataclass(frozen=True, eq=False)
class DataCheck:
    """What was found in the data; see `check_data`.

    Attributes
    ----------
    table : DataFrame indexed by feature
    warnings : list of str
        Sentences that say what was found and what to do; empty where nothing was.
    n_rows : int
    duplicate_share : float
        Share of the rows that are equal to an earlier one.
    """

    table: Any
    warnings: list[str]
    n_rows: int
    duplicate_share: float


def check_data(
    X: Any, *, feature_names: Sequence[Any] | None = None, device: Device = "auto", chunk_size: int | None = None
) -> DataCheck:
    """Look for what spoils a clustering: scales, outliers, missing values, features and rows that say nothing new.

    Nothing is changed and nothing is refused but what is no table of numbers.

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        May have missing values (NaN) and infinite ones: they are counted, and left out of all other numbers.
    feature_names : sequence of str, optional
        Default: the columns of a DataFrame or a Parquet file, else x0, x1, ...
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', default='auto'
        As for `profile`.
    chunk_size : int, optional
        Rows per chunk. The result does not depend on it.

    Returns
    -------
    DataCheck
        Columns of its table: missing, infinite (counts), mean, std, min, max, q25, q75 (exact), outlier_share (values
        below q25 - 1.5 IQR or above q75 + 1.5 IQR: Tukey, "Exploratory Data Analysis", 1977; NaN where the IQR is 0),
        near_constant (99 % of the values are the same), twin and correlation (the feature of highest absolute Pearson
        correlation, to 6 digits, missing values taken for the mean; only for up to 1000 features). 8 bytes a row are
        held to find equal rows, by a 64-bit hash.

    Raises
    ------
    ValueError
        If `feature_names` has another length, or X is no table of numbers.
    DataError
        If a file cannot be read, or a stream comes with weights.
    ImportError
        If pandas is not installed.

    Examples
    --------
    >>> from gpuclust.profiling import check_data
    >>> check_data([[1.0, 5.0], [2.0, 5.0], [2.5, 5.0]]).table["near_constant"].tolist()
    [False, True]
    """
    pandas()
    with opened(X, feature_names, device, chunk_size, finite=False) as rows:
        source, d = rows.source, rows.source.n_features
        every = Groups(np.array([0]), np.zeros(source.n_rows, np.int32))
        found = moments(source, every.code, 1, finite=False)
        clean = bool((found.count == source.n_rows).all())
        cuts = quantiles(source, every, found, CUTS, clean=clean)[1][:, 0]
        reach = 1.5 * (cuts[2] - cuts[1])
        looked: _Looked = source.fold(
            _look, cuts[1] - reach, cuts[2] + reach, np.nan_to_num(found.mean[0]), found.std[0], d <= CORRELATED
        )
    table = _table(rows.names, found, cuts, looked)
    hashes = np.sort(np.concatenate(looked.hashes))  # `numpy.unique` takes ten times as long
    duplicates = np.count_nonzero(hashes[1:] == hashes[:-1]) / len(hashes)
    return DataCheck(table, _sentences(table, len(hashes), duplicates), len(hashes), duplicates)


@dataclass(frozen=True)
class _Looked:
    """What the last pass counted, feature by feature."""

    missing: np.ndarray
    infinite: np.ndarray
    outliers: np.ndarray
    products: np.ndarray  # f64 [d, d] of standard scores
    hashes: tuple[np.ndarray, ...]

    def merge(self, other: _Looked) -> _Looked:
        return _Looked(
            self.missing + other.missing, self.infinite + other.infinite, self.outliers + other.outliers,
            self.products + other.products, self.hashes + other.hashes,
        )  # fmt: skip


def _look(
    backend: Backend, chunk: Chunk, low: np.ndarray, high: np.ndarray, mean: np.ndarray, std: np.ndarray,
    correlate: bool,
) -> _Looked:  # fmt: skip
    parts = []
    for _, rows in blocks(chunk):
        X = host(backend, rows).astype(np.float64)
        finite = np.isfinite(X)
        outside = finite & ((low > X) | (high < X))
        hashes, missing = _hashes(X), np.isnan(X)
        z = np.divide(X - mean, std, out=np.zeros_like(X), where=finite & (std > 0))
        products = z.T @ z if correlate else np.empty((0, 0))
        infinite = (~finite & ~missing).sum(axis=0)
        parts.append(_Looked(missing.sum(axis=0), infinite, outside.sum(axis=0), products, (hashes,)))
    return reduce(_Looked.merge, parts)


def _hashes(X: np.ndarray) -> np.ndarray:
    """A number for each row, u64 [n]: equal for equal rows, for others with a chance of 2^-64."""
    hash_array, total = pandas().util.hash_array, np.zeros(len(X), np.uint64)
    for column in X.T:
        column = column + 0.0  # pandas before 3 tells -0 from 0
        total = total * np.uint64(0x9E3779B97F4A7C15) + hash_array(column)  # wraps
        total ^= total >> np.uint64(29)
    return total


def _table(names: list[str], found: Summary, cuts: np.ndarray, looked: _Looked) -> Any:
    pd = pandas()
    count, iqr = found.count[0], cuts[2] - cuts[1]
    share = np.divide(looked.outliers, count, out=np.full(len(names), np.nan), where=(count > 0) & (iqr > 0))
    twin, correlation = _twins(names, looked.products)
    empty = count == 0
    return pd.DataFrame(
        {
            "missing": looked.missing, "infinite": looked.infinite, "mean": found.mean[0], "std": found.std[0],
            "min": np.where(empty, np.nan, found.low[0]), "max": np.where(empty, np.nan, found.high[0]),
            "q25": cuts[1], "q75": cuts[2], "outlier_share": share, "near_constant": empty | (cuts[0] == cuts[3]),
            "twin": twin, "correlation": correlation,
        },
        index=pd.Index(names, name="feature"),
    )  # fmt: skip


def _twins(names: list[str], products: np.ndarray) -> tuple[list[str | None], np.ndarray]:
    """The feature that each is most like, and their correlation."""
    d = len(names)
    length = np.sqrt(np.diagonal(products))
    if d < 2 or not len(products):
        return [None] * d, np.full(d, np.nan)
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = products / length / length[:, None]
    np.fill_diagonal(matrix, 0)
    matrix = np.round(np.nan_to_num(matrix), 6)
    nearest = np.abs(matrix).argmax(axis=1)
    correlation = np.where(length > 0, matrix[np.arange(d), nearest], np.nan)
    return [names[j] if length[f] > 0 else None for f, j in enumerate(nearest)], correlation


def _sentences(table: Any, n: int, duplicates: float) -> list[str]:
    found = [*_about_values(table), *_about_scales(table), *_about_twins(table)]
    d = len(table)
    if n < ROWS_A_FEATURE * d:
        found.append(
            f"There are {n} rows for {d} features: with fewer than {ROWS_A_FEATURE} rows a feature, clusters change"
            " from sample to sample. Gather more rows, or use fewer features."
        )
    if duplicates > DUPLICATES:
        found.append(
            f"{duplicates:.1%} of the rows repeat an earlier one. If that is no mistake, cluster the distinct rows with"
            " their counts as sample_weight: the same clusters, sooner."
        )
    return found


def _about_values(table: Any) -> list[str]:
    found = []
    for kind, refused in (("missing", "missing values"), ("infinite", "infinite values")):
        some = table.index[table[kind] > 0]
        if len(some):
            found.append(
                f"{int(table[kind].sum())} {refused} in {listed(some)}: fit refuses them. Drop those rows, or impute"
                " values, for example with sklearn.impute.SimpleImputer."
            )
    constant = table.index[table["near_constant"]]
    if len(constant):
        found.append(f"Nearly all values are the same in {listed(constant)}: such features tell nothing. Drop them.")
    far = table.index[table["outlier_share"] > OUTLIERS]
    if len(far):
        found.append(
            f"More than {OUTLIERS:.0%} of the values are outliers in {listed(far)}: means follow them. Look at them,"
            " take logarithms, scale with sklearn.preprocessing.RobustScaler, or use KMedians."
        )
    return found


def _about_scales(table: Any) -> list[str]:
    varied = table[~table["near_constant"] & (table["std"] > 0)]["std"]
    if len(varied) < 2 or not varied.max() > SCALES * varied.min():
        return []
    return [
        f"{varied.idxmax()} has {varied.max() / varied.min():.3g} times the standard deviation of {varied.idxmin()}:"
        " distances are decided by it. Scale the features first, for example with"
        " sklearn.preprocessing.StandardScaler, unless they share a unit that means the same in all of them."
    ]


def _about_twins(table: Any) -> list[str]:
    like = table[table["correlation"].abs() >= SAME]
    pairs = sorted({tuple(sorted((str(name), str(twin)))) for name, twin in like["twin"].items()})
    if not pairs:
        return []
    text = listed([f"{a} and {b}" for a, b in pairs], 3)
    return [f"Nearly the same (correlation {SAME} or more): {text}. They count twice; drop one of each pair."]
