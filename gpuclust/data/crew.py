"""The workers behind a source: who holds which shards, how they are asked, and what is done when one is lost.

A worker that is lost takes its shards with it. They are made again on another one from their graph, and their ledgers
by the steps that were taken since the labels were last set as a whole. Nothing here waits for ever: as long as
a worker is alive it may take its time, but a worker, a scheduler or a connection that is gone is found out.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent import futures as concurrent
from itertools import chain
from typing import Any, NamedTuple

from ..errors import DataError, DeviceMemoryError, DeviceUnavailableError, WorkersLostError
from .branches import Branch, Failure, Parts, Reply, keys, message, result_of, tree
from .holder import Entry, Holder

WAIT = 60.0  # seconds for a worker to come where there is none, and for a scheduler to answer
POLL = 2.0  # seconds between looks whether those that are waited for are still there
NOTICE = 10.0  # seconds that a scheduler is given to see that a worker is gone
CANCELLED = asyncio.CancelledError, concurrent.CancelledError
CLOSED = "closing", "closed"
FLAT = 8  # workers that answer the client each for itself: of so many an iteration was no slower then; more make a tree
LOSSES = 4  # of the same shards, after which they are taken for the cause


class Lost(Exception):
    """A worker does not answer and will not."""


class Part(NamedTuple):
    """What one worker holds."""

    holder: Any  # the future of the actor, which keeps it there
    shards: tuple[int, ...]
    worker: str


class Request(NamedTuple):
    """A method of the holders, of one view of the rows; `own` gives what only one of them is told, and comes first."""

    view: int
    method: str
    args: tuple[Any, ...] = ()
    own: Callable[[Part], tuple[Any, ...]] | None = None
    number: int = 0  # of a fold: whoever gets it twice does it once


class Crew:
    """Holders of the pieces of a collection, behind the default client."""

    def __init__(self, pieces: Sequence[Any], weights: Sequence[Any] | None):
        self._client, self._pieces, self._weights = _client(), pieces, weights
        self._losses = [0] * len(pieces)
        self._made: dict[int, Request] = {}  # how each view came to be
        self._logs: dict[int, list[Entry]] = {}  # what made its ledgers what they are
        self._answers: dict[int, dict[str, Any]] = {}  # what each holder said to that, by its key
        self._dropped: list[int] = []
        self._views = self._folds = 0
        self.parts = self._placed(range(len(pieces)))

    # asking
    def ask(self, request: Request) -> list[tuple[Part, Any]]:
        """What all holders answer; shards of workers that are lost meanwhile are made again elsewhere."""
        return self._each(self.parts, request)

    def fold(self, request: Request) -> Parts:
        """What a fold finds, merged as far as its order allows; many workers ask each other."""
        self._folds += 1
        request = request._replace(number=self._folds)
        found, rest = Parts(), self.parts
        few, others = _by_worker(self.parts)
        if len(few) > FLAT:
            found, missing = self._from_tree(few, request)
            rest = [part for part in few if part.holder.key in missing] + others
        return found + list(chain(*(parts for _, parts in self._each(rest, request))))

    def _from_tree(self, parts: Sequence[Part], request: Request) -> tuple[Parts, Sequence[str]]:
        """What one part for each worker gives, and the keys of those that did not answer."""
        root = tree([(part.worker, part.holder.key) for part in parts])
        asked = self._sent(parts[0], self._packed(request), root[2])
        try:
            reply = self._reply(parts[0], asked)
        except Lost:
            return [], keys(root)
        return reply.found, reply.lost

    def _each(self, parts: Sequence[Part], request: Request) -> list[tuple[Part, Any]]:
        shared = None if request.own else self._packed(request)
        asked = [(part, self._sent(part, shared or self._packed(request, part))) for part in parts]
        found, lost = [], []
        for part, answer in asked:
            try:
                found.append((part, self._answer(part, answer)))
            except Lost:
                lost.append(part)
        for part in lost:
            found += self._recovered(part, request)
        return found

    def _packed(self, request: Request, part: Part | None = None) -> bytes:
        """As bytes, made once for all: what cannot be sent is found out here."""
        from distributed.protocol import pickle

        own = () if request.own is None or part is None else request.own(part)
        args, dropped = (*own, *request.args), tuple(self._dropped)
        return pickle.dumps((request.number, request.view, request.method, args, dropped))

    def _sent(self, part: Part, request: bytes, below: Sequence[Branch] = ()) -> Any:
        """The answer to come. An actor's own method would wait for ever after an error on the way."""
        if self._client.status in CLOSED:
            raise self._silent(self._client.status)
        coming = _executed(self._client, part, request, below)
        return asyncio.run_coroutine_threadsafe(coming, self._client.loop.asyncio_loop)

    def _answer(self, part: Part, answer: Any) -> Any:
        """What a holder gives or raises."""
        return self._reply(part, answer).found

    def _reply(self, part: Part, answer: Any) -> Reply:
        reply = Reply.read(self._awaited(part, answer))
        if reply.failure is None:
            return reply
        error, worker = _made_again(reply.failure), reply.failure.worker
        if isinstance(error, MemoryError):
            raise _short(error, worker) from error
        if isinstance(error, DeviceUnavailableError):
            raise DeviceUnavailableError(f"Worker {worker}: {error}") from error
        error.add_note(f"It was raised by worker {worker}.")
        raise error

    def _awaited(self, part: Part, answer: Any) -> bytes:
        while not concurrent.wait([answer], POLL).done:
            if part.worker not in self._workers():
                answer.cancel()
                raise Lost(part.worker)
        try:
            return answer.result()
        except Exception as error:  # of the way to the worker, since a holder returns its own
            raise Lost(part.worker) from error

    # losses
    def _recovered(self, part: Part, request: Request) -> list[tuple[Part, Any]]:
        """The shards of a lost part made again, brought to where they were, and asked."""
        found, lost = [], [part]
        while lost:
            part = lost.pop()
            self._count(part)
            self._notice(part.worker)
            self.parts = [other for other in self.parts if other is not part]
            for fresh in self._placed(part.shards):
                self.parts.append(fresh)
                try:
                    self._brought_up(fresh)
                    found.append((fresh, self._told(fresh, request)))
                except Lost:
                    lost.append(fresh)
        return found

    def _brought_up(self, part: Part) -> None:
        for view, made in self._made.items():
            self._answers[view][part.holder.key] = self._told(part, made)
            self._told(part, Request(view, "replay", (self._logs[view],)))

    def _told(self, part: Part, request: Request) -> Any:
        return self._answer(part, self._sent(part, self._packed(request, part)))

    def _count(self, part: Part) -> None:
        for s in part.shards:
            self._losses[s] += 1
        worst = max(self._losses[s] for s in part.shards)
        if worst >= LOSSES:
            raise WorkersLostError(
                f"{worst} workers were lost that held the same shards, the last one {part.worker}: they may have run"
                " out of memory. Give the workers more, or the data in smaller blocks."
            )

    def _notice(self, worker: str) -> None:
        """Wait until the scheduler knows, so that nothing is given to a worker that is gone."""
        end = time.monotonic() + NOTICE
        while worker in self._workers() and time.monotonic() < end:
            time.sleep(0.1)

    def _workers(self) -> dict[str, int]:
        """Addresses of the workers there are.

        Raises
        ------
        WorkersLostError
            If the scheduler does not answer.
        """
        end = time.monotonic() + WAIT
        while True:
            try:
                return dict(self._client.nthreads(callback_timeout=POLL))
            except Exception as error:
                if self._client.status in CLOSED or time.monotonic() > end:
                    raise self._silent(error) from error
                time.sleep(0.2)

    def _silent(self, why: Any) -> WorkersLostError:
        return WorkersLostError(f"The scheduler does not answer ({why!r}): start the cluster again, and a client.")

    def _holding(self, futures: list[Any]) -> list[str]:
        """A worker that holds the result, for each future; '' where there is none any more."""
        keys = [future.key for future in futures]
        found = self._client.sync(self._client.scheduler.who_has, keys=keys, callback_timeout=WAIT)
        return [next(iter(found.get(key, ())), "") for key in keys]

    # where shards are
    def _placed(self, shards: Sequence[int]) -> list[Part]:
        """Shards on workers: those that hold their blocks, or are given them."""
        given = [self._pieces[s] for s in shards]
        if self._weights is not None:
            given += [self._weights[s] for s in shards]
        futures = self._finished(self._client.compute(given), shards)
        pieces, weights = futures[: len(shards)], futures[len(shards) :]
        groups: dict[str, list[int]] = {}
        for at, worker in enumerate(self._holding(pieces)):
            groups.setdefault(worker, []).append(at)
        placed = sorted(groups.items())
        holders = [
            self._client.submit(
                Holder, [pieces[i] for i in at], [weights[i] for i in at] if weights else None, actor=True, pure=False,
                **({"workers": [worker], "allow_other_workers": True} if worker else {}),
            ) for worker, at in placed
        ]  # fmt: skip
        where = self._holding(self._finished(holders, shards))
        return [
            Part(holder, tuple(shards[i] for i in at), worker)
            for holder, worker, (_, at) in zip(holders, where, placed, strict=True)
        ]

    def _finished(self, futures: list[Any], shards: Sequence[int]) -> list[Any]:
        """The same futures, all of them done well.

        Raises
        ------
        WorkersLostError
            If all workers are lost, or those that make the same shard, or what was scattered to one that is lost.
        MemoryError
            If a worker has no memory left.
        """
        from distributed import KilledWorker

        self._wait_for(futures)
        for at, future in enumerate(futures):
            what = f"shard {shards[at % len(shards)]}"
            if future.status == "error":
                error = future.exception(timeout=WAIT)
                if isinstance(error, KilledWorker):
                    raise WorkersLostError(f"Workers were lost that made {what}: {error}") from error
                if isinstance(error, MemoryError):
                    raise _short(error, self._erred_on(future), what) from error
                raise error
            if future.status != "finished":
                raise WorkersLostError(
                    f"{what.capitalize()} was lost with its worker and cannot be made again: a block that was scattered"
                    " has no graph. Pass delayed objects, or futures of tasks."
                )
        return futures

    def _wait_for(self, futures: list[Any]) -> None:
        """Until they are done or gone. A worker that is nearly out of memory begins no task: where no other one works
        either, nothing would ever be done."""
        from distributed import wait

        since = None
        while True:
            try:
                wait(futures, timeout=POLL)
                return
            except CANCELLED:
                return
            except TimeoutError:
                workers, (busy, paused) = self._workers(), self._client.run_on_scheduler(_at_work)
                since = None if busy or (workers and not paused) else since or time.monotonic()
            if since is not None and time.monotonic() - since > WAIT:
                if paused:
                    raise MemoryError(
                        f"Worker {', '.join(paused)} has no memory left to begin a task. Give the workers more, or"
                        " start more of them."
                    )
                raise WorkersLostError(f"The cluster has no worker, and none came in {WAIT:.0f} seconds.")

    def _erred_on(self, future: Any) -> str:
        return str(self._client.run_on_scheduler(_erred_on, future.key))

    # views
    def view(self, method: str, *args: Any, own: Callable[[Part], tuple[Any, ...]]) -> tuple[int, list[Any]]:
        """A new view of the rows, made by a method of the holders; its number, and what they answer."""
        request = Request(self._views, method, args, own)
        self._views += 1
        found = self.ask(request)
        self._made[request.view], self._logs[request.view] = request, []
        self._answers[request.view] = {part.holder.key: answer for part, answer in found}
        return request.view, [answer for _, answer in found]

    def answers(self, view: int) -> list[Any]:
        """What the holders that there are now said when they made a view."""
        return [self._answers[view][part.holder.key] for part in self.parts]

    def log(self, view: int) -> list[Entry]:
        return self._logs[view]

    def keep(self, view: int, log: list[Entry]) -> None:
        """What is to be told to a holder that is made from now on."""
        self._logs[view] = log

    def drop(self, view: int) -> None:
        """Nobody needs a view any more; holders hear of it when they are asked next."""
        self._made.pop(view, None)
        self._logs.pop(view, None)
        self._answers.pop(view, None)
        self._dropped.append(view)


