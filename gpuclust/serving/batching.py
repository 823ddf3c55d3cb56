"""Requests that arrive together are scored together.

What has gathered is taken when the event loop has read everything that had arrived: a request alone never waits for
others. Small batches of plain models on the CPU are scored at once: handing them to a thread and back costs more than
the work. All else goes to one thread, and what arrives meanwhile is the next batch.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, NamedTuple

from .answers import Answer
from .columns import Ask
from .drift import Seen
from .loaded import Loaded
from .problems import Refused, in_a_line, overdue, unsuitable

logger = logging.getLogger("gpuclust.serving")
AT_ONCE: Final = 1 << 20  # multiply-adds that the event loop may do itself: a fraction of a millisecond
BATCH_ROWS: Final = 1 << 17
SWEEP: Final = 0.25  # seconds between looks for requests whose time is up


class Waiting(NamedTuple):
    """A request that is not answered yet."""

    loaded: Loaded
    ask: Ask
    answer: asyncio.Future[Answer]
    until: float


Outcome = tuple[list[Any], list[Seen]]


class Batcher:
    """A queue of requests and one thread behind it."""

    def __init__(self, timeout: float, tell: Callable[[Loaded, Seen], None]) -> None:
        self._timeout, self._tell = timeout, tell
        self._queue: deque[Waiting] = deque()
        self._running: list[Waiting] = []
        self._thread = ThreadPoolExecutor(1, "gpuclust-scoring")
        self._loop: Any = None

    def start(self) -> None:
        """Belong to the running event loop."""
        self._loop = asyncio.get_running_loop()
        self._free, self._scheduled = asyncio.Event(), False
        self._free.set()
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)

    async def close(self) -> None:
        """Answer what was accepted, then end the thread."""
        while self._queue or self._running or not self._free.is_set():
            await asyncio.sleep(0.01)
        self._sweeper.cancel()
        self._thread.shutdown()

    def submit(self, loaded: Loaded, ask: Ask) -> asyncio.Future[Answer]:
        """The answer, as soon as there is one.

        Raises
        ------
        Refused
            In place of the answer.
        """
        answer: asyncio.Future[Answer] = self._loop.create_future()
        self._queue.append(Waiting(loaded, ask, answer, time.monotonic() + self._timeout))
        self._schedule()
        return answer

    async def alone(self, work: Callable[[], Any]) -> Any:
        """Do work in the thread while no batch is scored."""
        while not self._free.is_set():
            await self._free.wait()
        self._free.clear()
        try:
            return await self._loop.run_in_executor(self._thread, work)
        finally:
            self._free.set()
            self._schedule()

    def _schedule(self) -> None:
        if self._queue and not self._scheduled and self._free.is_set():
            self._scheduled = True
            self._loop.call_soon(self._take)

    def _take(self) -> None:
        self._scheduled = False
        if not self._free.is_set():
            return
        batch, rows = self._gathered()
        if not batch:
            return
        if batch[0].loaded.scorer.work(rows) <= AT_ONCE:
            self._deliver(batch, _scored(batch))
            self._schedule()
        else:
            self._running = batch
            task = self._loop.create_task(self.alone(lambda: _scored(batch)))
            task.add_done_callback(lambda done: self._deliver(batch, done.result()))

    def _gathered(self) -> tuple[list[Waiting], int]:
        """Requests to one model, as many as make a batch, and their rows."""
        batch: list[Waiting] = []
        rows, queue = 0, self._queue
        while queue and rows < BATCH_ROWS and (not batch or _together(batch[0], queue[0])):
            each = queue.popleft()
            if not each.answer.done():
                batch.append(each)
                rows += len(each.ask.rows)
        return batch, rows

    def _deliver(self, batch: list[Waiting], outcome: Outcome) -> None:
        self._running = []
        found, seen = outcome
        for each, answer in zip(batch, found, strict=True):
            if each.answer.done():
                continue
            if isinstance(answer, Exception):
                each.answer.set_exception(answer)
            else:
                each.answer.set_result(answer)
        for part in seen:
            self._tell(batch[0].loaded, part)

    def _sweep(self) -> None:
        now, late = time.monotonic(), f"No answer within {self._timeout:g} seconds; try again later."
        while self._queue and (self._queue[0].until < now or self._queue[0].answer.done()):
            each = self._queue.popleft()
            if not each.answer.done():
                each.answer.set_exception(overdue(late))
        for each in self._running:
            if each.until < now and not each.answer.done():
                each.answer.set_exception(Refused(504, late))
        self._sweeper = self._loop.call_later(SWEEP, self._sweep)


def _together(one: Waiting, other: Waiting) -> bool:
    """Whether both are answered in a batch as they are alone: preprocessing computes in the type of the rows, distances
    of rows of any type are float64's."""
    same = one.loaded.scorer.preprocessor is None or one.ask.rows.dtype == other.ask.rows.dtype
    return other.loaded is one.loaded and same


def _scored(batch: list[Waiting]) -> Outcome:
    """An answer or a refusal for each request; rows that cannot be scored spoil their own request only."""
    try:
        found, seen = batch[0].loaded.answers([each.ask for each in batch])
        return list(found), [seen]
    except Exception as error:
        if len(batch) == 1:
            return [_refusal(error)], []
    alone = [_scored([each]) for each in batch]
    return [found[0] for found, _ in alone], [part for _, seen in alone for part in seen]


def _refusal(error: Exception) -> Refused:
    if isinstance(error, Refused):
        return error
    if isinstance(error, ValueError | TypeError):  # of the model's preprocessing
        return unsuitable(in_a_line(error) or "The model's preprocessing cannot take these rows.")
    logger.error("A batch could not be scored.", exc_info=error)
    return Refused(500, "The rows could not be scored; the service's log says why.")
