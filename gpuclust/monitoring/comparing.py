"""New rows against a model's training summary."""

from __future__ import annotations

from typing import Any

import numpy as np

from .. import models
from .blocks import open_rows
from .columns import category_names
from .judging import Thresholds
from .report import DriftReport
from .summary import TrainingSummary
from .tally import Tally


def compare(
    model: Any, X: Any, *, summary: TrainingSummary | None = None, thresholds: Thresholds | None = None
) -> DriftReport:
    """Whether new rows are like those that a model was fitted on, without those: against their summary. One pass.

    Every column that the model uses is tested: one of numbers for its distribution (Kolmogorov-Smirnov, at the values
    that the summary has), for its stability (the population stability index over tenths of the training rows;
    chi-squared) and for values outside the training's range; one of categories for the shares of its values and for
    values that it did not have; each for missing values. Then the shares of the clusters, the distances to the centres,
    and the share of rows that are far from every centre. A test counts where it is significant, with the p-values of
    all tests adjusted together, and the difference is as large as a threshold: so a million rows raise no alarm at
    nothing, and fifty none by chance.

    If the new rows come from the same distribution as the training rows, the chance of a significant test anywhere is
    about `thresholds.alpha` at most, and that of a verdict other than 'ok' is no larger. Simulated with alpha = 0.01,
    400 times for each of five shapes of data (clusters, one cluster cut into four, heavy tails, ties, categories) and
    five sizes, from 200 training and 50 new rows to 10,000 of each: significant in 0.61 %, not 'ok' in 0.31 % of the
    runs, and in at most 2.0 % and 1.0 % of those of one shape and size. Of 1000 new rows (10,000 training rows, 6
    features), 'watch' or 'retrain' was said in 95 % of the runs where the mean of one feature had moved by 0.2 standard
    deviations, and in 99 % or more where it had moved by 0.5, a variance had doubled, clusters were 1.25 times as wide,
    a new cluster had 2 % of the rows, one of 10 % had vanished, or a feature lacked 10 % of its values
    (`benchmarks/results/drift-cpu.json`).

    Parameters
    ----------
    model : fitted clustering estimator or Pipeline, what `read_model` returned, or a pair (model, summary)
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        New rows, as the model is given them: before any preprocessing. Each counts once.
    summary : TrainingSummary, optional
        Of the model's training rows: what `summarize` returned. Default: the one that came with the model.
    thresholds : Thresholds, optional

    Returns
    -------
    DriftReport

    Raises
    ------
    ValueError
        If there is no summary, or X has no rows or other columns than the model.
    DataError
        If a file cannot be read.
    """
    model, summary = given(model, summary)
    rows, tally = open_rows(model, X), Tally.of(summary, models.used_features(model))
    wrong = np.flatnonzero(rows.categorical & ~tally.categorical & tally.used)
    if len(wrong):
        name = rows.names[wrong[0]]
        raise ValueError(f"Column {name!r} has values that are no numbers; in training all of them were.")
    for block in rows.read():
        columns = [
            category_names(column) if own and not text else column
            for column, own, text in zip(block.columns, tally.categorical, rows.categorical, strict=True)
        ]
        tally.add(columns, block.label, block.distance, block.number)
    if not tally.n_rows:
        raise ValueError("X has no rows.")
    return DriftReport.of(tally, rows.names, thresholds or Thresholds())


def given(model: Any, summary: TrainingSummary | None) -> tuple[Any, TrainingSummary]:
    """The model and its summary, from whatever holds them."""
    if isinstance(model, tuple) and len(model) == 2:
        model, own = model
    elif hasattr(model, "model") and hasattr(model, "summary"):  # what `read_model` returns
        model, own = model.model, model.summary
    else:
        own = None
    summary = own if summary is None else summary
    if summary is None:
        raise ValueError(
            "The model comes without a training summary: make one of the rows that it was fitted on, with"
            " gpuclust.monitoring.summarize(model, X), or fit it again with `gpuclust fit`, which stores one."
        )
    d, k = models.n_features(model), len(models.parts(model).estimator.cluster_centers_)
    if (summary.n_features, len(summary.counts)) != (d, k):
        raise ValueError(
            f"The summary is of {summary.n_features} columns and {len(summary.counts)} clusters, the model has {d} and"
            f" {k}."
        )
    return model, summary
