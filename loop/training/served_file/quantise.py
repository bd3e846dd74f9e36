"""FP32 ONNX to INT8: weights per output channel, activations smoothed, then with one constant scale each.

The scales come from calibration windows. So a product rounds the tokens of a window without a look at any other value,
and a window has the same logits alone and in a run with other windows. Where scales are taken from the values at hand
(dynamic INT8), each answer depends on the company.

A merged LoRA model has activation channels that are much larger than the others. SmoothQuant (Xiao et al. 2023) divides
each channel before a matrix product and multiplies the weights' rows by the same factor: the product stays, the range
shrinks. How much of the range moves is chosen for each product, by how near the product stays to FP32 on tokens of
calibration. What rounding still adds to a product on the average of these tokens is taken off its bias (Nagel et al.
2019). Measured in BENCHMARKS.md.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper

from loop.training.served_file.onnx_graph import MICROSOFT, Graph, simplify
from ner.models.network import WINDOWS_SHARE_RUNS
from ner.models.runtime import onnxruntime

# How much of the range of activations may move into the weights, 0..1.
MIGRATIONS = (0.7, 0.75, 0.8, 0.85, 0.9, 0.95)
_LEAST = 1e-5
# How many tokens of each calibration window are kept to compare products on.
_KEPT = 2
# A smaller table of embeddings (of positions, of token types) would save little room, and take one step more a run.
_LARGE_TABLE = 1_000_000
# Operators that may sum a window's values in another order when its run has more windows, in floats.
_IN_FLOATS = ("MatMul", "Gemm", "Conv")

FloatArray = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True, eq=False)
class Activation:
    """(k,) the lowest and the highest value of each of the k channels; rows: (r, k), its values at some tokens."""

    lowest: FloatArray
    highest: FloatArray
    rows: FloatArray

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

    def divided(self, factor: FloatArray) -> Activation:
        """Each channel divided by its part of the (k,) factor."""
        return Activation(self.lowest / factor, self.highest / factor, self.rows / factor)

    def rounded_rows(self) -> FloatArray:
        """(r, k): the rows as the 256 values tell them."""
        step, zero = self.scale()
        whole: FloatArray = np.clip(np.rint(self.rows / step) + np.float32(zero), 0, 255) - np.float32(zero)
        return whole * step


class Quantiser:
    """An FP32 file and what its activations are on calibration windows, from which INT8 files are written.

    windows: token ids, special ones included. migrations: how much of the range of activations may move into the
    weights, 0..1; none for no smoothing.
    """

    def __init__(
        self, source: Path, windows: Iterable[Sequence[int]], migrations: Sequence[float] = MIGRATIONS
    ) -> None:
        self._model = onnx.load(str(source))
        self._migrations = migrations
        self._factors: dict[tuple[str, ...], FloatArray | None] = {}
        simplify(self._model)
        graph = Graph(self._model)
        self._activations = _activations(self._model, sorted({node.input[0] for node in graph.products()}), windows)
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
            _quantise_products(graph, nodes, self._activations[name], smoothed[name], name in in_value)
        for node in _large_tables(graph):
            if node.output[0] not in in_fp32:
                _quantise_table(graph, node)
        graph.write()
        if _windows_share_runs(model):
            helper.set_model_props(model, {WINDOWS_SHARE_RUNS: "yes"})
        onnx.save(model, str(target))

    def _products(self, graph: Graph) -> list[NodeProto]:
        """The products that can be INT8: whose input is known, and finite."""
        return [node for node in graph.products() if node.input[0] in self._activations]

    def _factor(self, graph: Graph, name: str, nodes: Sequence[NodeProto]) -> FloatArray | None:
        """(k,): what the input that the products share is divided by; None for no smoothing."""
        together = tuple(node.output[0] for node in nodes)
        if together not in self._factors:
            weights: FloatArray = np.hstack([graph.constants[node.input[1]] for node in nodes])
            seen = self._activations[name]
            factors = [_smoothing(seen, weights, migration) for migration in self._migrations]
            self._factors[together] = min(factors, key=lambda one: _spoiled(seen, weights, one), default=None)
        return self._factors[together]


def quantise(source: Path, target: Path, windows: Iterable[Sequence[int]]) -> None:
    """Write `source`, a file in FP32, to `target` in INT8; windows: as for `Quantiser`."""
    Quantiser(source, windows).write(target)


def write_simplified(source: Path, target: Path) -> None:
    """Write `source` to `target` with the smaller graph that INT8 files have, all in FP32."""
    model = onnx.load(str(source))
    simplify(model)
    onnx.save(model, str(target))


def _activations(model: ModelProto, names: list[str], windows: Iterable[Sequence[int]]) -> dict[str, Activation]:
    """What each named activation is over all windows; without those that have no values, or infinite ones."""
    probed = ModelProto()
    probed.CopyFrom(model)
    for name in names:
        probed.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(probed.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = [item.name for item in session.get_inputs()]
    found: dict[str, Activation] = {}
    kept = defaultdict[str, list[FloatArray]](list)
    random = np.random.default_rng(0)
    for ids in windows:
        read = np.array([ids], dtype=np.int64)
        values = session.run(names, {name: read if name == "input_ids" else np.ones_like(read) for name in inputs})
        places = random.permutation(len(ids))[:_KEPT]
        for name, value in zip(names, values, strict=True):
            rows = value.reshape(-1, value.shape[-1])
            kept[name].append(rows[places % len(rows)])
            known = [found[name].lowest, found[name].highest] if name in found else []
            rows = np.vstack([rows, *known])
            found[name] = Activation(rows.min(axis=0), rows.max(axis=0), rows[:0])
    return {
        name: replace(one, rows=np.vstack(kept[name]))
        for name, one in found.items()
        if np.isfinite([one.lowest, one.highest]).all()
    }


def _smoothing(seen: Activation, weights: FloatArray, migration: float) -> FloatArray:
    """max|X_j| ** migration / max|W_j| ** (1 - migration) for each channel j, divided by its geometric mean."""
    largest = np.maximum(seen.largest, _LEAST), np.maximum(np.abs(weights).max(axis=1), _LEAST)
    wanted = largest[0] ** migration / largest[1] ** (1 - migration)
    factor: FloatArray = (wanted / np.exp(np.log(wanted).mean())).astype(np.float32)
    return factor


def _spoiled(seen: Activation, weights: FloatArray, factor: FloatArray) -> float:
    """How far rounding takes the product of rows and weights from FP32, squared, on average."""
    return float(np.square(_added(seen.divided(factor), weights * factor[:, None])).mean())


def _added(seen: Activation, weights: FloatArray) -> FloatArray:
    """(r, n): what rounding adds to the product of the rows with the (k, n) weights."""
    integers, steps = _rounded(weights)
    added: FloatArray = seen.rounded_rows() @ (integers * steps) - seen.rows @ weights
    return added


def _rounded(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
    """(k, n) whole numbers from -127 to 127, and the (n,) step of each column."""
    steps: FloatArray = np.maximum(np.abs(weights).max(axis=0), _LEAST).astype(np.float32) / 127
    integers: FloatArray = np.rint(weights / steps)
    return integers, steps


def _quantise_products(
    graph: Graph, nodes: Sequence[NodeProto], seen: Activation, factor: FloatArray | None, divided: bool
) -> None:
    """Round the input that the products share, and put integer products in their place.

    divided: whether the input comes divided by the factor already.
    """
    name, before = nodes[0].input[0], []
    source = name
    if factor is None:
        factor = np.ones_like(seen.lowest)
    elif not divided:
        source = f"{name}_smooth"
        inverse = graph.constant((1 / factor).astype(np.float32), f"{name}_inverse_factor")
        before.append(helper.make_node("Mul", [name, inverse], [source], name=source))
    seen = seen.divided(factor)
    step, zero = seen.scale()
    rounded, scale = f"{name}_rounded", graph.constant(np.array(step), f"{name}_scale")
    zero_point = graph.constant(np.array(zero), f"{name}_zero_point")
    before.append(helper.make_node("QuantizeLinear", [source, scale, zero_point], [rounded], name=rounded))
    graph.replace([], before, before=nodes[0])
    for node in nodes:
        weights = graph.constants[node.input[1]] * factor[:, None]
        _quantise_product(graph, node, (rounded, scale, zero_point), weights, _added(seen, weights).mean(axis=0))


def _quantise_product(
    graph: Graph, node: NodeProto, rounded: tuple[str, str, str], weights: FloatArray, added: FloatArray
) -> None:
    """MatMulIntegerToFloat in place of a product and its bias.

    rounded: the names of the input, its scale and zero. added: (n,) what rounding adds, to be taken off the bias.
    """
    values, scale, zero_point = rounded
    name = node.output[0]
    integers, steps = _rounded(weights)
    followed = graph.bias_after(node)
    bias = graph.constants[followed[1]] - added if followed is not None else -added
    inputs = [
        values,
        graph.constant(integers.astype(np.int8), f"{name}_weight"),
        scale,
        graph.constant(steps, f"{name}_weight_scale"),
        zero_point,
        "",
        graph.constant(bias.astype(np.float32), f"{name}_bias"),
    ]
    last = followed[0] if followed is not None else node
    made = helper.make_node("MatMulIntegerToFloat", inputs, list(last.output), name=f"{name}_int8", domain=MICROSOFT)
    graph.replace([node, last], [made], before=node)


def _large_tables(graph: Graph) -> list[NodeProto]:
    """The look-ups of rows of a table that has _LARGE_TABLE values or more."""
    tables = [node for node in graph.of_type("Gather") if node.input[0] in graph.constants]
    return [node for node in tables if graph.constants[node.input[0]].size >= _LARGE_TABLE]


def _quantise_table(graph: Graph, node: NodeProto) -> None:
    """Whole numbers and a step for each row, both looked up and multiplied: rows differ in size."""
    table, name = graph.constants[node.input[0]], node.output[0]
    steps = np.maximum(np.abs(table).max(axis=1, keepdims=True), _LEAST).astype(np.float32) / 127
    integers = graph.constant(np.rint(table / steps).astype(np.int8), f"{name}_table")
    looked_up = [
        helper.make_node("Gather", [values, node.input[1]], [found], name=found)
        for values, found in ((integers, f"{name}_int8"), (graph.constant(steps, f"{name}_steps"), f"{name}_step"))
    ]
    for one in looked_up:
        one.attribute.extend(node.attribute)
    whole = f"{name}_whole"
    in_floats = helper.make_node("Cast", [f"{name}_int8"], [whole], name=whole, to=TensorProto.FLOAT)
    made = helper.make_node("Mul", [whole, f"{name}_step"], [name], name=f"{name}_float")
    graph.replace([node], [*looked_up, in_floats, made], before=node)


def _windows_share_runs(model: Any) -> bool:
    """Whether windows have the same logits alone and in one run: all products with weights are in integers."""
    graph = Graph(model)
    return not any(name in graph.constants for node in graph.of_type(*_IN_FLOATS) for name in node.input)
