"""Tests of clusters on rows that had no part in making them."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.model_selection import train_test_split

from ..solvers.nearest import label
from . import effects
from .fitted import fitted
from .importance import in_memory
from .rows import pandas
from .separating import separation


def separation_held_out(
    estimator: Any, X: Any, *, test_size: float = 0.5, random_state: Any = None, blind: bool = True
) -> Any:
    """`separation` on rows that the clusters were not made of, and without looking at the feature that is tested.

    A clone of the estimator is fitted to one part of the rows; the rows of the other part are assigned to its centres
    and tested. That alone does not make p-values honest: a row is assigned by the very values that are then compared
    (Gao, Bien and Witten, "Selective inference for hierarchical clustering", JASA 2022, section 2). So, with `blind`,
    each feature is left out of the distances by which the rows are assigned for its own test. A feature that has
    nothing to do with the others then has a p-value that is uniform, clusters or no clusters; a small one says that the
    feature differs between the clusters that the *other* features see. A feature that makes clusters all by itself has
    no small p-value here, whatever its effect size in `separation`.

    Parameters
    ----------
    estimator : estimator, fitted or not
    X : array-like, sparse CSR or DataFrame of shape (n_samples, n_features)
    test_size : float, default=0.5
        Share of the rows that is tested.
    random_state : int, RandomState or None, default=None
        Of the split.
    blind : bool, default=True
        Whether rows are assigned without the feature under test. False: one assignment by all features, whose p-values
        are too small still.

    Returns
    -------
    DataFrame indexed by feature
        As `separation`; NaN for a feature without which all rows fall into one cluster.

    Raises
    ------
    ValueError
        If X has a single feature (`blind`), if fewer than two clusters have rows to test (not `blind`), or for what
        `fit` rejects.
    DataError
        If X is streamed: pass the held-out rows to `separation` yourself, with the labels of `predict`.
    ImportError
        If pandas is not installed.
    """
    pandas()
    rows, names = in_memory(X)
    if blind and rows.shape[1] < 2:
        raise ValueError("X has a single feature; without it no row can be assigned: pass blind=False.")
    train, test = train_test_split(np.arange(rows.shape[0]), test_size=test_size, random_state=random_state)
    model = clone(estimator).fit(rows[np.sort(train)])
    held = rows[np.sort(test)]
    if not blind:
        return separation(held, model.predict(held), feature_names=names)
    return _adjusted([_blind(model, held, f, name) for f, name in enumerate(names)])


def _blind(model: Any, held: Any, f: int, name: str) -> Any:
    """The test of feature f, among rows that are assigned without it."""
    with fitted(model, held) as found:
        centers = found.centers.copy()
        centers[:, f] = centers[:, f].mean()  # as far from one centre as from the other
        label(found.source, centers, found.metric)
        labels = found.source.backend.to_host(found.source.rows("label"))
    if len(np.unique(labels)) < 2:
        return pandas().DataFrame({"eta_squared": [np.nan]}, index=[name])
    return separation(held[:, [f]], labels, feature_names=[name])


def _adjusted(rows: list[Any]) -> Any:
    """One table, with p-values adjusted for all of its features."""
    pd = pandas()
    table = pd.concat(rows).rename_axis("feature")
    for name in [column for column in table if column.endswith("_p_adjusted")]:
        table[name] = effects.adjusted(table[name.removesuffix("_adjusted")].to_numpy())
    return table.sort_values("eta_squared", ascending=False, kind="stable")
