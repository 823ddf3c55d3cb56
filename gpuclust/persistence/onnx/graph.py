"""An ONNX graph while it is built: nodes in order, constants, inputs, and parts that skl2onnx converted."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import numpy as np

from gpuclust.extras import require

OPSETS: Final = {"": 17, "ai.onnx.ml": 3}  # ONNX 1.12 (2022): what runtimes of the last years read
IR_VERSION: Final = 8
ML: Final = "ai.onnx.ml"
OUTPUT: Final = "label"
LARGEST: Final = 2_000_000_000  # bytes of constants: protobuf ends at 2^31, nodes and names included
DOUBLE, INT64, BOOL = np.dtype(np.float64), np.dtype(np.int64), np.dtype(np.bool_)


class Rows(NamedTuple):
    """Rows inside the graph: numbers as one tensor, f64 [n, width], or columns [n, 1] of which some may be text."""

    width: int
    matrix: str | None = None
    columns: tuple[tuple[str, bool], ...] = ()  # (tensor, whether it is text)


class Graph:
    """Nodes are added one by one; each method returns the name of a tensor."""

    def __init__(self, prefix: str = "gpuclust/") -> None:  # no name is one of an input, which users choose
        self._prefix = prefix
        self._onnx = require("onnx", "The export to ONNX", "onnx")
        self._nodes: list[Any] = []
        self._constants: list[Any] = []
        self._inputs: list[Any] = []
        self._bytes = 0  # of constants
        self._names = 0

    def _name(self, stem: str) -> str:
        self._names += 1
        return f"{self._prefix}{stem}_{self._names}"

    def inner(self) -> Graph:
        """For a loop's body or a branch: it sees the tensors around it."""
        return Graph(self._name("inner") + "/")

    def type_of(self, dtype: Any) -> int:
        """ONNX's number of a type."""
        return int(self._onnx.helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))

    def const(self, value: Any, dtype: Any = np.float64) -> str:
        """A constant.

        Raises
        ------
        NotImplementedError
            If they are too large together.
        """
        name, array = self._name("const"), np.ascontiguousarray(value, dtype)
        self._bytes += array.nbytes
        if self._bytes > LARGEST:
            raise NotImplementedError(
                f"The graph cannot be exported: it would take more than the {LARGEST / 1e9:g} GB that an ONNX file may"
                " have. A KNNImputer keeps all rows that it was fitted on; fit it on fewer, or fill in medians."
            )
        self._constants.append(self._onnx.numpy_helper.from_array(array, name))
        return name

    def text(self, value: str) -> str:
        """A constant of text, [1, 1]."""
        name = self._name("text")
        helper, string = self._onnx.helper, self._onnx.TensorProto.STRING
        self._constants.append(helper.make_tensor(name, string, [1, 1], [value.encode()]))
        return name

    def input(self, name: str, width: int, dtype: Any) -> str:
        """An input of the whole graph, [n, width]; `dtype=str`: text.

        Raises
        ------
        NotImplementedError
            If it cannot have this name.
        """
        if name in ("", OUTPUT):
            raise NotImplementedError(f"A column {name!r} cannot be exported: the graph needs another name for it.")
        kind = self._onnx.TensorProto.STRING if dtype is str else self.type_of(dtype)
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, kind, [None, width]))
        return name

    def node(self, kind: str, *inputs: str, domain: str = "", **attributes: Any) -> str:
        """An operation with one result."""
        return self.nodes(kind, *inputs, results=1, domain=domain, **attributes)[0]

    def nodes(self, kind: str, *inputs: str, results: int, domain: str = "", **attributes: Any) -> list[str]:
        """An operation with several."""
        name = self._name(kind)
        found = [name, *(f"{name}/{at}" for at in range(1, results))]
        self._nodes.append(
            self._onnx.helper.make_node(kind, list(inputs), found, name=name, domain=domain, **attributes)
        )
        return found

    def cast(self, tensor: str, dtype: Any) -> str:
        """A tensor in another type."""
        return self.node("Cast", tensor, to=self.type_of(dtype))

    def reduced(self, kind: str, tensor: str) -> str:
        """Over the features: [n, d] becomes [n, 1]."""
        if kind == "ReduceSum":
            return self.node(kind, tensor, self.const([1], np.int64), keepdims=1)
        return self.node(kind, tensor, axes=[1], keepdims=1)

    def flat(self, tensor: str) -> str:
        """[n, 1] as [n]."""
        return self.node("Reshape", tensor, self.const([-1], np.int64))

    def numbers(self, rows: Rows) -> str:
        """Rows as one tensor.

        Raises
        ------
        NotImplementedError
            If one of them is text.
        """
        if rows.matrix is not None:
            return rows.matrix
        if any(text for _, text in rows.columns):
            raise NotImplementedError("A column of text reaches a step that takes numbers: it cannot be exported.")
        tensors = [tensor for tensor, _ in rows.columns]
        return tensors[0] if len(tensors) == 1 else self.node("Concat", *tensors, axis=1)

    def column(self, rows: Rows, at: int) -> tuple[str, bool]:
        """One column, [n, 1], and whether it is text."""
        if rows.matrix is None:
            return rows.columns[at]
        return (rows.matrix if rows.width == 1 else self._gathered(rows.matrix, [at])), False

    def picked(self, rows: Rows, index: Sequence[int]) -> Rows:
        """Some columns."""
        if rows.matrix is None:
            return Rows(len(index), None, tuple(rows.columns[at] for at in index))
        if list(index) == list(range(rows.width)):
            return rows
        return Rows(len(index), self._gathered(rows.matrix, index))

    def _gathered(self, matrix: str, index: Sequence[int]) -> str:
        return self.node("Gather", matrix, self.const(index, np.int64), axis=1)

    def converted(self, part: Any, tensor: str, width: int) -> str:
        """The first output of what skl2onnx makes of one of scikit-learn's estimators, for numbers in float64.

        Raises
        ------
        NotImplementedError
            If it cannot.
        """
        skl2onnx = require("skl2onnx", "The export to ONNX", "onnx")
        types = require("skl2onnx.common.data_types", "The export to ONNX", "onnx")
        try:
            made = skl2onnx.convert_sklearn(
                part, initial_types=[("rows", types.DoubleTensorType([None, width]))], target_opset=OPSETS
            )
            self._onnx.checker.check_model(made, full_check=True)  # some of them mix float64 with float32
        except Exception as error:  # it has many, and none of its own for what it lacks
            raise NotImplementedError(f"{type(part).__name__} cannot be exported: skl2onnx says {error}") from error
        return self._merged(made.graph, tensor)

    def _merged(self, graph: Any, tensor: str) -> str:
        """Another graph's nodes, under names of their own."""
        prefix = self._name("part")
        renamed = {graph.input[0].name: tensor, "": ""}

        def new(name: str) -> str:
            return renamed.get(name, f"{prefix}/{name}")

        for constant in graph.initializer:
            constant.name = new(constant.name)
            self._constants.append(constant)
        for node in graph.node:
            node.name = f"{prefix}/{node.name}"
            node.input[:] = [new(name) for name in node.input]
            node.output[:] = [new(name) for name in node.output]
            self._nodes.append(node)
        return new(graph.output[0].name)

    def scanned(self, *inputs: str, body: Graph, result: str, states: int = 0) -> str:
        """A loop over the first axis of the inputs, but the first `states`: `body` takes the states and one item of
        each of the others. Its result is the next state, or without one, the item of the loop's result.
        """
        return self.node("Scan", *inputs, body=body._within(result), num_scan_inputs=len(inputs) - states)

    def chosen(self, condition: str, yes: tuple[Graph, str], no: tuple[Graph, str]) -> str:
        """The result of one of two branches; the other is not computed."""
        return self.node("If", condition, then_branch=yes[0]._within(yes[1]), else_branch=no[0]._within(no[1]))

    def _within(self, result: str) -> Any:
        """As part of another graph; the result is f64."""
        helper = self._onnx.helper
        output = helper.make_tensor_value_info(result, self.type_of(np.float64), None)
        return helper.make_graph(self._nodes, "inner", self._inputs, [output], self._constants)

    def loose(self, name: str) -> str:
        """An input of a loop's body: of any shape."""
        name, kind = self._prefix + name, self.type_of(np.float64)
        self._inputs.append(self._onnx.helper.make_tensor_value_info(name, kind, None))
        return name

    def finish(self, label: str, version: str) -> bytes:
        """The model as a file; its output is i64 [n]."""
        helper = self._onnx.helper
        self._nodes.append(helper.make_node("Identity", [label], [OUTPUT], name=OUTPUT))
        output = helper.make_tensor_value_info(OUTPUT, self.type_of(np.int64), [None])
        graph = helper.make_graph(self._nodes, "gpuclust", self._inputs, [output], self._constants)
        opsets = [helper.make_opsetid(domain, number) for domain, number in OPSETS.items()]
        model = helper.make_model(
            graph, opset_imports=opsets, ir_version=IR_VERSION, producer_name="gpuclust", producer_version=version
        )
        self._onnx.checker.check_model(model)
        data: bytes = model.SerializeToString()
        return data
