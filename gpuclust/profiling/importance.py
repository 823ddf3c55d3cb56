"""Which features matter to a clustering: what happens without what they tell."""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from sklearn.base import clone
from sklearn.utils import check_random_state

from ..backends.base import Backend, Centers, Chunk, reads_only
from ..backends.statistics import Cost
from ..data.source import Source
from ..errors import DataError
from ..metrics import adjusted_rand_score, silhouette_score
from ..validation import feature_names_of
from .fitted import costs, fitted, metric_of
from .rows import blocks, columns, opened, pandas

SHUFFLED = "shuffled"  # column of a ledger: the values of the feature at hand


@dataclass(frozen=True)
class _Change:
    """What rows cost, and how many changed cluster."""

    cost: Cost
    moved: int

    def merge(self, other: _Change) -> _Change:
        return _Change(self.cost.merge(other.cost), self.moved + other.moved)


def permutation_importance(estimator: Any, X: Any, *, n_repeats: int = 5, random_state: Any = None) -> Any:
    """What the clustering loses when a feature's values are shuffled among the rows.

    Each feature in turn is permuted, and the rows are assigned to the centres as they are (Breiman, "Random forests",
    Machine Learning 2001, section 10, for clusters). No row is copied but those of the block at hand; of streams, whole
    columns are held, as many as 256 MiB hold.

    Parameters
    ----------
    estimator : fitted estimator with `cluster_centers_`
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
    n_repeats : int, default=5
        Permutations of each feature.
    random_state : int, RandomState or None, default=None

    Returns
    -------
    DataFrame indexed by feature
        loss_increase and loss_increase_std (mean and standard deviation, divisor n, over the repeats, of what the rows
        cost more: squared distances, or Manhattan distances for K-Medians), relative_increase (by the loss of X),
        label_change and label_change_std (share of the rows that change cluster); the largest loss increase first.

    Raises
    ------
    NotFittedError
        If `fit` was not called.
    ValueError
        If `n_repeats` is less than 1, or X has another number of features, or NaN or infinite values.
    DataError
        If a file cannot be read, or a stream comes with weights.
    ImportError
        If pandas is not installed.
    """
    pd, random_state = pandas(), check_random_state(random_state)
    _check_repeats(n_repeats)
    with fitted(estimator, X) as rows:
        source, stage = rows.source, rows.stage()
        label, n = rows.assign()[0], source.n_rows
        if source.remote:
            source.allocate("label", label.dtype, 0)
            source.allocate(SHUFFLED, source.dtype, 0)
        told = _told(source, "label", label)
        before = float(source.fold(_shuffled, stage, told, None, None).cost.total.value())
        made = []
        for f, column in enumerate(columns(source)):
            shuffles = (_told(source, SHUFFLED, column[random_state.permutation(n)]) for _ in range(n_repeats))
            found = [source.fold(_shuffled, stage, told, f, values) for values in shuffles]
            loss = [float(each.cost.total.value()) - before for each in found]
            moved = [each.moved / n for each in found]
            made.append((np.mean(loss), np.std(loss), np.mean(moved), np.std(moved)))
    names = ["loss_increase", "loss_increase_std", "label_change", "label_change_std"]
    features = feature_names_of(estimator, estimator.cluster_centers_.shape[1])
    table = pd.DataFrame(made, columns=names, index=pd.Index(features, name="feature"))
    table.insert(2, "relative_increase", table["loss_increase"] / (before or np.nan))
    return table.sort_values("loss_increase", ascending=False, kind="stable")


def _told(source: Source, name: str, values: np.ndarray) -> np.ndarray | None:
    """A column [n] for a step: itself, or None where rows are far away, each worker of which is sent its own part."""
    if not source.remote:
        return values
    source.fill(name, values)
    return None


@reads_only
def _shuffled(
    backend: Backend, chunk: Chunk, stage: Centers, before: np.ndarray | None, f: int | None, values: np.ndarray | None
) -> _Change:
    """What rows cost with `values` [n] of all rows, or those of the ledger, as feature f."""
    parts = []
    for where, rows in blocks(chunk):
        X = backend.upload(rows.toarray(), rows.dtype) if hasattr(rows, "toarray") else rows.copy()
        here = slice(where.start - chunk.start, where.stop - chunk.start)
        if f is not None:
            X[:, f] = chunk.rows[SHUFFLED][here] if values is None else backend.upload(values[where], X.dtype)
        label, cost = costs(backend, X, where.start, stage)
        old = backend.to_host(chunk.rows["label"][here]) if before is None else before[where]
        moved = int(np.count_nonzero(backend.to_host(label) != old))
        parts.append(_Change(backend.total(cost, None, label, len(stage.given)), moved))
    return reduce(_Change.merge, parts)


