"""`write_report`: a fitted estimator and its rows, as one HTML file."""

from __future__ import annotations

import os
import platform
import time
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from .._version import __version__, versions
from ..extras import require
from ..files.atomic import atomic_write
from . import describing, judging, placing
from .blocks import Block, Code, Facts, Notes, Section, Text
from .page import Page
from .subject import Subject
from .words import number, quantity, score

NEEDED = ("jinja2", "matplotlib", "pandas", "kneed")
PACKAGES = ("gpuclust", "numpy", "scipy", "scikit-learn", "numba", "pandas", "matplotlib")


def check_installed() -> None:
    """Find out before an hour of work whether a report can be written.

    Raises
    ------
    ImportError
        With the line that installs what is missing.
    """
    for name in NEEDED:
        require(name, "A report")


def write_report(
    path: str | os.PathLike[str],
    estimator: Any,
    X: Any,
    *,
    choice: Any = None,
    feature_names: Sequence[Any] | None = None,
    scaler: Any = None,
    sample_size: int = 10_000,
    n_runs: int = 10,
    random_state: Any = 0,
    title: str | None = None,
    command: str | None = None,
    seconds: float | None = None,
    notes: Sequence[str] = (),
) -> None:
    """Write a report on clusters: how many, whether they are real, and what they are.

    One HTML file that needs no network: pictures are inside, nothing is executed, and every value is escaped.
    Sizes, profiles, Davies-Bouldin, Calinski-Harabasz and odd rows are those of all rows; silhouettes, stability,
    pictures of rows and the comparison of numbers of clusters are those of a random sample (beyond 2 * 10^7 values also
    checks of the data and rank tests), and the report says so.

    Parameters
    ----------
    path : str or path-like
        The file to write; it is replaced in one step, or not at all.
    estimator : KMeans, MiniBatchKMeans, KMedians or MiniBatchKMedians
        Fitted.
    X : array-like, sparse CSR, DataFrame, stream or path of shape (n_samples, n_features)
        The rows that it was fitted on, or others; each counts once.
    choice : ChoiceOfK, optional
        What `gpuclust.selection.choose_k` returned, if it chose the number of clusters. Default: numbers of clusters
        about that of the estimator are compared on the sample.
    feature_names : sequence of str, optional
        Default: those that the estimator or X has, else x0, x1, ...
    scaler : fitted scaler, optional
        What made X of the original rows; profiles and rows are told in the units before it.
    sample_size : int, default=10000
        Rows of the sample.
    n_runs : int, default=10
        Fits behind the stability.
    random_state : int, RandomState or None, default=0
        Of the sample, the comparison and the stability.
    title : str, optional
    command : str, optional
        The command or code that made the clusters.
    seconds : float, optional
        What the fit took.
    notes : sequence of str
        Further remarks.

    Raises
    ------
    NotFittedError
        If the estimator was not fitted.
    ValueError, DataError
        If X does not fit the estimator, has NaN or infinite values, or cannot be read; if a stream comes with weights.
    ImportError
        If Jinja2, matplotlib, pandas or kneed is missing.
    OSError
        If the file cannot be written.

    Examples
    --------
    >>> from gpuclust import KMeans
    >>> from gpuclust.reporting import write_report
    >>> model = KMeans(3, random_state=0).fit(X)  # doctest: +SKIP
    >>> write_report("report.html", model, X)  # doctest: +SKIP
    """
    data = report_bytes(
        estimator, X, choice=choice, feature_names=feature_names, scaler=scaler, sample_size=sample_size,
        n_runs=n_runs, random_state=random_state, title=title, command=command, seconds=seconds, notes=notes,
    )  # fmt: skip
    with atomic_write(path) as handle:
        handle.write(data)


def report_bytes(
    estimator: Any,
    X: Any,
    *,
    choice: Any = None,
    feature_names: Sequence[Any] | None = None,
    scaler: Any = None,
    sample_size: int = 10_000,
    n_runs: int = 10,
    random_state: Any = 0,
    title: str | None = None,
    command: str | None = None,
    seconds: float | None = None,
    notes: Sequence[str] = (),
) -> bytes:
    """The content of the file that `write_report` writes."""
    check_installed()
    started = time.perf_counter()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "X (does not have valid|has) feature names", UserWarning)
        subject = Subject.of(estimator, X, feature_names, scaler, sample_size, random_state)
        sections, key = _sections(subject, choice, n_runs)
    method = _method(subject, n_runs, command, seconds, time.perf_counter() - started, notes)
    when = datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC")
    page = Page(
        title or f"{quantity(subject.k, 'cluster')} of {quantity(subject.n_rows, 'row')}",
        f"{type(estimator).__name__} on {quantity(len(subject.names), 'feature')}; {when}",
        key, [*sections, method], f"Written by gpuclust {__version__}.",
    )  # fmt: skip
    return page.html().encode()


def _sections(subject: Subject, choice: Any, n_runs: int) -> tuple[list[Section], list[tuple[str, str]]]:
    """All sections but the last, and the figures that are read first."""
    found = describing.profiled(subject)
    measures, silhouettes = judging.measures(subject)
    stability, agreement = judging.stable(subject, n_runs)
    sections = [
        judging.data(subject, found.overall),
        judging.chosen(subject, choice),
        judging.sizes(subject),
        judging.quality(subject, measures, silhouettes),
        stability,
        describing.profiles(subject, found),
        describing.separating(subject, found),
        placing.places(subject),
        placing.odd(subject, found),
    ]
    key = [("Rows", f"{subject.n_rows:,}"), ("Features", f"{len(subject.names):,}"), ("Clusters", f"{subject.k:,}")]
    key += [("Silhouette", score(measures["Silhouette"]))] if "Silhouette" in measures else []
    key += [("Stability (ARI)", score(agreement))] if agreement is not None else []
    return sections, key


def _method(
    subject: Subject, n_runs: int, command: str | None, seconds: float | None, spent: float, notes: Sequence[str]
) -> Section:
    """How it was computed."""
    estimator = subject.estimator
    parameters = ", ".join(f"{name}={_short(value)}" for name, value in estimator.get_params(deep=False).items())
    rows = [
        ("Method", f"{type(estimator).__name__}({parameters})"),
        ("Device", str(getattr(estimator, "device_", "not known"))),
        ("Seed of the fit", _short(estimator.get_params(deep=False).get("random_state"))),
        ("Iterations", number(getattr(estimator, "n_iter_", None))),
        ("Converged", _yes(getattr(estimator, "converged_", None))),
        ("Seconds of the fit", number(seconds)),
        ("Seconds of this report", f"{spent:.1f}"),
        ("Sample", f"{subject.sample_words}; seed {_short(subject.random_state)}"),
        ("Runs for stability", str(n_runs)),
        ("Versions", ", ".join(f"{name} {found}" for name, found in versions(PACKAGES).items() if found)),
        ("Machine", f"Python {platform.python_version()}, {platform.platform()}"),
    ]
    blocks: list[Block] = [Facts(rows)]
    blocks += [Text("The command:"), Code(command)] if command else []
    blocks += [Notes(list(notes))] if notes else []
    return Section("method", "How it was computed", blocks)


def _yes(value: bool | None) -> str:
    return "not known" if value is None else "yes" if value else "no"


def _short(value: Any) -> str:
    """A parameter's value, which may be an array."""
    text = " ".join(repr(value).split())
    return text if len(text) <= 60 else f"{text[:59]}…"
