"""The nearest centre in ONNX."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpuclust.persistence.twins import to_sklearn

from .graph import Graph


def nearest(graph: Graph, estimator: Any, rows: str) -> str:
    """Labels i64 [n] of rows f64 [n, d]; -1 for rows with NaN or infinite values, which `predict` refuses."""
    centers = np.asarray(estimator.cluster_centers_, np.float64)
    label = manhattan(graph, centers, rows) if hasattr(estimator, "median") else euclidean(graph, estimator, rows)
    odd = graph.node("IsNaN", graph.node("Sub", rows, rows))
    refused = graph.node("Greater", graph.reduced("ReduceMax", graph.cast(odd, np.float64)), graph.const([[0.5]]))
    return graph.node("Where", graph.flat(refused), graph.const([-1], np.int64), label)


def euclidean(graph: Graph, estimator: Any, rows: str) -> str:
    """skl2onnx's graph of K-Means, in float64 and about the centres' mean: it multiplies out (x - c)^2, which loses as
    many digits as the squares are larger than the distances.
    """
    peer = to_sklearn(estimator)
    middle = np.asarray(peer.cluster_centers_, np.float64).mean(axis=0, keepdims=True)
    peer.cluster_centers_ = peer.cluster_centers_.astype(np.float64) - middle
    return graph.converted(peer, graph.node("Sub", rows, graph.const(middle)), peer.n_features_in_)


def manhattan(graph: Graph, centers: np.ndarray, rows: str) -> str:
    """Sums of |x - c|, feature by feature as `predict` adds them: a loop over the features whose memory is [n, k], not
    [n, k, d].
    """
    n = graph.node("Slice", graph.node("Shape", rows), *(graph.const([at], np.int64) for at in (0, 1)))
    shape = graph.node("Concat", n, graph.const([len(centers)], np.int64), axis=0)
    zeros = graph.node("Expand", graph.const([[0.0]]), shape)
    body = graph.inner()
    total, x, c = (body.loose(name) for name in ("total", "x", "c"))
    offset = body.node("Sub", body.node("Unsqueeze", x, body.const([1], np.int64)), c)
    sums = body.node("Add", total, body.node("Abs", offset))
    turned = graph.node("Transpose", rows, perm=[1, 0])
    distances = graph.scanned(zeros, turned, graph.const(centers.T), body=body, result=sums, states=1)
    return graph.node("ArgMin", distances, axis=1, keepdims=0)
