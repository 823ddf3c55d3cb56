"""The result of `choose_k`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, eq=False)
class ChoiceOfK:
    """Criteria for every number of clusters, and what they choose.

    Attributes
    ----------
    table : DataFrame
        One row per k: `k`, `inertia`, one column per criterion (`elbow`: how far the inertia lies below the line from
        the first to the last, as a share of its fall), `gap_se`, `silhouette_rows` and `gap_rows` (rows behind these
        two criteria), `n_iter`, `seconds` (of the fits).
    choices : dict of str to int or None
        The k that each criterion chooses; None where it chooses none.
    reasons : dict of str to str
        Why, in a sentence; `recommended` says how the recommendation came about.
    agreement : float
        Share of the criteria that choose `recommended_k`.
    recommended_k : int
    best_estimator_ : estimator
        Fitted with `recommended_k` clusters on all rows.
    """

    table: Any
    choices: Mapping[str, int | None]
    reasons: Mapping[str, str]
    agreement: float
    recommended_k: int
    best_estimator_: Any

    def plot(self, *, ax: Any = None) -> Any:
        """The criteria by k, with their choices marked.

        Parameters
        ----------
        ax : array of matplotlib Axes, optional
            One for each criterion; default: a new figure.

        Returns
        -------
        CriteriaDisplay

        Raises
        ------
        ImportError
            If matplotlib is missing.
        """
        from ..plotting import CriteriaDisplay

        return CriteriaDisplay.from_result(self, ax=ax)
