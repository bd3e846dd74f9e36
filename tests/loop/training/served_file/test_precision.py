"""The served file keeps as much of FP32 as it needs to say what FP32 says."""

from __future__ import annotations

from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from loop.training.batches import encode
from loop.training.dev_split import EvaluationTexts, onnx_reader
from loop.training.encoder import BaseModel, load_base
from loop.training.served_file import precision
from loop.training.served_file.export import to_onnx
from loop.training.served_file.precision import (
    FP32,
    INT8,
    LEAST_AGREEMENT,
    PARTLY_INT8,
    divergence,
    write_served,
)
from loop.training.served_file.quantise import Quantiser
from ner.errors import BundleUnavailableError
from ner.labels import LabelSet
from ner.models.network import Network
from tests.loop import tiny

LABELS = LabelSet(tiny.LABELS)


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    loaded = load_base(str(tiny.encoder(tmp_path_factory.mktemp("encoder"))), LABELS, 24)
    with torch.no_grad():
        loaded.model.classifier.weight.mul_(20)  # else all logits are nearly equal
    return loaded


@pytest.fixture(scope="module")
def texts(base: BaseModel) -> EvaluationTexts:
    encoded = tuple(encode(text, spans, base.text_encoder, LABELS, 24) for text, spans in tiny.corpus(80))
    return EvaluationTexts(encoded, base.text_encoder, LABELS, {})


def written(base: BaseModel, texts: EvaluationTexts, folder: Path, before: Collection[str] = ()) -> Any:
    to_onnx(base.model, folder / "fp32.onnx", [0, 5, 2])
    return write_served(folder / "fp32.onnx", folder / "model.onnx", texts, texts.windows(), before)


def test_a_model_that_int8_hardly_changes_is_served_in_int8(
    base: BaseModel, texts: EvaluationTexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "LEAST_AGREEMENT", 0.9)  # random weights are less certain than trained ones
    [attempt] = written(base, texts, tmp_path)
    assert attempt.step.precision == INT8
    assert attempt.agreement.f1 >= 0.9
    assert attempt.agreement.texts == 80
    assert attempt.agreement.spans > 0


def test_the_product_that_int8_spoils_is_found_and_left_in_fp32(
    base: BaseModel, texts: EvaluationTexts, tmp_path: Path
) -> None:
    spoiled = base.model.bert.encoder.layer[1]
    before = {name: value.clone() for name, value in base.model.state_dict().items()}
    with torch.no_grad():  # one channel whose share in the product is so large, and taken off again, that no scale fits
        spoiled.intermediate.dense.weight[3] = 0
        spoiled.intermediate.dense.bias[3] = 2e5
        spoiled.output.dense.weight.mul_(10)
        spoiled.output.dense.bias.sub_(2e5 * spoiled.output.dense.weight[:, 3])
    try:
        attempts = written(base, texts, tmp_path)
    finally:
        base.model.load_state_dict(before)
    assert [attempt.step.precision for attempt in attempts] == [INT8, PARTLY_INT8]
    assert "layer.1/output/dense" in attempts[-1].step.in_fp32[0]
    assert attempts[0].agreement.f1 < LEAST_AGREEMENT <= attempts[-1].agreement.f1
    floats = [one for one in onnx.load(str(tmp_path / "model.onnx")).graph.initializer if list(one.dims) == [64, 32]]
    assert [one.data_type for one in floats].count(onnx.TensorProto.FLOAT) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fp32.onnx", "model.onnx"]


@pytest.mark.parametrize("enough", [True, False])
def test_what_the_model_before_kept_in_fp32_is_tried_before_nodes_are_measured(
    base: BaseModel, texts: EvaluationTexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, enough: bool
) -> None:
    to_onnx(base.model, tmp_path / "fp32.onnx", [0, 5, 2])
    kept = Quantiser(tmp_path / "fp32.onnx", [[0, 5, 2]]).nodes[:2]
    written_with: list[int] = []

    def added(int8: set[str]) -> float | None:
        written_with.append(len(int8))
        return None if not int8 or (enough and not int8 & set(kept)) else 1000.0

    monkeypatch.setattr(Quantiser, "write", spoiling(tmp_path, added))
    monkeypatch.setattr(precision, "LEAST_AGREEMENT", 0.5)
    attempts = written(base, texts, tmp_path, [*kept, "a node of another model"])
    assert attempts[1].step == precision.Step(PARTLY_INT8, tuple(kept))
    assert (len(attempts) == 2) == (1 not in written_with) == enough