async def _executed(client: Any, part: Part, request: bytes, below: Sequence[Branch] = ()) -> bytes:
    """What a holder's `call` returns, by way of the scheduler where the client does not reach the workers."""
    asked = message(part.holder.key, request, below)
    if client.direct_to_workers:
        answer = await client.rpc(part.worker).actor_execute(**asked)
    else:
        answer = await client.scheduler.proxy(worker=part.worker, msg={"op": "actor_execute", **asked})
    return result_of(answer, part.holder.key)


def _by_worker(parts: Sequence[Part]) -> tuple[list[Part], list[Part]]:
    """One part of each worker, in the order of their addresses; and the others."""
    first = {part.worker: part for part in reversed(parts)}
    few = sorted(first.values(), key=lambda part: part.worker)
    return few, [part for part in parts if first[part.worker] is not part]


def _client() -> Any:
    from distributed import default_client

    try:
        client = default_client()
    except ValueError:
        raise DataError(
            "Rows of a Dask collection need a cluster: start one first, for example with distributed.Client()."
        ) from None
    if client.asynchronous:
        raise DataError("An asynchronous client cannot be waited for here: use distributed.Client(...) without it.")
    return client


def _made_again(failure: Failure) -> Exception:
    """What a holder raised; in words, where the client lacks what it takes, such as CuPy."""
    from distributed.protocol import pickle

    try:
        error: Exception = pickle.loads(failure.error)
    except Exception:
        return (MemoryError if failure.memory else RuntimeError)(failure.text)
    return error


def _short(error: MemoryError, worker: str, what: str = "its shards") -> MemoryError:
    kind = DeviceMemoryError if isinstance(error, DeviceMemoryError) else MemoryError
    return kind(f"Worker {worker} has not enough memory for {what}: {error}")


def _erred_on(key: Any, dask_scheduler: Any) -> str:
    return ", ".join(sorted(dask_scheduler.tasks[key].erred_on))


def _at_work(dask_scheduler: Any) -> tuple[bool, list[str]]:
    """Whether a worker that may begin tasks has some; those that may not, since their memory is nearly full."""
    workers = dask_scheduler.workers.values()
    paused = sorted(worker.address for worker in workers if worker.status.name == "paused")
    return any(worker.processing for worker in workers if worker.address not in paused), paused
