"""An iteration of K-Medians on rows that stay on the device: one record crosses to the host."""

from __future__ import annotations

import numpy as np

from . import cuda_labels as labels
from . import cuda_medians as medians
from . import cuda_moves as moves
from . import cuda_sums as sums
from .base import Centers, Chunk
from .cuda_later import Record
from .statistics import DD, Cost, Moves, Placement


def place(chunk: Chunk, centers: Centers, block_rows: int) -> Placement:
    """See `Backend.place`, with medians, of rows without weights."""
    (n, d), k, label = chunk.X.shape, len(centers.given), chunk.rows["label"]
    blocks = -(-n // block_rows)
    record = Record(
        middle=((2, k, d), np.float64), parts=((blocks, sums.MOST_PARTS, 2), np.float64),
        moved=((2 * k + 1,), np.int32), rows=((2 * k + 1,), np.int32), scored=((1,), np.int64),
    )  # fmt: skip
    moved, parts = record["moved"], record["parts"]
    new, record["scored"][:] = labels.assign(chunk, centers)
    moves.count(new, label, k, moved)
    label[:] = new
    moves.count(label, None, k, record["rows"])
    for block in range(blocks):
        part = slice(block * block_rows, (block + 1) * block_rows)
        cost = labels.costs(chunk.X[part], centers.given, label[part], centers.frame.metric)
        sums.total_parts(cost, None, parts[block])
    medians.middles(chunk.X, label, moved[:k] + moved[k : 2 * k] > 0, record["middle"])
    host = record.now()
    flow, rows = moves.flow(host["moved"]).astype(np.int64), host["rows"][:k].astype(np.int64)
    cost = Cost(sums.total_of(host["parts"].reshape(-1, 2)), DD(rows.astype(np.float64), np.zeros(k)), rows)
    one, two = host["middle"]
    return Placement(Moves(int(flow[0].sum()), int(host["scored"][0]), flow.sum(axis=0)), cost, (one, two))
