"""A trained model as the file that is served: merged, ONNX, INT8, and proven against the model it came from."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loop.training.batches import FramedWindow, frame
from loop.training.dev_split import Judge, onnx_reader, torch_reader
from loop.training.encoder import quiet
from loop.training.progress import ParityError
from loop.training.quantise import quantise
from ner.bundle import MODEL
from ner.network import Network

OPSET = 17
LOGIT_TOLERANCE = 1e-3
F1_TOLERANCE = 0.02
SPARE_ENTITIES = 2
_COMPARED = 64
CALIBRATION = 256
_FP32 = "fp32.onnx"
_TRAIN_OTHERWISE = "Train with another train.seed or more data, or with a lower train.learning_rate."


@dataclass(frozen=True, slots=True)
class Parity:
    """How the exported files compare, as reloaded from the disk, with the model in torch, on the same texts.

    logit_difference: the largest of FP32 ONNX against torch. F1s are micro, 0..1. f1_tolerance: how far the F1 of INT8
    may lie below that of FP32. entities: gold spans in those texts; *_predicted: spans predicted there. bytes: of the
    INT8 file.
    """

    logit_difference: float
    torch_f1: float
    fp32_f1: float
    int8_f1: float
    f1_tolerance: float
    entities: int
    torch_predicted: int
    int8_predicted: int
    bytes: int

    def as_dict(self) -> dict[str, float]:
        """For the manifest."""
        return asdict(self)


def export_bundle(
    model: Any, folder: Path, judge: Judge, calibration: Sequence[FramedWindow], padding_id: int
) -> Parity:
    """Write `model.onnx` (INT8) of a merged torch model into `folder`, and prove it on the texts of `judge`.

    Every file is read one window a run, as it is served. Raises ParityError as `check_parity` does.
    """
    fp32, int8 = folder / _FP32, folder / MODEL
    to_onnx(model, fp32, list(calibration[0].ids) if calibration else [0, 0])
    try:
        network = Network(fp32)
        difference = _logit_difference(model, network, judge, padding_id)
        quantise(fp32, int8, [window.ids.tolist() for window in calibration[:CALIBRATION]], len(judge.labels.tags))
        in_torch, in_fp32 = judge.judge(torch_reader(model, padding_id)), judge.judge(onnx_reader(network))
    finally:
        fp32.unlink(missing_ok=True)
    in_int8 = judge.judge(onnx_reader(Network(int8)))
    parity = Parity(
        logit_difference=difference,
        torch_f1=in_torch.f1,
        fp32_f1=in_fp32.f1,
        int8_f1=in_int8.f1,
        f1_tolerance=f1_tolerance(judge.entities),
        entities=judge.entities,
        torch_predicted=in_torch.predicted,
        int8_predicted=in_int8.predicted,
        bytes=int8.stat().st_size,
    )
    check_parity(parity)
    return parity


def f1_tolerance(entities: int) -> float:
    """F1_TOLERANCE, or what SPARE_ENTITIES of so many entities are worth, if that is more."""
    return max(F1_TOLERANCE, SPARE_ENTITIES / max(1, entities))


def check_parity(parity: Parity) -> None:
    """Raise ParityError unless the files say what the model says.

    FP32 logits differ from torch's by at most LOGIT_TOLERANCE; INT8 predicts something where torch does; and its F1
    lies below that of FP32 by at most the tolerance.
    """
    if not parity.logit_difference <= LOGIT_TOLERANCE:
        raise ParityError(
            f"the logits of the exported file differ from torch's by at most {LOGIT_TOLERANCE:g}",
            value=f"{parity.logit_difference:.3g}",
            next_step="Check the versions of torch, transformers and onnxruntime against the lock file.",
        )
    if parity.torch_predicted and not parity.int8_predicted:
        raise ParityError(
            "the INT8 file predicts entities where the trained model does",
            value=f"0 against {parity.torch_predicted} in torch",
            next_step=_TRAIN_OTHERWISE,
        )
    if parity.fp32_f1 - parity.int8_f1 > parity.f1_tolerance:
        raise ParityError(
            f"INT8 costs at most {100 * parity.f1_tolerance:.1f} points of F1 on {parity.entities} entities",
            value=f"{100 * parity.int8_f1:.1f} against {100 * parity.fp32_f1:.1f} in FP32",
            next_step=_TRAIN_OTHERWISE,
        )


def to_onnx(model: Any, path: Path, example: Sequence[int]) -> None:
    """Write the FP32 graph: input_ids (batch, tokens) int64 to logits (batch, tokens, tags).

    There is no attention mask: a window is read alone, unpadded. Token types are a constant, where the model has them:
    as it stands, transformers would work out the shape of as many zeros as there are tokens, in eighteen nodes. Traced
    by the exporter of torchscript, whose plain graph is the fastest once quantised.
    """
    constant = {"token_type_ids": torch.zeros((1, 1), dtype=torch.long)} if _has_token_types(model) else {}

    class Served(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any) -> Any:
            return self.model(input_ids=input_ids, **constant).logits

    axes = {0: "batch", 1: "tokens"}
    with quiet(), torch.no_grad():
        torch.onnx.export(
            Served().eval(),
            (torch.tensor([list(map(int, example))], dtype=torch.long),),
            str(path),
            input_names=["input_ids"],
            output_names=["logits"],
            dynamic_axes={"input_ids": axes, "logits": axes},
            opset_version=OPSET,
            dynamo=False,
        )


def _has_token_types(model: Any) -> bool:
    accepted = "token_type_ids" in inspect.signature(model.forward).parameters
    return accepted and getattr(model.config, "type_vocab_size", 0) > 0


def _logit_difference(model: Any, network: Network, judge: Judge, padding_id: int) -> float:
    """The largest over the longest and the first windows of the judge's texts."""
    windows = [window for text in judge.texts for window in frame(text, judge.encoder)]
    longest = sorted(windows, key=lambda window: len(window.ids))[-_COMPARED // 4 :]
    compared = [*windows[:_COMPARED], *longest]
    pairs = zip(torch_reader(model, padding_id)(compared), onnx_reader(network)(compared), strict=True)
    return float(max((np.abs(one - other).max() for one, other in pairs), default=0.0))
