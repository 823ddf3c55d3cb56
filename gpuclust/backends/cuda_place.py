"""An iteration of K-Medians on rows that stay on the device: one record crosses to the host."""

from __future__ import annotations

import cupy
import numpy as np

from . import cuda_labels as labels
from . import cuda_medians as medians
from . import cuda_moves as moves
from . import cuda_sums as sums
from .base import Centers, Chunk
from .statistics import DD, Cost, Moves, Placement


def place(chunk: Chunk, centers: Centers, block_rows: int) -> Placement:
    """See `Backend.place`, with medians, of rows without weights."""
    (n, d), k, label = chunk.X.shape, len(centers.given), chunk.rows["label"]
    blocks = -(-n // block_rows)
    cuts = np.cumsum([2 * k * d, 2 * sums.MOST_PARTS * blocks, 3 * k + 2])
    record = cupy.empty(int(cuts[2]))  # f64: middle values, shares of the cost; i64: counts
    middle, parts = record[: cuts[0]].reshape(2, k, d), record[cuts[0] : cuts[1]].reshape(blocks, sums.MOST_PARTS, 2)
    counts = record[cuts[1] :].view(np.int64)
    new, counts[-1:] = labels.assign(chunk, centers)
    counts[: 2 * k + 1] = moves.count(new, label, k)
    label[:] = new
    counts[2 * k + 1 : -1] = moves.count(label, None, k)[:k]
    for block in range(blocks):
        part = slice(block * block_rows, (block + 1) * block_rows)
        cost = labels.costs(chunk.X[part], centers.given, label[part], centers.frame.metric)
        sums.total_parts(cost, None, parts[block])
    medians.middles(chunk.X, label, counts[:k] + counts[k : 2 * k] > 0, middle)
    host = record.get()
    told = host[cuts[1] :].view(np.int64)
    flow, rows, scored = moves.flow(told[: 2 * k + 1]), told[2 * k + 1 : -1], int(told[-1])
    cost = Cost(sums.total_of(host[cuts[0] : cuts[1]].reshape(-1, 2)), DD(rows.astype(np.float64), np.zeros(k)), rows)
    one, two = host[: cuts[0]].reshape(2, k, d)
    return Placement(Moves(int(flow[0].sum()), scored, flow.sum(axis=0)), cost, (one, two))
