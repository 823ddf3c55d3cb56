"""What a fit says about itself: the table on the terminal and summary.json."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gpuclust._version import versions

if TYPE_CHECKING:
    from gpuclust.cli.fit import Result

PACKAGES = ("gpuclust", "numpy", "scikit-learn", "numba")
MOST_ROWS = 20  # clusters in the printed table; summary.json has all
MOST_CENTERS, MOST_LINES = 8, 30  # clusters and columns in the printed table of centers


def tell_notes(notes: Iterable[str]) -> None:
    """Print remarks on stderr, where they disturb no pipe."""
    for note in notes:
        print(f"gpuclust: note: {note}", file=sys.stderr)


def print_explanation(sentences: Iterable[str]) -> None:
    """Print what becomes of the columns."""
    for sentence in sentences:
        print(f"  {sentence}")


def print_centers(columns: list[str], values: Any, order: Any) -> None:
    """Print the centers of the largest clusters, a line for each column."""
    from rich.console import Console
    from rich.table import Table

    shown = order[:MOST_CENTERS]
    grid = Table(title="centers, in the units of the data", title_justify="left")
    grid.add_column("column")
    for cluster in shown:
        grid.add_column(str(cluster), justify="right")
    for column, line in list(zip(columns, values.T, strict=True))[:MOST_LINES]:
        grid.add_row(column, *(f"{line[cluster]:.4g}" for cluster in shown))
    console = Console(highlight=False, soft_wrap=True)
    console.print(grid)
    if len(order) > MOST_CENTERS or len(columns) > MOST_LINES:
        console.print("and more, in centers.csv")


def print_clusters(result: Result, paths: Iterable[Path]) -> None:
    """Print the table of clusters, largest first, and where the results lie."""
    from rich.console import Console
    from rich.table import Table

    model, clusters, table = result.model, result.clusters, result.table
    order = clusters.size.argsort(kind="stable")[::-1]
    grid = Table(
        title=f"{table.path.name}: {table.rows:,} rows x {len(table.columns)} columns", title_justify="left"
    )
    weighted = table_weighted(result)
    for name in ["cluster", "size", "share", *(["weight"] if weighted else []), "inertia"]:
        grid.add_column(name, justify="right")
    for cluster in order[:MOST_ROWS]:
        size = int(clusters.size[cluster])
        weight = [f"{clusters.weight[cluster]:.6g}"] if weighted else []
        grid.add_row(
            str(cluster), f"{size:,}", f"{size / table.rows:.2%}", *weight, f"{clusters.inertia[cluster]:.6g}"
        )
    console = Console(highlight=False, soft_wrap=True)
    console.print(grid)
    if result.prepared is not None:
        print_centers(*result.centers(), order)
    if len(order) > MOST_ROWS:
        console.print(f"and {len(order) - MOST_ROWS} smaller clusters, in summary.json")
    console.print(
        f"{type(model).__name__}: inertia {model.inertia_:.9g} after {model.n_iter_} iterations"
        f"{' (converged)' if getattr(model, 'converged_', False) else ''}, "
        f"{result.seconds:.2f} s on {model.device_}"
        f" ({result.reason.rstrip('.')})",
        markup=False,
    )
    console.print(f"written: {', '.join(str(path) for path in paths)}", markup=False)


def table_weighted(result: Result) -> bool:
    """Tell whether rows had weights."""
    return result.table.weight is not None or bool(getattr(result.table.source, "weighted", False))


def summary(result: Result) -> dict[str, Any]:
    """Return the content of summary.json."""
    model, clusters, table, settings = result.model, result.clusters, result.table, result.settings
    weighted = table_weighted(result)
    return {
        "data": {
            "path": str(table.path.resolve()), "rows": table.rows, "columns": table.columns,
            "weight": settings.weight,
        },
        "model": model_summary(model),
        "inertia": float(model.inertia_),
        "iterations": int(model.n_iter_),
        "converged": bool(getattr(model, "converged_", False)),
        "passes": int(getattr(model, "n_passes_", 0)),
        "seconds": round(result.seconds, 3),
        "device": str(model.device_),
        "device_reason": result.reason,
        "memory": settings.memory,
        "notes": result.notes,
        "clusters": [
            {"cluster": cluster, "size": int(size), "share": int(size) / table.rows}
            | ({"weight": float(weight)} if weighted else {})
            | {"inertia": float(inertia)}
            for cluster, (size, weight, inertia) in enumerate(
                zip(clusters.size, clusters.weight, clusters.inertia, strict=True)
            )
        ],
        "versions": all_versions(),
    } | ({} if result.choice is None else {"choice": choice_summary(result.choice)}) | _preparation(result)  # fmt: skip


def _preparation(result: Result) -> dict[str, Any]:
    """What was done to the rows, and the centers in their units."""
    if result.prepared is None:
        return {}
    prepared, (columns, values) = result.prepared, result.centers()
    dropped = 0 if prepared.kept is None else int((~prepared.kept).sum())
    return {
        "preparation": {
            "options": {name: value for name, value in vars(prepared.asked).items() if value is not None},
            "columns": prepared.frames.columns, "explanation": prepared.explanation, "rows_dropped": dropped,
        },
        "centers": {"columns": columns, "values": values.tolist()},
    }  # fmt: skip


def model_summary(model: Any) -> dict[str, Any]:
    """Return class and parameters of a model."""
    parameters = model.get_params(deep=False).items()
    return {"class": type(model).__name__, "parameters": {name: _plain(value) for name, value in parameters}}


def choice_summary(choice: Any) -> dict[str, Any]:
    """Return what JSON holds of a choice of k."""
    return {
        "recommended_k": choice.recommended_k,
        "agreement": choice.agreement,
        "choices": dict(choice.choices),
        "reasons": dict(choice.reasons),
    }


def all_versions() -> dict[str, str | None]:
    """Return the versions that decide about a result."""
    return {"python": platform.python_version(), **versions(PACKAGES)}


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
