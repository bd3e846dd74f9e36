"""FP32 ONNX to INT8: dynamic, weights per output channel, activations smoothed first.

A merged LoRA model has activation channels that are much larger than the others, and dynamic INT8 has one scale for
all of a window's activations. SmoothQuant (Xiao et al. 2023) divides each channel before a matrix product and
multiplies the weights' rows by the same factor: the product stays, the range shrinks. Measured in BENCHMARKS.md.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import numpy_helper

from loop.training.encoder import quiet
from loop.training.served_file.onnx_graph import fuse_attention, simplify
from ner.models.runtime import onnxruntime

MIGRATION = 0.8
SMOOTHED = 0.5
_LEAST = 1e-5
_OPERATORS = ["MatMul", "Gather"]
# A smaller table of embeddings (of positions, of token types) would save little room, and take two steps more a run.
_LARGE_TABLE = 1_000_000

FloatArray = npt.NDArray[np.float32]


def quantise(
    source: Path,
    target: Path,
    calibration: Sequence[Sequence[int]],
    num_tags: int,
    migration: float = MIGRATION,
    smoothed: float = SMOOTHED,
    in_fp32: Collection[str] = (),
) -> None:
    """Write the INT8 model of the FP32 ONNX file `source` to `target`.

    calibration: windows of token ids (special ones included) whose activations say how large each channel gets; none
    leaves the activations as they are. migration: how much of the range moves from them into the weights, 0..1.
    smoothed: as for `smooth_activations`. The classifier's product (num_tags wide) is quantised but not smoothed.
    in_fp32: names of nodes (`quantisable`) that are not quantised.
    """
    model = _simplified(source)
    if calibration:
        smooth_activations(model, calibration, num_tags, migration, smoothed)
    _quantise_nodes(model, target, {"nodes_to_exclude": [*_small_tables(model), *in_fp32]})
    _fuse_file(target)


def quantise_one(source: Path, target: Path, name: str) -> None:
    """Write `source` to `target` with one node of `quantisable` in INT8 and all others in FP32."""
    model = _simplified(source)
    _quantise_nodes(model, target, {"nodes_to_quantize": [name]})


def write_simplified(source: Path, target: Path) -> None:
    """Write `source` to `target` with the smaller graph that INT8 files have, all in FP32."""
    model = _simplified(source)
    onnx.save(model, str(target))
    _fuse_file(target)


def quantisable(source: Path) -> list[str]:
    """The names of the nodes that `quantise` writes in INT8: products with weights, and large tables of embeddings."""
    model = _simplified(source)
    weights, small = {tensor.name for tensor in model.graph.initializer}, set(_small_tables(model))
    nodes = (node for node in model.graph.node if node.op_type in _OPERATORS and weights.intersection(node.input))
    return [node.name for node in nodes if node.name and node.name not in small]


def _simplified(source: Path) -> Any:
    model = onnx.load(str(source))
    simplify(model)
    return model


def _quantise_nodes(model: Any, target: Path, chosen: Mapping[str, Any]) -> None:
    """chosen: the arguments of ONNX Runtime's tool that say which nodes are quantised."""
    # Imported here, since `ner.models.runtime` has to load ONNX Runtime first.
    from onnxruntime.quantization import QuantType, quantize_dynamic

    plain = target.with_suffix(".plain.onnx")
    onnx.save(model, str(plain))
    try:
        with quiet():
            quantize_dynamic(
                str(plain),
                str(target),
                op_types_to_quantize=_OPERATORS,
                weight_type=QuantType.QInt8,
                per_channel=True,
                **chosen,
            )
    finally:
        plain.unlink()


def _fuse_file(path: Path) -> None:
    model = onnx.load(str(path))
    fuse_attention(model)
    onnx.save(model, str(path))


def _small_tables(model: Any) -> list[str]:
    """The names of the nodes that look up rows of a table with fewer than _LARGE_TABLE values.

    Nodes without a name are left out: an empty name would stand for every such node.
    """
    small = {tensor.name for tensor in model.graph.initializer if math.prod(tensor.dims) < _LARGE_TABLE}
    return [node.name for node in model.graph.node if node.op_type == "Gather" and node.input[0] in small and node.name]


