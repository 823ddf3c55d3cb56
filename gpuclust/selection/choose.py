"""How many clusters."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import Any, Final

import numpy as np

from ..estimators.kmeans import KMeans
from ..extras import require
from ..solvers.nearest import label
from .choice import ChoiceOfK
from .gap import gap
from .measure import MEASURES, measure
from .rules import NAMES, chosen, recommended
from .sweep import Found, Opened, Tell, check_estimator, fitted, open_rows, seeds_of, sweep

CRITERIA: Final = tuple(NAMES)
COLUMNS: Final = (
    "k", "inertia", *CRITERIA, "gap_se", "silhouette_rows", "gap_rows", "distinct", "n_iter", "seconds"
)  # fmt: skip


def choose_k(
    X: Any,
    ks: Iterable[int] = range(2, 31),
    *,
    estimator: Any = None,
    criteria: Sequence[str] = CRITERIA,
    n_references: int = 10,
    reference: str = "auto",
    sample_size: int = 10_000,
    sample_weight: Any = None,
    random_state: Any = None,
    n_jobs: int | None = None,
    progress: Tell | None = None,
) -> ChoiceOfK:
    """Cluster X into every number of clusters of `ks` and judge which fits best.

    X is validated and copied to the device once. One k-means++ seeding serves all k (its first k rows are a draw of k),
    and each k is started from the fit above it as well, with the cheapest pairs of clusters merged; the better fit
    counts. This helps every k alike, and the references of the gap statistic are clustered likewise: no k is favoured.

    Parameters
    ----------
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
    ks : iterable of int, default=range(2, 31)
        Numbers of clusters, in any order. Silhouette, Davies-Bouldin and Calinski-Harabasz do not exist for 1.
    estimator : KMeans, KMedians, MiniBatchKMeans or MiniBatchKMedians, optional
        Its `n_clusters` does not matter. Default ``KMeans()``. Medians are judged by Manhattan distances throughout.
    criteria : sequence of {'elbow', 'silhouette', 'davies_bouldin', 'calinski_harabasz', 'gap'}
        Default: all.
    n_references : int, default=10
        Sets of uniform rows behind the gap statistic.
    reference : {'auto', 'pca', 'box'}, default='auto'
        Where these rows lie: in the box of the data, or in the box along its principal components. 'auto': the latter,
        for medians the box of the data.
    sample_size : int, default=10_000
        The silhouette of more rows is estimated from so many, drawn from each cluster by its share; the gap statistic
        is that of so many random rows, clustered anew. All other criteria are exact.
    sample_weight : array-like of shape (n_samples,), optional
        A weight is a number of repetitions; the silhouette alone counts each row once.
    random_state : int, RandomState or None, default=None
        Default: that of the estimator.
    n_jobs : int, optional
        Processes in which the references of the gap statistic are clustered, no more than the memory has room for; -1:
        one for each core. Default: one, unless `joblib.parallel_config` says otherwise. No result depends on it. The
        fits themselves follow each other, since each is also started from the one before, on all cores.
    progress : callable, optional
        Called with (what was done, how many of these, of how many).

    Returns
    -------
    ChoiceOfK

    Raises
    ------
    ValueError
        For unknown criteria, `ks` that are no numbers of clusters or more than X has rows, and what `fit` rejects.
    TypeError
        If the estimator is none of ours.
    ImportError
        If pandas, or kneed for the elbow, is missing.

    Notes
    -----
    `recommended_k` is the k that most criteria choose, of several the smallest (if none chooses: the smallest of `ks`).
    How often that finds the true number is measured in `benchmarks/selection.py`: where K-Means given that number
    finds the true clusters, mostly; where clusters are not round, hardly.
    Which k fits best depends on `ks`: the elbow is the bend of the curve between the ends of the range.

    Examples
    --------
    >>> import numpy as np
    >>> from gpuclust.selection import choose_k
    >>> X = np.random.default_rng(0).normal(size=(300, 2)) + 9 * np.arange(300)[:, None] % 27
    >>> choose_k(X, range(1, 8), random_state=0).recommended_k
    3
    """
    require("pandas", "choose_k")
    numbers, names = _numbers(ks), _names(criteria)
    if reference not in ("auto", "pca", "box"):
        raise ValueError(f"reference={reference!r} is none of 'auto', 'pca', 'box'.")
    for name, value in (("n_references", n_references), ("sample_size", sample_size)):
        if not isinstance(value, Integral) or value < 1:
            raise ValueError(f"{name}={value!r} must be a positive integer.")
    estimator = KMeans() if estimator is None else estimator
    check_estimator(estimator)
    if not isinstance(estimator.init, str) and not callable(estimator.init):
        raise ValueError("An array for init serves one number of clusters: choose a method, such as 'k-means++'.")
    opened = open_rows(estimator, X, sample_weight, numbers[-1])
    seeds = seeds_of(random_state, estimator, 3)
    found = sweep(opened, numbers, seeds[0], progress)
    columns = _columns(found) | _measured(opened, found, names, sample_size, seeds[1], progress)
    if "gap" in names:
        kind = reference if reference != "auto" else "box" if opened.model._metric.l1 else "pca"
        drawn = gap(
            opened, found, seeds[2], n_references=n_references, reference=kind, sample_size=sample_size,
            n_jobs=n_jobs, tell=progress,
        )  # fmt: skip
        columns |= {"gap": drawn.value, "gap_se": drawn.error, "gap_rows": np.full(len(found), drawn.rows)}
    return _result(opened, found, columns, names)


def _numbers(ks: Iterable[int]) -> list[int]:
    numbers = sorted(set(ks)) if isinstance(ks, Iterable) else []
    if not numbers or not all(isinstance(k, Integral) and not isinstance(k, bool) and k >= 1 for k in numbers):
        raise ValueError(f"ks={ks!r} must hold positive integers, such as range(2, 31).")
    return [int(k) for k in numbers]


def _names(criteria: Sequence[str]) -> tuple[str, ...]:
    names = (criteria,) if isinstance(criteria, str) else tuple(criteria)
    if not names or len(set(names)) < len(names) or not set(names) <= set(CRITERIA):
        raise ValueError(f"criteria={criteria!r} must be different ones of {', '.join(CRITERIA)}.")
    if "elbow" in names:
        require("kneed", "The elbow")
    return names


def _columns(found: dict[int, Found]) -> dict[str, Any]:
    """What the fits tell by themselves."""
    fits = list(found.values())
    names = ("k", "inertia", "n_iter", "distinct", "seconds")
    return {name: np.array([getattr(fit, name) for fit in fits]) for name in names}


def _measured(
    opened: Opened, found: dict[int, Found], names: tuple[str, ...], sample_size: int, seed: int, tell: Tell | None
) -> dict[str, Any]:
    """Criteria of the labels, a column each."""
    wanted = [name for name in names if name in MEASURES]
    rows = []
    for done, fit in enumerate(found.values() if wanted else ()):
        label(opened.source, fit.centers, opened.model._metric)
        rows.append(measure(opened, fit, wanted, sample_size, seed))
        if tell is not None:
            tell("criteria", done + 1, len(found))
    return {name: np.array([row[name] for row in rows]) for name in (rows[0] if rows else ())}


def _result(opened: Opened, found: dict[int, Found], columns: dict[str, Any], names: tuple[str, ...]) -> ChoiceOfK:
    import pandas as pd

    choices, curve = chosen(columns, names, opened.source.n_rows)
    if curve is not None:
        columns["elbow"] = curve
    votes = {name: choice.k for name, choice in choices.items()}
    k, reason = recommended(votes, list(found))
    return ChoiceOfK(
        table=pd.DataFrame({name: columns[name] for name in COLUMNS if name in columns}),
        choices=votes,
        reasons={name: choice.reason for name, choice in choices.items()} | {"recommended": reason},
        agreement=sum(choice.k == k for choice in choices.values()) / len(choices),
        recommended_k=k,
        best_estimator_=fitted(opened, found[k]),
    )
