"""FP32 ONNX to INT8: weights per output channel, activations smoothed, then with one constant scale each.

The scales come from calibration windows. So a product rounds the tokens of a window without a look at any other value,
and a window has the same logits alone and in a run with other windows. Where scales are taken from the values at hand
(dynamic INT8), each answer depends on the company.

A merged LoRA model has activation channels that are much larger than the others. SmoothQuant (Xiao et al. 2023) divides
each channel before a matrix product and multiplies the weights' rows by the same factor: the product stays, the range
shrinks. Measured in BENCHMARKS.md.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, helper

from loop.training.served_file.onnx_graph import MICROSOFT, Graph, simplify
from ner.models.network import WINDOWS_SHARE_RUNS
from ner.models.runtime import onnxruntime

MIGRATION = 0.8
_LEAST = 1e-5
# A smaller table of embeddings (of positions, of token types) would save little room, and take one step more a run.
_LARGE_TABLE = 1_000_000
# Operators that may sum a window's values in another order when its run has more windows, in floats.
_IN_FLOATS = ("MatMul", "Gemm", "Conv")

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Range:
    """(k,) the lowest and the highest value of each of the k channels of an activation."""

    lowest: FloatArray
    highest: FloatArray

    @property
    def largest(self) -> FloatArray:
        """(k,) absolute values."""
        largest: FloatArray = np.maximum(-self.lowest, self.highest)
        return largest

    def scale(self) -> tuple[np.float32, np.uint8]:
        """The step between two of the 256 values for all channels, and the value that stands for zero."""
        lowest, highest = min(float(self.lowest.min()), 0.0), max(float(self.highest.max()), 0.0)
        step = np.float32(max(highest - lowest, _LEAST) / 255)
        return step, np.uint8(np.clip(round(-lowest / float(step)), 0, 255))


class Quantiser:
    """An FP32 file and what its activations are on calibration windows, from which INT8 files are written.

    windows: token ids, special ones included. migration: how much of the range of activations moves into the weights,
    0..1; None for no smoothing.
    """

    def __init__(self, source: Path, windows: Iterable[Sequence[int]], migration: float | None = MIGRATION) -> None:
        self._model = onnx.load(str(source))
        self._migration = migration
        simplify(self._model)
        graph = Graph(self._model)
        self._ranges = _ranges(self._model, sorted({node.input[0] for node in graph.products()}), windows)
        self.nodes = [node.output[0] for node in (*self._products(graph), *_large_tables(graph))]

    def write(self, target: Path, in_fp32: Collection[str] = ()) -> None:
        """Write the file to `target`; in_fp32: those of `nodes` that are left in FP32."""
        model = ModelProto()
        model.CopyFrom(self._model)
        graph = Graph(model)
        products: dict[str, list[NodeProto]] = {}
        for node in self._products(graph):
            if node.output[0] not in in_fp32:
                products.setdefault(node.input[0], []).append(node)
        smoothed = {name: self._factor(graph, name, nodes) for name, nodes in products.items()}
        in_value = {
            name for name, factor in smoothed.items() if factor is not None and graph.scale_value(name, 1 / factor)
        }
        for name, nodes in products.items():
            _quantise_products(graph, nodes, self._ranges[name], smoothed[name], name in in_value)
        for node in _large_tables(graph):
            if node.output[0] not in in_fp32:
                _quantise_table(graph, node)
        graph.write()
        if _windows_share_runs(model):
            helper.set_model_props(model, {WINDOWS_SHARE_RUNS: "yes"})
        onnx.save(model, str(target))

    def _products(self, graph: Graph) -> list[NodeProto]:
        """The products that can be INT8: whose input is known, and finite."""
        return [node for node in graph.products() if node.input[0] in self._ranges]

    def _factor(self, graph: Graph, name: str, nodes: Sequence[NodeProto]) -> FloatArray | None:
        """max|X_j| ** migration / max|W_j| ** (1 - migration) for each channel j, divided by its geometric mean.

        Over all calibration windows and all products that share the input; None for no smoothing.
        """
        if self._migration is None:
            return None
        weights = np.max([np.abs(graph.constants[node.input[1]]).max(axis=1) for node in nodes], axis=0)
        activations = np.maximum(self._ranges[name].largest, _LEAST)
        wanted = activations**self._migration / np.maximum(weights, _LEAST) ** (1 - self._migration)
        factor: FloatArray = (wanted / np.exp(np.log(wanted).mean())).astype(np.float32)
        return factor


def quantise(source: Path, target: Path, windows: Iterable[Sequence[int]]) -> None:
    """Write `source`, a file in FP32, to `target` in INT8; windows: as for `Quantiser`."""
    Quantiser(source, windows).write(target)


def write_simplified(source: Path, target: Path) -> None:
    """Write `source` to `target` with the smaller graph that INT8 files have, all in FP32."""
    model = onnx.load(str(source))
    simplify(model)
    onnx.save(model, str(target))


def _ranges(model: ModelProto, names: list[str], windows: Iterable[Sequence[int]]) -> dict[str, Range]:
    """The range of each named activation over all windows; without those that have none, or an infinite one."""
    probed = ModelProto()
    probed.CopyFrom(model)
    for name in names:
        probed.graph.output.append(helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(probed.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = [item.name for item in session.get_inputs()]
    found: dict[str, Range] = {}
    for ids in windows:
        read = np.array([ids], dtype=np.int64)
        values = session.run(names, {name: read if name == "input_ids" else np.ones_like(read) for name in inputs})
        for name, value in zip(names, values, strict=True):
            rows = value.reshape(-1, value.shape[-1])
            known = [found[name].lowest, found[name].highest] if name in found else []
            rows = np.vstack([rows, *known])
            found[name] = Range(rows.min(axis=0), rows.max(axis=0))
    return {name: one for name, one in found.items() if np.isfinite([one.lowest, one.highest]).all()}


def _quantise_products(
    graph: Graph, nodes: Sequence[NodeProto], seen: Range, factor: FloatArray | None, divided: bool
) -> None:
    """Round the input that the products share, and put integer products in their place.

    divided: whether the input comes divided by the factor already.
    """
    name, before = nodes[0].input[0], []
    source = name
    if factor is not None:
        seen = Range(seen.lowest / factor, seen.highest / factor)
        if not divided:
            source = f"{name}_smooth"
            inverse = graph.constant((1 / factor).astype(np.float32), f"{name}_inverse_factor")
            before.append(helper.make_node("Mul", [name, inverse], [source], name=source))
    step, zero = seen.scale()
    rounded, scale = f"{name}_rounded", graph.constant(np.array(step), f"{name}_scale")
    zero_point = graph.constant(np.array(zero), f"{name}_zero_point")
    before.append(helper.make_node("QuantizeLinear", [source, scale, zero_point], [rounded], name=rounded))
    graph.replace([], before, before=nodes[0])
    for node in nodes:
        _quantise_product(graph, node, (rounded, scale, zero_point), factor)


def _quantise_product(graph: Graph, node: NodeProto, rounded: tuple[str, str, str], factor: FloatArray | None) -> None:
    """MatMulIntegerToFloat in place of a product and its bias; rounded: the names of the input, its scale and zero."""
    values, scale, zero_point = rounded
    weight = graph.constants[node.input[1]]
    weight = weight if factor is None else weight * factor[:, None]
    steps = np.maximum(np.abs(weight).max(axis=0), _LEAST).astype(np.float32) / 127
    name = node.output[0]
    integers = graph.constant(np.rint(weight / steps).astype(np.int8), f"{name}_weight")
    inputs = [values, integers, scale, graph.constant(steps, f"{name}_weight_scale"), zero_point]
    followed = graph.bias_after(node)
    if followed is not None:
        inputs += ["", followed[1]]
    last = followed[0] if followed is not None else node
    made = helper.make_node("MatMulIntegerToFloat", inputs, list(last.output), name=f"{name}_int8", domain=MICROSOFT)
    graph.replace([node, last], [made], before=node)


def _large_tables(graph: Graph) -> list[NodeProto]:
    """The look-ups of rows of a table that has _LARGE_TABLE values or more."""
    tables = [node for node in graph.of_type("Gather") if node.input[0] in graph.constants]
    return [node for node in tables if graph.constants[node.input[0]].size >= _LARGE_TABLE]


def _quantise_table(graph: Graph, node: NodeProto) -> None:
    table, name = graph.constants[node.input[0]], node.output[0]
    step = np.float32(max(float(np.abs(table).max()), _LEAST) / 127)
    integers = graph.constant(np.rint(table / step).astype(np.int8), f"{name}_table")
    scale = graph.constant(np.array(step), f"{name}_scale")
    looked_up = helper.make_node("Gather", [integers, node.input[1]], [f"{name}_int8"], name=f"{name}_int8")
    looked_up.attribute.extend(node.attribute)
    made = helper.make_node("DequantizeLinear", [f"{name}_int8", scale], [name], name=f"{name}_float")
    graph.replace([node], [looked_up, made], before=node)


def _windows_share_runs(model: Any) -> bool:
    """Whether windows have the same logits alone and in one run: all products with weights are in integers."""
    graph = Graph(model)
    return not any(name in graph.constants for node in graph.of_type(*_IN_FLOATS) for name in node.input)
