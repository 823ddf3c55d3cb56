"""Which features separate the clusters."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backends.moments import Summary
from ..config import Device
from . import effects
from .rows import Groups, Opened, columns, moments, opened, pandas


def separation(
    X: Any,
    labels: Any,
    *,
    feature_names: Sequence[Any] | None = None,
    device: Device = "auto",
    chunk_size: int | None = None,
) -> Any:
    """How far each feature differs between the clusters: effect sizes first, then tests.

    **Clusters that were made of these rows separate these rows by construction.** The p-values below are those of tests
    whose groups were fixed before the data were seen; after clustering they are far too small, even on noise without
    any clusters. Read the effect sizes, and use `separation_held_out` for p-values that may be believed.

    With n rows in k clusters, n_j of them with mean m_j and variance s_j^2 in cluster j:

    - eta squared = SS_between / SS_total, and F = (SS_between / (k - 1)) / (SS_within / (n - k)): one-way ANOVA.
    - Welch's F for unequal variances, with weights n_j / s_j^2 (Welch, Biometrika 1951).
    - H = 12 / (n (n + 1)) sum n_j (mean rank_j - (n + 1) / 2)^2, corrected for ties (Kruskal and Wallis, JASA 1952):
      the test that suits K-Medians, and epsilon squared = H / (n - 1) (Tomczak and Tomczak, Trends in Sport Sciences
      2014).
    - p_adjusted: p-values that bound the share of false discoveries among the features (Benjamini and Hochberg,
      JRSS B 1995).

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
    labels : array-like of shape (n_samples,)
        Rows labelled -1 are in no cluster and left out.
    feature_names : sequence of str, optional
        Default: the columns of a DataFrame or a Parquet file, else x0, x1, ...
    device : {'auto', 'cpu', 'cuda', 'cuda:N', 'cuda:all'} or list of 'cuda:N', default='auto'
        Where rows are read from chunk by chunk; 'auto': where they are. The statistics are computed on the host.
    chunk_size : int, optional
        Rows per chunk. The result does not depend on it.

    Returns
    -------
    DataFrame indexed by feature
        eta_squared, epsilon_squared, F, F_p, F_p_adjusted, welch_F, welch_p, welch_p_adjusted, H, H_p, H_p_adjusted;
        the largest eta squared first. NaN where the data do not allow a test: for features without variance, and for
        Welch's F if a cluster has one row or no variance. Moments take one or two passes. Ranks need whole columns:
        those of streams are read as many at a time as 256 MiB hold, at least one.

    Raises
    ------
    ValueError
        If there are fewer than two clusters, if `labels` or `feature_names` have another length, or if X has NaN or
        infinite values.
    DataError
        If a file cannot be read, or a stream comes with weights.
    ImportError
        If pandas is not installed.
    """
    pandas()
    with opened(X, feature_names, device, chunk_size) as rows:
        groups = Groups.of(labels, rows.source.n_rows)
        clusters = _two(groups)
        found = moments(rows.source, groups.code, len(groups.names)).of(clusters)
        sums = list(_rank_sums(rows, groups, clusters))
    return table(found, sums, rows.names)


def table(found: Summary, sums: list[effects.RankSums], names: list[str]) -> Any:
    """What `separation` returns."""
    (anova, eta), welch = effects.anova(found), effects.welch(found)
    kruskal, epsilon = effects.kruskal(sums, found.count[:, 0])
    made = {"eta_squared": eta, "epsilon_squared": epsilon}
    for name, test in (("F", anova), ("welch_F", welch), ("H", kruskal)):
        stem = name.removesuffix("_F")
        made |= {name: test.statistic, f"{stem}_p": test.p, f"{stem}_p_adjusted": effects.adjusted(test.p)}
    return _frame(made, names, -eta)


def _two(groups: Groups) -> np.ndarray:
    if len(groups.clusters) < 2:
        raise ValueError(f"Clusters are compared, and labels has {len(groups.clusters)} beside noise; 2 are needed.")
    return groups.clusters


def _rank_sums(rows: Opened, groups: Groups, clusters: np.ndarray) -> Any:
    k, noise = len(clusters), groups.noise
    inside = slice(None) if noise is None else groups.code != noise
    code = groups.code[inside] if noise is None else groups.code[inside] - (groups.code[inside] > noise)
    for column in columns(rows.source):
        yield effects.RankSums.of(column[inside], code, k)


def _frame(made: dict[str, np.ndarray], names: list[str], key: np.ndarray) -> Any:
    pd = pandas()
    order = np.argsort(key, kind="stable")  # NaN last
    return pd.DataFrame(made, index=pd.Index(names, name="feature")).iloc[order]


def pairwise_tests(
    X: Any,
    labels: Any,
    a: Any,
    b: Any,
    *,
    feature_names: Sequence[Any] | None = None,
    device: Device = "auto",
    chunk_size: int | None = None,
) -> Any:
    """In what two clusters differ: Welch's t-test for each feature, effect sizes first.

    The warning of `separation` holds here, too: the p-values are those of groups that were fixed before the data were
    seen.

    Parameters
    ----------
    X, labels, feature_names, device, chunk_size
        As for `separation`.
    a, b : labels of two clusters

    Returns
    -------
    DataFrame indexed by feature
        cohens_d, hedges_g (the difference a - b of the means in pooled standard deviations, and without small-sample
        bias: Hedges, Journal of Educational Statistics 1981), mean_a, mean_b, difference, t, p, p_adjusted (Benjamini
        and Hochberg 1995); the largest |d| first.

    Raises
    ------
    ValueError
        If `a` or `b` is not a label, both are the same, or one has fewer than two rows; as `separation`.
    DataError, ImportError
        As `separation`.
    """
    pandas()
    with opened(X, feature_names, device, chunk_size) as rows:
        groups = Groups.of(labels, rows.source.n_rows)
        sides = [_one(groups, label) for label in (a, b)]
        if a == b:
            raise ValueError(f"a and b are both {a!r}; two clusters are compared.")
        found = moments(rows.source, groups.code, len(groups.names))
    one, two = (found.of(side) for side in sides)
    test, (d, g) = effects.welch_t(one, two), effects.cohens_d(one, two)
    made = {"cohens_d": d, "hedges_g": g, "mean_a": one.mean[0], "mean_b": two.mean[0]}
    made |= {"difference": one.mean[0] - two.mean[0], "t": test.statistic, "p": test.p}
    return _frame(made | {"p_adjusted": effects.adjusted(test.p)}, rows.names, -np.abs(d))


def _one(groups: Groups, label: Any) -> np.ndarray:
    found = np.flatnonzero(groups.names == label)
    if not len(found):
        raise ValueError(f"{label!r} is none of the labels {', '.join(map(repr, groups.names.tolist()))}.")
    if np.count_nonzero(groups.code == found[0]) < 2:
        raise ValueError(f"Cluster {label!r} has one row; a t-test needs two or more.")
    return found
