"""The exported file against the model in torch, and what the checks refuse."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from loop.evaluation.scores import check_agreement
from loop.training.batches import FramedWindow, encode
from loop.training.dev_split import EvaluationTexts, onnx_reader, torch_reader
from loop.training.encoder import BaseModel, load_base
from loop.training.progress import ParityError
from loop.training.served_file import precision
from loop.training.served_file.export import LOGIT_TOLERANCE, check_logits, export_bundle, to_onnx
from loop.training.served_file.quantise import MIGRATIONS, Quantiser, quantise
from ner.labels import LabelSet
from ner.models.network import Network
from tests.loop import tiny

LABELS = LabelSet(tiny.LABELS)


@pytest.fixture(scope="module", params=tiny.FAMILIES)
def base(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> BaseModel:
    folder = tmp_path_factory.mktemp("encoder")
    loaded = load_base(str(tiny.encoder(folder, request.param)), LABELS, 24)
    with torch.no_grad():
        loaded.model.classifier.weight.mul_(20)  # else all logits are nearly equal
    return loaded


def texts_of(base: BaseModel) -> EvaluationTexts:
    texts = tuple(encode(text, spans, base.text_encoder, LABELS, 24) for text, spans in tiny.corpus(12))
    return EvaluationTexts(texts, base.text_encoder, LABELS, {})


def differences(one: list[Any], other: list[Any]) -> float:
    return float(max(np.abs(a - b).max() for a, b in zip(one, other, strict=True)))


def test_fp32_says_what_torch_says_at_every_length(base: BaseModel, tmp_path: Path) -> None:
    to_onnx(base.model, tmp_path / "model.onnx", [0, 5, 2])
    network = Network(tmp_path / "model.onnx")
    windows = [FramedWindow(np.arange(n) % 7 + 5, np.zeros(n, dtype=np.int64)) for n in (1, 2, 3, 17, 40)]
    in_torch = [torch_reader(base.model, 1)([window])[0] for window in windows]
    assert differences(in_torch, onnx_reader(network)(windows)) < LOGIT_TOLERANCE / 10


def test_padding_a_batch_in_torch_changes_nothing(base: BaseModel) -> None:
    read = torch_reader(base.model, base.tokenizer.pad_token_id)
    windows = texts_of(base).windows()
    assert differences(read(windows), [read([window])[0] for window in windows]) < 1e-4


def one_layer(path: Path, scale: np.ndarray[Any, Any], rows: int = 20) -> Path:
    """ids -> embeddings * scale -> a product of which each channel has an equal share -> a product for two tags."""
    random = np.random.default_rng(0)
    arrays = {
        "table": random.normal(size=(rows, 16)),
        "scale": scale,
        "hidden": random.normal(size=(16, 8)) / scale[:, None],
        "tags": random.normal(size=(8, 2)),
    }
    tensors = [onnx.numpy_helper.from_array(array.astype(np.float32), name) for name, array in arrays.items()]
    nodes = [
        onnx.helper.make_node("Gather", ["table", "input_ids"], ["embedded"], name="embeddings"),
        onnx.helper.make_node("Mul", ["embedded", "scale"], ["scaled"], name="scaled"),
        onnx.helper.make_node("MatMul", ["scaled", "hidden"], ["activated"], name="hidden"),
        onnx.helper.make_node("MatMul", ["activated", "tags"], ["logits"], name="classifier"),
    ]
    read = onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "tokens"])
    told = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", "tokens", 2])
    graph = onnx.helper.make_graph(nodes, "one layer", [read], [told], tensors)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), str(path))
    return path


def test_a_channel_far_larger_than_the_others_costs_int8_less_when_it_is_smoothed(tmp_path: Path) -> None:
    scale = np.ones(16)
    scale[3] = 300.0
    fp32 = one_layer(tmp_path / "fp32.onnx", scale)
    windows = [FramedWindow(np.arange(20), np.zeros(20, dtype=np.int64))]
    calibration = [windows[0].ids.tolist()]
    Quantiser(fp32, calibration, migrations=()).write(tmp_path / "plain.onnx")
    quantise(fp32, tmp_path / "smooth.onnx", calibration)
    exact, plain, smooth = (onnx_reader(Network(tmp_path / f"{n}.onnx"))(windows) for n in ("fp32", "plain", "smooth"))
    assert differences(exact, smooth) < differences(exact, plain) / 3
    assert sorted(path.name for path in tmp_path.iterdir()) == ["fp32.onnx", "plain.onnx", "smooth.onnx"]


def test_what_int8_adds_on_average_over_calibration_is_taken_off(tmp_path: Path) -> None:
    fp32, tokens = one_layer(tmp_path / "fp32.onnx", np.ones(16)), list(range(20))
    Quantiser(fp32, [[token] for token in tokens]).write(tmp_path / "int8.onnx", in_fp32={"logits"})
    exact, found = Network(fp32).logits(tokens), Network(tmp_path / "int8.onnx").logits(tokens)
    added = found - exact
    assert np.abs(added).min() > 0
    assert (np.abs(added.mean(axis=0)) < 1e-3 * np.abs(added).mean(axis=0)).all()


def test_each_product_is_smoothed_as_changes_it_least(tmp_path: Path) -> None:
    scale = np.geomspace(1, 300, 16)
    fp32 = one_layer(tmp_path / "fp32.onnx", scale)
    tokens = list(range(20))
    exact, costs = Network(fp32).logits(tokens), {}
    for migrations in (*((one,) for one in MIGRATIONS), MIGRATIONS):
        Quantiser(fp32, [[token] for token in tokens], migrations).write(tmp_path / "int8.onnx")
        costs[migrations] = np.square(Network(tmp_path / "int8.onnx").logits(tokens) - exact).mean()
    assert costs[MIGRATIONS] < 1.05 * min(costs.values()) < 0.9 * max(costs.values())


def in_fp32(path: Path) -> set[str]:
    """The names of the matrices of a file that take four bytes a value."""
    tensors = onnx.load(str(path)).graph.initializer
    return {one.name for one in tensors if len(one.dims) == 2 and one.data_type == onnx.TensorProto.FLOAT}


def test_weights_are_stored_in_a_byte(base: BaseModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "LEAST_AGREEMENT", 0.5)  # random weights are less certain than trained ones
    texts = texts_of(base)
    export_bundle(base.model, tmp_path, texts, texts.windows(), base.tokenizer.pad_token_id)
    assert all("embeddings" in name for name in in_fp32(tmp_path / "model.onnx"))
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_without_windows_nothing_is_known_of_the_activations_and_products_stay_in_fp32(tmp_path: Path) -> None:
    fp32 = one_layer(tmp_path / "fp32.onnx", np.ones(16))
    quantise(fp32, tmp_path / "same.onnx", [])
    assert in_fp32(tmp_path / "same.onnx") == in_fp32(fp32)
    assert not Network(tmp_path / "same.onnx").windows_share_runs


def test_what_is_larger_than_all_that_calibration_saw_is_cut_there(tmp_path: Path) -> None:
    """The last rows of the table are a thousand times the others, and calibration reads none of them."""
    model = onnx.load(str(one_layer(tmp_path / "fp32.onnx", np.ones(16))))
    table = next(one for one in model.graph.initializer if one.name == "table")
    rows = onnx.numpy_helper.to_array(table).copy()
    rows[10:] = 1000 * rows[:10]
    table.CopyFrom(onnx.numpy_helper.from_array(rows, "table"))
    onnx.save(model, str(tmp_path / "fp32.onnx"))
    quantise(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", [list(range(10))])
    exact, found = Network(tmp_path / "fp32.onnx"), Network(tmp_path / "int8.onnx")
    seen, unseen = list(range(10)), list(range(10, 20))
    size = np.abs(exact.logits(seen)).max()
    assert np.abs(exact.logits(seen) - found.logits(seen)).max() < 0.1 * size
    assert np.abs(exact.logits(unseen)).max() > 100 * size
    assert np.abs(found.logits(unseen)).max() < 10 * size


def test_nodes_without_names_are_quantised_too(tmp_path: Path) -> None:
    model = onnx.load(str(one_layer(tmp_path / "named.onnx", np.ones(16))))
    for node in model.graph.node:
        node.name = ""
    onnx.save(model, str(tmp_path / "fp32.onnx"))
    quantise(tmp_path / "fp32.onnx", tmp_path / "int8.onnx", [[1, 2, 3]])
    assert not in_fp32(tmp_path / "int8.onnx") & {"hidden", "tags"}


@pytest.mark.parametrize(("rows", "left"), [(62_500, {"embedded_steps"}), (62_499, {"table"})])
def test_a_large_table_of_embeddings_is_stored_in_a_byte(tmp_path: Path, rows: int, left: set[str]) -> None:
    quantise(one_layer(tmp_path / "fp32.onnx", np.ones(16), rows), tmp_path / "int8.onnx", [[1, 2, 3]])
    assert in_fp32(tmp_path / "int8.onnx") == left


def test_a_row_of_a_large_table_is_rounded_by_its_own_size(tmp_path: Path) -> None:
    fp32 = one_layer(tmp_path / "fp32.onnx", np.ones(16), 62_500)
    model = onnx.load(str(fp32))
    table = next(one for one in model.graph.initializer if one.name == "table")
    rows = onnx.numpy_helper.to_array(table).copy()
    rows[0] *= 1000
    table.CopyFrom(onnx.numpy_helper.from_array(rows, "table"))
    onnx.save(model, str(fp32))
    Quantiser(fp32, [[1, 2, 3]]).write(tmp_path / "int8.onnx", in_fp32={"activated", "logits"})
    exact, found = (Network(tmp_path / f"{name}.onnx").logits([1, 2, 3]) for name in ("fp32", "int8"))
    assert 0 < np.abs(exact - found).max() < 0.05 * np.abs(exact).max()


def test_the_parity_figures_are_those_of_the_file_as_reloaded(base: BaseModel, tmp_path: Path) -> None:
    texts = texts_of(base)
    parity = export_bundle(base.model, tmp_path, texts, texts.windows(), base.tokenizer.pad_token_id)
    again = texts.tag(onnx_reader(Network(tmp_path / "model.onnx")))
    in_torch = texts.tag(torch_reader(base.model, 1))
    assert parity.served.agreement == check_agreement(again, in_torch)
    assert parity.bytes == (tmp_path / "model.onnx").stat().st_size
    assert parity.logit_difference < LOGIT_TOLERANCE / 10


@pytest.mark.parametrize("difference", [2e-3, float("nan"), float("inf")])
def test_logits_that_differ_are_refused_with_the_difference(difference: float) -> None:
    with pytest.raises(ParityError, match="logits of the exported file") as refused:
        check_logits(difference)
    assert refused.value.exit_code == 7
    check_logits(LOGIT_TOLERANCE)