def ablation_importance(
    estimator: Any, X: Any, *, n_repeats: int = 3, random_state: Any = None, sample_size: int = 10_000
) -> Any:
    """How the clustering changes when it is made without a feature.

    A clone of the estimator is fitted to all features and to all but one, from the same seed. Where clusters change
    from seed to seed anyway, every feature seems to matter: look at `gpuclust.selection.stability` as well.

    Parameters
    ----------
    estimator : estimator, fitted or not
    X : array-like, sparse CSR or DataFrame of shape (n_samples, n_features)
    n_repeats : int, default=3
        Seeds.
    random_state : int, RandomState or None, default=None
    sample_size : int, default=10_000
        Rows that silhouettes are computed on; of more rows, so many are drawn, the same for every feature.

    Returns
    -------
    DataFrame indexed by feature
        ari_loss and ari_loss_std: 1 - adjusted Rand index of the clusters with and without the feature, mean and
        standard deviation (divisor n) over the seeds; silhouette_change and silhouette_change_std: how much higher the
        silhouette of the clusters that were made without it is than of those made with it, both measured on all
        features, NaN where there is only one cluster. The largest ARI loss first.

    Raises
    ------
    ValueError
        If `n_repeats` is less than 1, X has a single feature, or for what `fit` rejects.
    DataError
        If X is streamed: refits need the rows in memory.
    ImportError
        If pandas is not installed.
    """
    pd, random_state = pandas(), check_random_state(random_state)
    _check_repeats(n_repeats)
    rows, names = in_memory(X)
    if rows.shape[1] < 2:
        raise ValueError("X has a single feature; without it there is nothing to cluster.")
    found = np.empty((n_repeats, rows.shape[1], 2))
    for repeat in range(n_repeats):
        seed = int(random_state.randint(np.iinfo(np.int32).max))
        sample = np.random.RandomState(seed).permutation(rows.shape[0])[:sample_size]
        found[repeat] = _ablated(estimator, rows, seed, np.sort(sample))
    made = {
        "ari_loss": found[..., 0].mean(axis=0), "ari_loss_std": found[..., 0].std(axis=0),
        "silhouette_change": found[..., 1].mean(axis=0), "silhouette_change_std": found[..., 1].std(axis=0),
    }  # fmt: skip
    table = pd.DataFrame(made, index=pd.Index(names, name="feature"))
    return table.sort_values("ari_loss", ascending=False, kind="stable")


def _ablated(estimator: Any, rows: Any, seed: int, sample: np.ndarray) -> np.ndarray:
    """(ARI loss, change of the silhouette) without each feature, f64 [d, 2]."""
    metric = "manhattan" if metric_of(estimator).l1 else "euclidean"
    every, out = np.arange(rows.shape[1]), []
    label = _labels(estimator, rows, every, seed)
    before = _silhouette(rows[sample], label[sample], metric)
    for f in every:
        without = _labels(estimator, rows, np.delete(every, f), seed)
        after = _silhouette(rows[sample], without[sample], metric)
        out.append((1 - adjusted_rand_score(label, without), after - before))
    return np.array(out)


def _labels(estimator: Any, rows: Any, features: np.ndarray, seed: int) -> np.ndarray:
    model = clone(estimator)
    given = model.get_params(deep=False)
    if "random_state" in given:
        model.set_params(random_state=seed)
    if not isinstance(given.get("init", ""), str) and not callable(given["init"]):
        model.set_params(init=np.asarray(given["init"])[:, features])
    return np.asarray(model.fit(rows[:, features]).labels_)


def _silhouette(rows: Any, label: np.ndarray, metric: str) -> float:
    if not 1 < len(np.unique(label)) < len(label):
        return np.nan
    return float(silhouette_score(rows, label, metric=metric))


def _check_repeats(n_repeats: int) -> None:
    if n_repeats < 1:
        raise ValueError(f"n_repeats={n_repeats!r} must be 1 or more.")


def in_memory(X: Any) -> tuple[Any, list[str]]:
    """All rows on the host, dense or CSR, and the features' names.

    Raises
    ------
    DataError
        If they are streamed.
    """
    with opened(X, None, "auto", None) as found:
        rows, backend = found.source.host_rows, found.source.backend
    if rows is None:
        raise DataError("Models are fitted anew to parts of X, which needs the rows in memory: pass an array.")
    return backend.to_host(rows), found.names
