"""What each criterion chooses, why, and what they choose together."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from .gap import first_within_error

NAMES = {
    "elbow": "elbow",
    "silhouette": "silhouette",
    "davies_bouldin": "Davies-Bouldin index",
    "calinski_harabasz": "Calinski-Harabasz index",
    "gap": "gap statistic",
}
LOWEST = ("davies_bouldin",)


Columns = Mapping[str, np.ndarray]


class Choice(NamedTuple):
    k: int | None
    reason: str


def elbow(ks: Sequence[int], inertia: np.ndarray) -> tuple[Choice, np.ndarray]:
    """The knee of the inertia by `kneed` (Satopaa et al., "Finding a 'kneedle' in a haystack", ICDCS workshops 2011),
    and how far each k lies below the line from the first to the last, in units of the fall; NaN where there is none."""
    nothing = np.full(len(ks), np.nan)
    if len(ks) < 3:
        return Choice(None, "no knee: that takes three numbers of clusters at least"), nothing
    if not inertia.min() < inertia.max():
        return Choice(None, "no knee: the inertia is the same for all numbers of clusters"), nothing
    from kneed import KneeLocator

    found = KneeLocator(ks, inertia, curve="convex", direction="decreasing")
    curve = np.asarray(found.y_difference)
    if found.knee is None:
        return Choice(None, "no knee: the inertia falls without a bend that stands out (kneed)"), curve
    k = int(found.knee)
    share = curve[list(ks).index(k)]
    return Choice(k, f"the inertia bends most at k={k} (kneed), {share:.0%} of its fall below a straight line"), curve


def best(name: str, ks: Sequence[int], columns: Columns) -> Choice:
    """The k of the highest value, for the Davies-Bouldin index the lowest; the smaller k on ties."""
    values = columns[name]
    if np.isnan(values).all():
        return Choice(None, f"the {NAMES[name]} exists for none of these numbers of clusters")
    low = name in LOWEST
    at = int(np.nanargmin(values) if low else np.nanargmax(values))
    others = np.delete(values, at)
    text = f"the {NAMES[name]} is {'lowest' if low else 'highest'} at k={ks[at]}: {values[at]:.4g}"
    if not np.isnan(others).all():
        second = int(np.nanargmin(values * (1 if low else -1) + np.where(np.arange(len(ks)) == at, np.inf, 0)))
        text += f", next k={ks[second]} with {values[second]:.4g}"
    return Choice(int(ks[at]), text)


def gap_choice(ks: Sequence[int], columns: Columns) -> Choice:
    """Tibshirani's rule of one standard error."""
    if not np.any(columns["gap_rows"]):
        return Choice(None, "no gap statistic: rows in the box of sparse rows are not sparse")
    value, error = columns["gap"], columns["gap_se"]
    lacking = np.isnan(value)
    if lacking.any():  # from some k on, since the inertia never rises
        first = int(lacking.argmax())
        ks, value, error = ks[:first], value[:first], error[:first]
    k = first_within_error(ks, value, error)
    if k is None and lacking.any():
        k = columns["k"][first]
        return Choice(None, f"no gap statistic from k={k} on: the inertia is 0, there are too few distinct rows")
    if k is None:
        return Choice(None, f"the gap statistic rises up to k={ks[-1]}: no k is within one standard error of the next")
    at = list(ks).index(k)
    return Choice(
        k,
        f"k={k} is the smallest whose gap, {value[at]:.4g}, is at least that of k={ks[at + 1]},"
        f" {value[at + 1]:.4g}, less its standard error, {error[at + 1]:.2g}",
    )


def chosen(columns: Columns, names: Sequence[str], n_rows: int) -> tuple[dict[str, Choice], np.ndarray | None]:
    """The choice of each criterion, and the elbow's curve."""
    ks = [int(k) for k in columns["k"]]
    curve = None
    choices: dict[str, Choice] = {}
    for name in names:
        if name == "elbow":
            choices[name], curve = elbow(ks, columns["inertia"])
        elif name == "gap":
            choices[name] = _of_sample(gap_choice(ks, columns), columns["gap_rows"], n_rows, "random rows")
        elif name == "silhouette":
            kind = "rows, drawn from each cluster by its share"
            choices[name] = _of_sample(best(name, ks, columns), columns["silhouette_rows"], n_rows, kind)
        else:
            choices[name] = best(name, ks, columns)
    return choices, curve


def _of_sample(choice: Choice, rows: np.ndarray, n_rows: int, kind: str) -> Choice:
    """The choice, whose reason says so where it rests on a sample."""
    used = int(np.max(rows))
    return choice if used in (0, n_rows) else Choice(choice.k, f"{choice.reason} (of {used:,} {kind})")


def recommended(choices: Mapping[str, int | None], ks: Sequence[int]) -> tuple[int, str]:
    """The k that most criteria choose, of several the smallest; the smallest of all where none chooses."""
    votes = Counter(k for k in choices.values() if k is not None)
    if not votes:
        return int(min(ks)), f"no criterion chooses; k={min(ks)} is the fewest clusters that were tried"
    most = max(votes.values())
    first, *others = sorted(k for k in votes if votes[k] == most)
    reason = f"{most} of {len(choices)} criteria choose{'s' if most == 1 else ''} k={first}"
    if others:
        reason += f", as many as k={' and k='.join(map(str, others))}; the fewest clusters are recommended"
    return first, reason
