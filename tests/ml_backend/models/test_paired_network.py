"""One network is chosen for each run, and whichever it is, the logits are the same."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from ml_backend.models.paired_network import PairedNetwork
from ner.arrays import Logits
from ner.models.network import Network
from ner.models.runtime import onnxruntime

VOCABULARY, WIDTH, LAYERS, TAGS = 500, 384, 4, 11


class Noted(Network):
    """Notes its runs; holds each of them until it may go on."""

    def __init__(self) -> None:
        self.runs = 0
        self.entered, self.may_go_on = threading.Event(), threading.Event()

    def logits_of_run(self, windows: Sequence[Sequence[int]]) -> Logits:
        self.runs += 1
        self.entered.set()
        assert self.may_go_on.wait(30)
        return np.zeros((len(windows), len(windows[0]), 1))


@pytest.fixture
def pair() -> tuple[Noted, Noted, PairedNetwork]:
    narrow, wide = Noted(), Noted()
    narrow.may_go_on.set()
    wide.may_go_on.set()
    return narrow, wide, PairedNetwork(narrow, wide)


def test_a_lone_caller_gets_the_wide_network(pair: tuple[Noted, Noted, PairedNetwork]) -> None:
    narrow, wide, both = pair
    for _ in range(3):
        both.logits([1])
    assert (narrow.runs, wide.runs) == (0, 3)


def test_a_caller_beside_another_gets_the_narrow_network(pair: tuple[Noted, Noted, PairedNetwork]) -> None:
    narrow, wide, both = pair
    wide.may_go_on.clear()
    first = threading.Thread(target=both.logits, args=([1],))
    first.start()
    assert wide.entered.wait(30)
    both.logits([1])
    wide.may_go_on.set()
    first.join()
    assert (narrow.runs, wide.runs) == (1, 1)


def test_a_caller_keeps_the_narrow_network_for_a_moment_after_it_was_beside_another(
    pair: tuple[Noted, Noted, PairedNetwork], monkeypatch: pytest.MonkeyPatch
) -> None:
    narrow, wide, both = pair
    clock = [1000.0]
    monkeypatch.setattr("ml_backend.models.paired_network.time.monotonic", lambda: clock[0])
    wide.may_go_on.clear()
    first = threading.Thread(target=both.logits, args=([1],))
    first.start()
    assert wide.entered.wait(30)
    both.logits([1])
    wide.may_go_on.set()
    first.join()
    clock[0] += 0.04
    both.logits([1])
    assert (narrow.runs, wide.runs) == (2, 1)
    clock[0] += 0.02
    both.logits([1])
    assert (narrow.runs, wide.runs) == (2, 2)


def test_a_lone_caller_gets_the_wide_network_whichever_thread_runs_it(
    pair: tuple[Noted, Noted, PairedNetwork],
) -> None:
    """The server gives each request to another thread of its pool."""
    narrow, wide, both = pair
    for _ in range(3):
        thread = threading.Thread(target=both.logits, args=([1],))
        thread.start()
        thread.join()
    assert (narrow.runs, wide.runs) == (0, 3)


def test_a_run_that_fails_is_not_counted_as_running_on(pair: tuple[Noted, Noted, PairedNetwork]) -> None:
    narrow, wide, both = pair
    with pytest.raises(TypeError):
        both.logits(None)  # type: ignore[arg-type]
    both.logits([1])
    assert (narrow.runs, wide.runs) == (0, 2)


@pytest.fixture(scope="module")
def quantised(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An INT8 graph as wide as a small encoder, so that its products are shared out among threads."""
    from onnxruntime.quantization import QuantType, quantize_dynamic

    assert onnxruntime  # loaded first by `ner.models.runtime`
    draw = np.random.default_rng(5)
    shapes = {"table": (VOCABULARY, WIDTH)} | {f"w{n}": (WIDTH, WIDTH) for n in range(LAYERS)} | {"out": (WIDTH, TAGS)}
    weights = [
        onnx.numpy_helper.from_array((draw.normal(size=shape) / WIDTH**0.5).astype(np.float32), name)
        for name, shape in shapes.items()
    ]
    nodes = [onnx.helper.make_node("Gather", ["table", "input_ids"], ["x0"])]
    for n in range(LAYERS):
        nodes.append(onnx.helper.make_node("MatMul", [f"x{n}", f"w{n}"], [f"y{n}"]))
        nodes.append(onnx.helper.make_node("Tanh", [f"y{n}"], [f"x{n + 1}"]))
    nodes.append(onnx.helper.make_node("MatMul", [f"x{LAYERS}", "out"], ["logits"]))
    ids = onnx.helper.make_tensor_value_info("input_ids", onnx.TensorProto.INT64, ["batch", "tokens"])
    logits = onnx.helper.make_tensor_value_info("logits", onnx.TensorProto.FLOAT, ["batch", "tokens", TAGS])
    graph = onnx.helper.make_graph(nodes, "wide", [ids], [logits], weights)
    folder = tmp_path_factory.mktemp("wide")
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=10)
    onnx.save(model, str(folder / "fp32.onnx"))
    quantize_dynamic(
        str(folder / "fp32.onnx"), str(folder / "int8.onnx"), weight_type=QuantType.QInt8, per_channel=True
    )
    return folder / "int8.onnx"


@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("length", [1, 7, 64, 256])
def test_the_logits_do_not_depend_on_the_number_of_threads(quantised: Path, threads: int, length: int) -> None:
    narrow, wide = Network(quantised), Network(quantised, threads)
    draw = np.random.default_rng(length)
    for _ in range(5):
        ids = draw.integers(0, VOCABULARY, length).tolist()
        assert np.abs(narrow.logits(ids) - wide.logits(ids)).max() < 1e-4
