"""Which worker asks which: a request goes down a tree of workers, and what they find comes up it, merged on the way.

The client then sends one request and gets one statistic, however many workers there are, and no worker handles more
than the logarithm of their number. Only workers with a higher address are asked, so that none waits for one that waits
for it, whatever else goes on in the cluster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from operator import itemgetter
from typing import Any, NamedTuple

import numpy as np

CONNECT = 3.0  # seconds until a worker that cannot be reached is told to the client, which asks it in its own way
Branch = Sequence[Any]  # a worker's address, the key of the actor there, and the branches below it
Parts = list[tuple[int, Any]]  # statistics, each with the first row that it is of


def tree(actors: Sequence[tuple[str, str]]) -> Branch:
    """A tree of actors, given as (address, key) in ascending order: the first one at its root."""
    (address, key), rest, below = actors[0], actors[1:], []
    while rest:
        half = (len(rest) + 1) // 2
        below.append(tree(rest[:half]))
        rest = rest[half:]
    return address, key, below


def keys(branch: Branch) -> list[str]:
    """Of all actors of a branch."""
    return [branch[1], *(key for below in branch[2] for key in keys(below))]


def message(key: str, request: bytes, below: Sequence[Branch] = ()) -> dict[str, Any]:
    """A call of an actor's `call`, as the RPC `actor_execute` takes it."""
    from distributed.protocol import to_serialize

    return {"function": "call", "actor": key, "args": [to_serialize(request), list(below)], "kwargs": {}}


def result_of(answer: Any, key: str) -> bytes:
    """What the call gave.

    Raises
    ------
    RuntimeError
        If the worker has no such actor, or the call itself failed.
    """
    if answer["status"] != "OK":
        raise RuntimeError(f"{key} does not answer: {answer}")
    result: bytes = answer["result"]
    return result


class Failure(NamedTuple):
    """What an actor raised."""

    error: bytes  # pickled; empty where that cannot be done
    text: str
    memory: bool  # whether it is a MemoryError
    worker: str  # where


class Reply(NamedTuple):
    """What an actor and those below it have to say."""

    found: Any
    lost: Sequence[str] = ()  # keys of the actors below that do not answer
    failure: Failure | None = None

    def packed(self) -> bytes:
        from distributed.protocol import pickle

        return bytes(pickle.dumps(self))

    @classmethod
    def read(cls, packed: bytes) -> Reply:
        from distributed.protocol import pickle

        reply: Reply = pickle.loads(packed)
        return reply


def sent(branches: Sequence[Branch], request: bytes) -> list[Any]:
    """Ask each branch from within a worker; the answers to come."""
    from distributed import get_worker

    worker: Any = get_worker()

    async def asked(address: str, key: str, below: Sequence[Branch]) -> bytes:
        worker.rpc.reuse(address, await worker.rpc.connect(address, timeout=CONNECT))
        return result_of(await worker.rpc(address).actor_execute(**message(key, request, below)), key)

    return [asyncio.run_coroutine_threadsafe(asked(*branch), worker.loop.asyncio_loop) for branch in branches]


def heard(answer: Any, branch: Branch) -> Reply:
    """The reply of a branch that was asked."""
    try:
        packed = answer.result()
    except Exception:  # of the way there, since actors return their own
        return Reply([], keys(branch))
    return Reply.read(packed)


def merged_in_pairs(parts: list[Any]) -> Any:
    """Statistics merged as a tree, in their order."""
    while len(parts) > 1:
        pairs = [parts[i : i + 2] for i in range(0, len(parts), 2)]
        parts = [pair[0].merge(pair[1]) if len(pair) > 1 else pair[0] for pair in pairs]
    return parts[0]


def together(parts: Parts) -> Parts:
    """Statistics merged into one, or as they are where their order matters. Of rows that are not finite, which the
    client refuses, they are NaN.
    """
    if not parts or getattr(parts[0][1], "ordered", False):
        return parts
    with np.errstate(invalid="ignore"):
        return [(min(map(itemgetter(0), parts)), merged_in_pairs([part for _, part in parts]))]
