"""A rewritten graph says what the plain one says, and is smaller where its encoder is recognised."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from loop.training.encoder import load_base, quiet
from loop.training.served_file.export import to_onnx
from loop.training.served_file.onnx_graph import fuse_attention, simplify
from ner.labels import LabelSet
from ner.models.network import Network
from tests.loop import tiny

LAYERS = 2
LENGTHS = (1, 2, 3, 17, 40)


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def plain(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    base = load_base(str(tiny.encoder(folder, request.param)), LabelSet(tiny.LABELS), 24)
    with torch.no_grad():
        base.model.classifier.weight.mul_(20)  # else all logits are nearly equal
    to_onnx(base.model, folder / "plain.onnx", [0, 5, 2])
    return folder / "plain.onnx"


def saved(model: Any, path: Path) -> Network:
    onnx.save(model, str(path))
    return Network(path)


def difference(one: Network, other: Network) -> float:
    windows = [(np.arange(length) % 7 + 5).tolist() for length in LENGTHS]
    return float(max(np.abs(one.logits(ids) - other.logits(ids)).max() for ids in windows))


def usual_difference(one: Network, other: Network) -> float:
    """The median over windows: a float that moves in its last bit may be rounded to the next INT8 value in some."""
    windows = [(np.arange(length) * 3 % 7 + 5).tolist() for length in range(1, 40)]
    return float(np.median([np.abs(one.logits(ids) - other.logits(ids)).max() for ids in windows]))


def operators(model: Any) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_simplifying_changes_no_logit_at_any_length(plain: Path, tmp_path: Path) -> None:
    model = onnx.load(str(plain))
    before = operators(model)
    simplify(model)
    onnx.checker.check_model(model)
    assert difference(Network(plain), saved(model, tmp_path / "simple.onnx")) < 1e-4
    after = operators(model)
    # Query, key and value of a layer become one product, and shapes are no longer put together at each run.
    assert after["MatMul"] == before["MatMul"] - 2 * LAYERS
    assert sum(after.values()) < sum(before.values()) / 1.5


def test_fused_attention_changes_no_logit_at_any_length(plain: Path, tmp_path: Path) -> None:
    model = onnx.load(str(plain))
    simplify(model)
    fuse_attention(model)
    assert difference(Network(plain), saved(model, tmp_path / "fused.onnx")) < 1e-4
    after = operators(model)
    assert after["MultiHeadAttention"] == LAYERS
    assert after["Softmax"] == 0


def quantised(plain: Path, path: Path) -> Any:
    """The simplified graph with its products in INT8, at `path` too."""
    from onnxruntime.quantization import QuantType, quantize_dynamic  # which ner.models.runtime has loaded

    model = onnx.load(str(plain))
    simplify(model)
    onnx.save(model, str(path))
    with quiet():
        quantize_dynamic(str(path), str(path), op_types_to_quantize=["MatMul"], weight_type=QuantType.QInt8)
    return onnx.load(str(path))


def test_attention_takes_its_quantised_product_with_it(plain: Path, tmp_path: Path) -> None:
    model = quantised(plain, tmp_path / "quantised.onnx")
    before = operators(model)
    fuse_attention(model)
    after = operators(model)
    assert (after["QAttention"], after["MultiHeadAttention"], after["Split"]) == (LAYERS, 0, 0)
    assert after["MatMulInteger"] == before["MatMulInteger"] - LAYERS
    assert usual_difference(Network(tmp_path / "quantised.onnx"), saved(model, tmp_path / "fused.onnx")) < 1e-4


def test_quantised_attention_keeps_a_scale_of_its_own(plain: Path, tmp_path: Path) -> None:
    model = quantised(plain, tmp_path / "quantised.onnx")
    makers = {name: node for node in model.graph.node for name in node.output}
    for node in list(model.graph.node):
        if node.op_type == "Softmax":
            scaling = makers[node.input[0]]
            other = onnx.numpy_helper.from_array(np.array(0.7, dtype=np.float32), f"{node.name}_scale")
            model.graph.initializer.append(other)
            scaling.input[:] = [next(name for name in scaling.input if "MatMul" in makers[name].op_type), other.name]
    scaled = saved(model, tmp_path / "scaled.onnx")
    assert difference(Network(tmp_path / "quantised.onnx"), scaled) > 0.01, "the scale makes a difference"
    fuse_attention(model)
    assert operators(model)["QAttention"] == LAYERS
    assert usual_difference(scaled, saved(model, tmp_path / "fused.onnx")) < 1e-4


@pytest.mark.parametrize("change", ["order", "sizes", "bias", "axis"])
def test_attention_over_anything_else_than_equal_parts_in_order_is_left_alone(
    plain: Path, tmp_path: Path, change: str
) -> None:
    model = quantised(plain, tmp_path / "quantised.onnx")
    for split in [node for node in model.graph.node if node.op_type == "Split"]:
        if change == "order":
            split.output[:] = [split.output[1], split.output[0], split.output[2]]
        elif change == "sizes":
            sizes = next(one for one in model.graph.initializer if one.name == split.input[1])
            sizes.CopyFrom(onnx.numpy_helper.from_array(np.array([16, 16, 64], dtype=np.int64), sizes.name))
        elif change == "axis":
            del split.attribute[:]
        else:
            add = next(node for node in model.graph.node if split.input[0] in node.output)
            add.op_type = "Sub"
    fuse_attention(model)
    assert operators(model)["QAttention"] == 0


def test_a_graph_without_attention_stays_as_it_is(tmp_path: Path) -> None:
    ids = onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "tokens"])
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", "tokens", 3])
    table = onnx.numpy_helper.from_array(np.eye(50, 3, dtype=np.float32), "table")
    node = onnx.helper.make_node("Gather", ["table", "input_ids"], ["logits"])
    graph = onnx.helper.make_graph([node], "lookup", [ids], [logits], [table])
    opsets = [onnx.helper.make_opsetid("", 17)]
    model = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=8)
    before = model.SerializeToString()
    simplify(model)
    fuse_attention(model)
    assert model.SerializeToString() == before


@pytest.mark.parametrize(("operator", "attribute"), [("Softmax", {"axis": 2}), ("Transpose", {"perm": [1, 2, 0, 3]})])
def test_what_only_looks_like_attention_is_left_alone(
    plain: Path, tmp_path: Path, operator: str, attribute: dict[str, Any]
) -> None:
    model = onnx.load(str(plain))
    simplify(model)
    for node in model.graph.node:
        if node.op_type == operator:
            del node.attribute[:]
            node.attribute.extend(onnx.helper.make_attribute(*one) for one in attribute.items())
    before = model.SerializeToString()
    fuse_attention(model)
    assert model.SerializeToString() == before