@pytest.mark.parametrize("added", [1000.0, np.inf], ids=["finds nothing", "gives no finite logits"])
def test_where_no_int8_will_do_fp32_is_served_and_changes_nothing(
    base: BaseModel, texts: EvaluationTexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, added: float
) -> None:
    monkeypatch.setattr(Quantiser, "write", spoiling(tmp_path, lambda int8: added if int8 else None))
    attempts = written(base, texts, tmp_path)
    assert [attempt.step.precision for attempt in attempts] == [INT8, *[PARTLY_INT8] * 3, FP32]
    # Of nine products (four in each of two layers, and the classifier) an eighth, a quarter, a half, rounded up.
    assert [len(attempt.step.in_fp32) for attempt in attempts] == [0, 2, 3, 5, 0]
    windows = texts.windows()
    fp32, served = (onnx_reader(Network(tmp_path / name))(windows) for name in ("fp32.onnx", "model.onnx"))
    assert max(np.abs(one - other).max() for one, other in zip(fp32, served, strict=True)) < 1e-4


def test_a_node_that_alone_in_int8_gives_no_finite_logits_is_left_in_fp32_first(
    base: BaseModel, texts: EvaluationTexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def added(int8: set[str]) -> float:
        return np.inf if len(int8) == 1 and "layer.0/output/dense" in min(int8) else 1000.0 * (len(int8) > 1)

    monkeypatch.setattr(Quantiser, "write", spoiling(tmp_path, added))
    assert "layer.0/output/dense" in written(base, texts, tmp_path)[1].step.in_fp32[0]


def test_a_lack_of_memory_says_nothing_about_int8(
    base: BaseModel, texts: EvaluationTexts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def starved(*_: object, **__: object) -> None:
        raise BundleUnavailableError("memory is at hand")

    monkeypatch.setattr(Quantiser, "write", starved)
    with pytest.raises(BundleUnavailableError):
        written(base, texts, tmp_path)


def spoiling(folder: Path, added: Callable[[set[str]], float | None]) -> Callable[..., None]:
    """A `Quantiser.write` that spoils a file by what is `added` for its nodes in INT8, and writes in truth for None."""
    real = Quantiser.write

    def write(self: Quantiser, target: Path, in_fp32: Collection[str] = ()) -> None:
        value = added(set(self.nodes) - set(in_fp32))
        if value is None:
            return real(self, target, in_fp32)
        return spoil(folder / "fp32.onnx", target, value)

    return write


def spoil(source: Path, target: Path, added: float) -> None:
    """Write the file with `added` to the logit of the first tag, so that it finds nothing at all."""
    model = onnx.load(str(source))
    zeros = np.zeros(len(LABELS.tags), dtype=np.float32)
    zeros[0] = added
    model.graph.initializer.append(onnx.numpy_helper.from_array(zeros, "deaf"))
    [last] = [node for node in model.graph.node if "logits" in node.output]
    last.output[list(last.output).index("logits")] = "heard"
    model.graph.node.append(onnx.helper.make_node("Add", ["heard", "deaf"], ["logits"]))
    onnx.save(model, str(target))


def test_divergence_is_none_between_equals_and_that_of_the_distributions_otherwise() -> None:
    certain, even = np.log([[0.9, 0.1]]), np.log([[0.5, 0.5]])
    assert divergence(certain, certain + 3.0) == pytest.approx([0.0])
    assert divergence(certain, even) == pytest.approx([0.9 * np.log(0.9 / 0.5) + 0.1 * np.log(0.1 / 0.5)])
