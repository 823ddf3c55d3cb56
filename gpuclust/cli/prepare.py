"""`gpuclust fit --scale ... --impute ...`: what rows pass before they are clustered; models that have such steps."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from gpuclust.cli.failures import DataProblem, UsageProblem, sentence
from gpuclust.cli.frames import Frames, open_frames
from gpuclust.cli.tables import Table, array_chunks, open_for, split_names

LOOKED_AT = 100_000  # rows behind the choices for columns, where not all are in memory


@dataclass(frozen=True)
class Preparation:
    """The options; None: not given."""

    scale: str | None = None
    impute: str | None = None
    categorical: str | None = None
    outliers: str | None = None
    missing: str | None = None

    @property
    def asked(self) -> bool:
        return any(vars(self).values())

    def choices(self) -> dict[str, Any]:
        """The arguments of `make_preprocessor`."""
        outliers = "none" if self.outliers == "drop" else self.outliers
        return {name: value for name, value in {**vars(self), "outliers": outliers}.items() if value is not None}


@dataclass(frozen=True)
class Prepared:
    """Rows that are ready to be clustered."""

    asked: Preparation
    table: Table
    preprocessor: Any  # fitted Pipeline
    explanation: list[str]
    kept: Any  # bool [rows of the file]; None: all
    frames: Frames  # the columns that are used, of all rows of the file: those that were dropped included

    def model(self, estimator: Any) -> Any:
        """The whole way from the file's rows to clusters."""
        from sklearn.pipeline import Pipeline

        return Pipeline([*self.preprocessor.steps, ("cluster", estimator)])

    def labels(self, labels: Any) -> Any:
        """A label for every row of the file: -1 for those that were dropped."""
        if self.kept is None:
            return labels
        out = np.full(len(self.kept), -1, np.int32)
        out[self.kept] = labels
        return out


def prepare(path: Path, columns: str | None, weight: str | None, asked: Preparation) -> Prepared:
    """Choose what becomes of each column, drop rows where that was asked for, and fit the preprocessing."""
    from gpuclust.preprocessing import make_preprocessor

    frames = open_frames(path, split_names(columns), weight)
    with prepared_problems(path):
        made = make_preprocessor(frames.head(frames.rows if frames.fits else LOOKED_AT), **asked.choices())
    told = list(made.explanation_)
    if not frames.fits and frames.rows > LOOKED_AT:
        told.insert(0, f"What becomes of the columns is chosen by the first {LOOKED_AT:,} of {frames.rows:,} rows.")
    used = {name for _, _, names in made["columns"].transformers for name in names}
    frames = frames.of([name for name in frames.columns if name in used])
    with prepared_problems(path):
        left, kept, dropped = _dropped(frames, made, asked)
        table = _fitted(left, made, weight)
    return Prepared(asked, table, made, told + dropped, kept, frames)


def _dropped(frames: Frames, made: Any, asked: Preparation) -> tuple[Frames, Any, list[str]]:
    """The rows that are left, which those are, and how many were dropped and why."""
    kept, told = np.ones(frames.rows, bool), []
    if asked.missing == "drop":
        frames, mask = _selected(frames, lambda frame: frame.notna().all(axis=1).to_numpy())
        told.append(f"{int((~mask).sum())} of {len(mask)} rows miss a value and are dropped.")
        kept[kept] = mask
    numbers: list[str] = next((names for name, _, names in made["columns"].transformers if name == "number"), [])
    if asked.outliers == "drop" and len(numbers):
        from gpuclust.preprocessing import OutlierFilter
        from gpuclust.preprocessing.chunked import numbers as stream_of

        outliers = OutlierFilter().fit(stream_of(frames.frames, numbers))

        def within(frame: Any) -> Any:
            return outliers.mask(frame[numbers].to_numpy(np.float64, na_value=np.nan))

        frames, mask = _selected(frames, within)
        named = dict(zip((f"x{f}" for f in range(len(numbers))), numbers, strict=True))
        told += [_renamed(text, named) for text in outliers.explanation_]
        kept[kept] = mask
    if not frames.rows:
        raise DataProblem(f"{str(frames.path)!r}: no row is left; {' '.join(told)}")
    return frames, None if kept.all() else kept, told


def _renamed(text: str, named: dict[str, str]) -> str:
    import re

    return re.sub(r"\bx\d+\b", lambda found: named.get(found[0], found[0]), text)


def _selected(frames: Frames, keep: Callable[[Any], Any]) -> tuple[Frames, Any]:
    mask = np.concatenate([keep(frame) for frame in frames.frames()])
    return frames.kept(keep, int(mask.sum())), mask


