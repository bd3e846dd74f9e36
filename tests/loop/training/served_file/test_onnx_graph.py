"""A rewritten graph says what the plain one says, and is smaller where its encoder is recognised."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from loop.training.encoder import load_base
from loop.training.served_file.export import to_onnx
from loop.training.served_file.onnx_graph import Graph, simplify
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


def operators(model: Any) -> Counter[str]:
    return Counter(node.op_type for node in model.graph.node)


def test_simplifying_changes_no_logit_at_any_length(plain: Path, tmp_path: Path) -> None:
    model = onnx.load(str(plain))
    before = operators(model)
    simplify(model)
    assert difference(Network(plain), saved(model, tmp_path / "simple.onnx")) < 1e-4
    after = operators(model)
    # Query, key and value of a layer become one product, and attention with its two products becomes one node. Shapes
    # are no longer put together at each run.
    assert after["MatMul"] == before["MatMul"] - 4 * LAYERS
    assert (after["MultiHeadAttention"], after["Softmax"]) == (LAYERS, 0)
    assert sum(after.values()) < sum(before.values()) / 2


def test_the_output_of_an_attention_is_scaled_by_the_constants_that_make_its_value(plain: Path, tmp_path: Path) -> None:
    """What the next product reads is divided by a factor, and the product's weights are multiplied by the factor."""
    model = onnx.load(str(plain))
    simplify(model)
    graph = Graph(model)
    factor = np.linspace(0.1, 10, 32, dtype=np.float32)
    for attention in graph.of_type("MultiHeadAttention"):
        [product] = [node for node in graph.products() if node.input[0] == attention.output[0]]
        graph.constant(graph.constants[product.input[1]] * factor[:, None], product.input[1])
        assert graph.scale_value(attention.output[0], 1 / factor)
    graph.write()
    assert difference(Network(plain), saved(model, tmp_path / "scaled.onnx")) < 1e-4


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
    assert model.SerializeToString() == before


@pytest.mark.parametrize(("operator", "attribute"), [("Softmax", {"axis": 2}), ("Transpose", {"perm": [1, 2, 0, 3]})])
def test_what_only_looks_like_attention_is_left_alone(
    plain: Path, tmp_path: Path, operator: str, attribute: dict[str, Any]
) -> None:
    model = onnx.load(str(plain))
    for node in model.graph.node:
        if node.op_type == operator:
            del node.attribute[:]
            node.attribute.extend(onnx.helper.make_attribute(*one) for one in attribute.items())
    simplify(model)
    after = operators(model)
    assert (after["MultiHeadAttention"], after["Softmax"]) == (0, LAYERS)
