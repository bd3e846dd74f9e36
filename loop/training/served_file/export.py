"""A trained model as the file that is served: merged, exported to ONNX, proven against the model it came from."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from loop.training.batches import FramedWindow
from loop.training.dev_split import EvaluationTexts, onnx_reader, torch_reader
from loop.training.encoder import quiet
from loop.training.progress import ParityError
from loop.training.served_file.precision import LEAST_AGREEMENT, Trial, write_served
from ner.models.bundle import MODEL
from ner.models.network import Network

OPSET = 17
LOGIT_TOLERANCE = 1e-3
_COMPARED = 64
_FP32 = "fp32.onnx"


@dataclass(frozen=True, slots=True)
class Parity:
    """How the served file, as reloaded from the disk, compares with the model in torch.

    logit_difference: the largest of FP32 ONNX against torch. attempts: the ways to write the served file that were
    tried, the served one last. bytes: of the served file.
    """

    logit_difference: float
    attempts: tuple[Trial, ...]
    bytes: int

    @property
    def served(self) -> Trial:
        """The way in which the served file was written."""
        return self.attempts[-1]

    @property
    def precision(self) -> str:
        """What the served file computes in, such as "INT8, static"; a constant of `precision`."""
        return self.served.step.precision

    def as_dict(self) -> dict[str, Any]:
        """For the manifest."""
        return {
            "logit_difference": self.logit_difference,
            "attempts": [attempt.as_dict() for attempt in self.attempts],
            "bytes": self.bytes,
        }

    def notices(self) -> Iterator[str]:
        """Why the served file is not the usual one, as a sentence; nothing where it is the usual one."""
        if len(self.attempts) > 1:
            first, in_fp32 = self.attempts[0], len(self.served.step.in_fp32)
            kept = f" ({in_fp32} of its nodes in FP32)" if in_fp32 else ""
            yield (
                f'the model is served as "{self.precision}"{kept}, because "{first.step.precision}" names the spans of '
                f"FP32 only at an F1 of {first.agreement.f1:.3f} on {first.agreement.texts:,} texts; at least "
                f"{LEAST_AGREEMENT} is asked"
            )


def export_bundle(
    model: Any,
    folder: Path,
    compared: EvaluationTexts,
    calibration: Sequence[FramedWindow],
    padding_id: int,
    before: Collection[str] = (),
) -> Parity:
    """Write `model.onnx`, what is served of a merged torch model, into `folder`.

    Every file is read as it is served. Raises ParityError when the exported file says something else
    than the model in torch. How much of the file is INT8 is decided by `precision.write_served`; before: as there.
    """
    fp32, served = folder / _FP32, folder / MODEL
    to_onnx(model, fp32, list(calibration[0].ids) if calibration else [0, 0])
    try:
        difference = _logit_difference(model, Network(fp32), compared.windows(), padding_id)
        check_logits(difference)
        attempts = write_served(fp32, served, compared, calibration, before)
    finally:
        fp32.unlink(missing_ok=True)
    return Parity(difference, attempts, served.stat().st_size)


def check_logits(difference: float) -> None:
    """Raise ParityError where the logits of FP32 lie further than LOGIT_TOLERANCE from torch's, or are no numbers."""
    if not difference <= LOGIT_TOLERANCE:
        raise ParityError(
            f"the logits of the exported file differ from torch's by at most {LOGIT_TOLERANCE:g}",
            value=f"{difference:.3g}",
            next_step="Check the versions of torch, transformers and onnxruntime against the lock file.",
        )


def to_onnx(model: Any, path: Path, example: Sequence[int], *, masked: bool = False) -> None:
    """Write the FP32 graph: input_ids (batch, tokens) int64 to logits (batch, tokens, tags).

    The loop reads windows unpadded, so its graph has no attention mask. masked: the graph also reads
    attention_mask, (batch, tokens) int64, for servers that pad windows to batches. Token types are a constant where the
    model has them: else transformers would work out the shape of as many zeros as there are tokens, in eighteen nodes.
    The exporter of torchscript traces the model; its plain graph is the fastest once quantised.
    """
    constant = {"token_type_ids": torch.zeros((1, 1), dtype=torch.long)} if _has_token_types(model) else {}

    class LogitsOfIds(torch.nn.Module):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any = None) -> Any:
            return self.model(input_ids=input_ids, attention_mask=attention_mask, **constant).logits

    ids = torch.tensor([list(map(int, example))], dtype=torch.long)
    given = {"input_ids": ids, "attention_mask": torch.ones_like(ids)} if masked else {"input_ids": ids}
    axes = {0: "batch", 1: "tokens"}
    with quiet(), torch.no_grad():
        torch.onnx.export(
            LogitsOfIds().eval(),
            tuple(given.values()),
            str(path),
            input_names=list(given),
            output_names=["logits"],
            dynamic_axes=dict.fromkeys((*given, "logits"), axes),
            opset_version=OPSET,
            dynamo=False,
        )


def _has_token_types(model: Any) -> bool:
    accepted = "token_type_ids" in inspect.signature(model.forward).parameters
    return accepted and getattr(model.config, "type_vocab_size", 0) > 0


def _logit_difference(model: Any, network: Network, windows: Sequence[FramedWindow], padding_id: int) -> float:
    """The largest over the first and the longest windows."""
    longest = sorted(windows, key=lambda window: len(window.ids))[-_COMPARED // 4 :]
    compared = [*windows[:_COMPARED], *longest]
    pairs = zip(torch_reader(model, padding_id)(compared), onnx_reader(network)(compared), strict=True)
    return float(max((np.abs(one - other).max() for one, other in pairs), default=0.0))