def _fitted(frames: Frames, made: Any, weight: str | None) -> Table:
    """The rows after the preprocessing, which is fitted: in memory, or made anew in every pass."""
    if frames.fits:
        made.fit(frames.head(frames.rows))
    else:
        from gpuclust.preprocessing.chunked import fit_in_chunks

        fit_in_chunks(made, frames.frames)
    return table_of(frames, made, weight is not None)


def table_of(
    frames: Frames, preprocessor: Any, weighted: bool, transform: Callable[[Any], Any] | None = None
) -> Table:
    """A file's rows after a fitted preprocessing, by `transform` in place of its own if given."""
    transform = transform or preprocessor.transform

    def chunks() -> Iterator[Any]:
        for frame, weight in frames.pieces():
            if len(frame):
                X = _floats(transform(frame))
                yield (X, weight) if weighted else X

    if frames.fits:
        made = list(chunks())
        X = np.concatenate([part[0] for part in made] if weighted else made)
        w = np.concatenate([part[1] for part in made]) if weighted else None
        return _table(frames.path, preprocessor, frames.rows, X, w, array_chunks(X, w), frames.note)
    return _streamed(frames.path, preprocessor, frames.rows, chunks, frames.note)


def _streamed(path: Path, preprocessor: Any, rows: int, chunks: Callable[[], Iterator[Any]], note: str) -> Table:
    from gpuclust.data.stream import stream

    source = stream(chunks)
    return _table(path, preprocessor, rows, source, None, lambda step: source.open().blocks(step), note)


def _table(path: Path, preprocessor: Any, rows: int, source: Any, weight: Any, chunks: Any, note: str) -> Table:
    """Prepared rows; their columns are told in the units of the file, where these have such."""
    from gpuclust.models import InputUnits
    from gpuclust.profiling.units import Units

    try:
        units = InputUnits(preprocessor)
        Units.of(units, np.zeros(len(units.columns)), np.ones(len(units.columns)))
    except ValueError:
        names = [str(name) for name in preprocessor.get_feature_names_out()]
        return Table(path, names, True, rows, source, weight, chunks, note)
    return Table(path, units.columns, True, rows, source, weight, chunks, note, units)


def unweighted(table: Table) -> Table:
    """The same rows, each counted once."""
    from gpuclust.data.stream import stream

    if table.weight is not None:
        return replace(table, weight=None, chunks=array_chunks(table.source, None))

    def rows() -> Iterator[Any]:
        return (X for _, X, _ in table.blocks())

    source = stream(rows)
    return replace(table, source=source, chunks=lambda step: source.open().blocks(step))


def _floats(X: Any) -> Any:
    """Rows as float32 or float64: columns that are passed through may be objects."""
    return np.ascontiguousarray(X, np.float32 if X.dtype == np.float32 else np.float64)


def table_for(data: Path, columns: str | None, model: Any, preprocessor: Any) -> Table:
    """The rows of a file as a model's estimator takes them: columns are found by name, if the model has names."""
    from gpuclust.models import Given

    if getattr(model, "feature_names_in_", None) is None:
        return _unnamed(data, columns, model, preprocessor)
    with prepared_problems(data):
        return table_of(frames_for(data, columns, model), preprocessor, False, Given(model).preprocessed)


def frames_for(data: Path, columns: str | None, model: Any) -> Frames:
    """The rows of a file as a model was given them in its training, under the model's names if it has any."""
    from gpuclust.models import Given, feature_names, input_features

    features, names = input_features(model), split_names(columns) or feature_names(model)
    text = [
        name for name, each in zip(names, features, strict=False)  # how many there are is seen to by `open_for`
        if each.categories and all(isinstance(value, str) for value in each.categories)
    ]  # fmt: skip
    frames: Frames = open_for(data, columns, model, partial(open_frames, text=text))
    named = getattr(model, "feature_names_in_", None) is not None
    return (frames.renamed(feature_names(model)) if named else frames).mapped(Given(model))


def _unnamed(data: Path, columns: str | None, model: Any, preprocessor: Any) -> Table:
    table: Table = open_for(data, columns, model)

    def chunks() -> Iterator[Any]:
        for _, X, _ in table.blocks():
            yield _floats(preprocessor.transform(X))

    with prepared_problems(data):
        return _streamed(data, preprocessor, table.rows, chunks, table.note)


@contextlib.contextmanager
def prepared_problems(path: Path) -> Iterator[None]:
    """Say which file could not be prepared, and why."""
    try:
        yield
    except (ValueError, TypeError) as error:
        raise DataProblem(f"{str(path)!r}: {sentence(error)}") from error
    except ImportError as error:
        raise UsageProblem(sentence(error)) from error
