"""What a request is answered, in the three formats."""

from __future__ import annotations

import io
from typing import Final, NamedTuple

import numpy as np
import orjson
import pyarrow as pa

JSON: Final = b"application/json"
ARROW: Final = b"application/vnd.apache.arrow.stream"
NPY: Final = b"application/x-npy"
FORMATS: Final = JSON, ARROW, NPY


class Answer(NamedTuple):
    """What was found of a request's rows; None where it was not asked for."""

    label: np.ndarray  # i32 [n]
    distance: np.ndarray  # f64 [n]
    distances: np.ndarray | None = None  # f64 [n, k]
    anomaly: np.ndarray | None = None  # f64 [n]

    @property
    def size(self) -> int:
        return len(self.label) + (0 if self.distances is None else self.distances.size)


def written(answer: Answer, kind: bytes) -> bytes:
    """An answer's bytes."""
    return {JSON: as_json, ARROW: as_arrow, NPY: as_npy}[kind](answer)


def as_json(answer: Answer) -> bytes:
    label, distance, distances, anomaly = answer
    found = {"labels": label, "distance": distance, "distances": distances, "anomaly_score": anomaly}
    return orjson.dumps(found, option=orjson.OPT_SERIALIZE_NUMPY)


def as_arrow(answer: Answer) -> bytes:
    """One batch: labels i32, distance f64, and where asked for distances f64[k] and anomaly_score f64."""
    columns = {"labels": pa.array(answer.label), "distance": pa.array(answer.distance)}
    if answer.distances is not None:
        flat = pa.array(answer.distances.ravel())
        columns["distances"] = pa.FixedSizeListArray.from_arrays(flat, answer.distances.shape[1])
    if answer.anomaly is not None:
        columns["anomaly_score"] = pa.array(answer.anomaly)
    batch, sink = pa.record_batch(columns), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return sink.getvalue().to_pybytes()


def as_npy(answer: Answer) -> bytes:
    """A structured array with the same fields."""
    fields = [("labels", np.int32), ("distance", np.float64)]
    values = [answer.label, answer.distance]
    if answer.distances is not None:
        fields.append(("distances", np.float64, answer.distances.shape[1:]))  # type: ignore[arg-type]
        values.append(answer.distances)
    if answer.anomaly is not None:
        fields.append(("anomaly_score", np.float64))
        values.append(answer.anomaly)
    table = np.empty(len(answer.label), fields)
    for field, value in zip(fields, values, strict=True):
        table[field[0]] = value
    sink = io.BytesIO()
    np.lib.format.write_array(sink, table, allow_pickle=False)
    return sink.getvalue()