def smooth_activations(
    model: Any,
    calibration: Iterable[Sequence[int]],
    num_tags: int,
    migration: float = MIGRATION,
    smoothed: float = SMOOTHED,
) -> None:
    """Put a scaling before the products of activations and weights, in place, and the inverse into the weights.

    Not before the products of query, key and value where they are merged, nor of the attention's context. Of all others
    the share `smoothed` is, 0..1, rounded up and counted from the first: what is rounded early is carried through every
    layer that follows, and later it hardly changes an answer but takes its time (BENCHMARKS.md).

    factor_j = max|X_j| ** migration / max|W_j| ** (1 - migration), over calibration windows and all products that share
    the input, divided by its geometric mean.
    """
    weights = {tensor.name: tensor for tensor in model.graph.initializer}
    products = _smoothed_products(model, weights, num_tags, smoothed)
    if not products:
        return
    largest = _largest_activations(model, list(products), calibration)
    scalings = {}
    for name, nodes in products.items():
        rows = {node.input[1]: numpy_helper.to_array(weights[node.input[1]]) for node in nodes}
        of_weights = np.max([np.abs(row).max(axis=1) for row in rows.values()], axis=0)
        factor = _factor(largest[name], of_weights, migration)
        for weight, row in rows.items():
            weights[weight].CopyFrom(numpy_helper.from_array(row * factor[:, None], weight))
        scalings[name] = _scaling(model, name, factor)
        for node in nodes:
            node.input[0] = scalings[name].output[0]
    _insert_behind(model, scalings)


def _smoothed_products(model: Any, weights: Mapping[str, Any], num_tags: int, share: float) -> dict[str, list[Any]]:
    """The products before which a scaling is put, by their input."""
    shared = {node.input[0] for node in model.graph.node if node.op_type == "Identity"}
    contexts = {name for node in model.graph.node if node.op_type == "Reshape" for name in node.output}
    split = {node.input[0] for node in model.graph.node if node.op_type == "Split"}
    made_of = {name for node in model.graph.node if split.intersection(node.output) for name in node.input}
    products: dict[str, list[Any]] = {}
    for node in model.graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights or node.input[0] in contexts:
            continue
        if node.input[1] in shared:  # a weight of several layers, each with activations of its own
            continue
        if not made_of.intersection(node.output) and weights[node.input[1]].dims[-1] != num_tags:
            products.setdefault(node.input[0], []).append(node)
    return dict(islice(products.items(), math.ceil(share * len(products))))


def _largest_activations(model: Any, names: list[str], calibration: Iterable[Sequence[int]]) -> dict[str, FloatArray]:
    """The largest absolute value of each channel of the named activations."""
    probed = onnx.ModelProto()
    probed.CopyFrom(model)
    for name in names:
        probed.graph.output.append(onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, None))
    session = onnxruntime.InferenceSession(probed.SerializeToString(), providers=["CPUExecutionProvider"])
    inputs = [item.name for item in session.get_inputs()]
    largest: dict[str, FloatArray] = {}
    for ids in calibration:
        read = np.array([ids], dtype=np.int64)
        values = session.run(names, {name: read if name == "input_ids" else np.ones_like(read) for name in inputs})
        for name, value in zip(names, values, strict=True):
            found = np.abs(value).reshape(-1, value.shape[-1]).max(axis=0)
            largest[name] = np.maximum(largest[name], found) if name in largest else found
    return largest


def _factor(activations: FloatArray, weights: FloatArray, migration: float) -> FloatArray:
    wanted = np.maximum(activations, _LEAST) ** migration / np.maximum(weights, _LEAST) ** (1 - migration)
    factor: FloatArray = (wanted / np.exp(np.log(wanted).mean())).astype(np.float32)
    return factor


def _scaling(model: Any, name: str, factor: FloatArray) -> Any:
    """A node that divides the activation; its constant is added to the model."""
    inverse = f"{name}_inverse_factor"
    model.graph.initializer.append(numpy_helper.from_array(1 / factor, inverse))
    return onnx.helper.make_node("Mul", [name, inverse], [f"{name}_smooth"], name=f"{name}_smoothing")


def _insert_behind(model: Any, scalings: dict[str, Any]) -> None:
    """Each scaling directly behind the node that makes its input: nodes of a graph stand in order."""
    ordered = []
    for node in model.graph.node:
        ordered.append(node)
        ordered.extend(scalings[output] for output in node.output if output in scalings)
    copies = [onnx.NodeProto.FromString(node.SerializeToString()) for node in ordered]
    del model.graph.node[:]
    model.graph.node.extend(copies)
