"""The progress bar of a fit: iteration, inertia, moved rows, rows per second, time left at most."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gpuclust.solvers.progress import Iteration


STARTING = "choosing the first centers (the first run on a machine also compiles kernels)"


@contextlib.contextmanager
def fit_progress(show: bool) -> Iterator[None]:
    """Show the fit inside the block as a bar on stderr, where that is a terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    if not (show and console.is_terminal):
        yield
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    from gpuclust.solvers.progress import listen

    columns = (SpinnerColumn(), BarColumn(bar_width=20), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        with listen(Listener(bar, bar.add_task(STARTING, total=None))):
            yield


@contextlib.contextmanager
def choice_progress(show: bool) -> Iterator[Callable[[str, int, int], None] | None]:
    """Yield what tells a choice of k how far it is: a bar on stderr, where that is a terminal, else nothing."""
    from rich.console import Console

    console = Console(stderr=True)
    if not (show and console.is_terminal):
        yield None
        return
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn

    columns = (SpinnerColumn(), BarColumn(bar_width=20), TextColumn("{task.description}"))
    with Progress(*columns, console=console, transient=True) as bar:
        task = bar.add_task(STARTING, total=None)

        def tell(what: str, done: int, of: int) -> None:
            bar.update(task, total=of, completed=done, description=f"{what}  {done}/{of}")

        yield tell


class Listener:
    """Moves the bar on each iteration."""

    def __init__(self, bar: Any, task: Any) -> None:
        self.bar, self.task = bar, task

    def __call__(self, record: Iteration) -> None:
        self.bar.update(
            self.task, total=record.max_iter, completed=record.iteration, description=describe(record)
        )


def describe(record: Iteration) -> str:
    """Return one line about an iteration; the time left is a bound: most fits converge before max_iter."""
    run = f"run {record.run + 1}  " if record.run else ""
    rate = record.rows / record.seconds if record.seconds > 0 else 0.0
    left = max(0, record.max_iter - record.iteration) * record.seconds
    return (
        f"{run}iteration {record.iteration}/{record.max_iter}  inertia {record.inertia:.6g}  "
        f"moved {record.moved:,}  {quantity(rate)} rows/s  at most {clock(left)} left"
    )


def quantity(number: float) -> str:
    """Return a number in three figures: 12.3M."""
    for suffix, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g}{suffix}"
    return f"{number:.3g}"


def clock(seconds: float) -> str:
    """Return a duration as h:mm:ss or m:ss."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
