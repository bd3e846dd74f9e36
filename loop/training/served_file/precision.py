"""The file that is served: as much of it in INT8 as still says what FP32 says.

INT8 is tried first, since it serves several times as fast. Many texts, unlabelled ones too, show whether INT8 says
what FP32 says: the few dozen entities of a development split cannot. Where INT8 does not, every next step keeps more of
FP32, and the last step is FP32 itself. So every trained model ends as a file that can serve.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from loop.evaluation.scores import Agreement, check_agreement
from loop.training.batches import FramedWindow
from loop.training.dev_split import EvaluationTexts, Spans, onnx_reader
from loop.training.served_file.quantise import Quantiser
from ner.arrays import Logits
from ner.decoding import log_softmax
from ner.errors import BundleError, BundleUnavailableError
from ner.models.network import Network

INT8, PARTLY_INT8, FP32 = "INT8, static", "INT8, partly FP32", "FP32"
# F1 of the served file's spans against those of FP32: with 0.97, INT8 changes at most about three spans in a hundred.
LEAST_AGREEMENT = 0.97
# How many of the nodes that could be INT8 are left in FP32, step by step.
SHARES_IN_FP32 = (1 / 8, 1 / 4, 1 / 2)
CALIBRATION = 256
_PROBED = 64


@dataclass(frozen=True, slots=True)
class Step:
    """One way to write the file. in_fp32: names of the nodes that are left in FP32 where the others are INT8."""

    precision: str
    in_fp32: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Trial:
    """A step that was taken, and how far its file names the spans that FP32 names."""

    step: Step
    agreement: Agreement

    def as_dict(self) -> dict[str, Any]:
        """As JSON, on one level."""
        return {**asdict(self.step), "in_fp32": list(self.step.in_fp32), **asdict(self.agreement)}

    @property
    def suffices(self) -> bool:
        """Whether the file can serve in place of FP32."""
        return self.step.precision == FP32 or self.agreement.f1 >= LEAST_AGREEMENT


def write_served(
    fp32: Path,
    target: Path,
    compared: EvaluationTexts,
    calibration: Sequence[FramedWindow],
    before: Collection[str] = (),
) -> tuple[Trial, ...]:
    """Write `target`, the file that serves in place of `fp32`; gives all attempts, the last of which is that file.

    compared: the texts on which spans are compared. calibration: windows whose activations give the scales. before: the
    nodes that were left in FP32 in the model that the training went on from. They are tried before the nodes are
    measured one by one, which takes longer than the rest of an export.
    """
    writer = _Writer(fp32, target, compared, [window.ids.tolist() for window in calibration[:CALIBRATION]], before)
    attempts: list[Trial] = []
    for step in writer.steps():
        attempts.append(writer.attempt(step))
        if attempts[-1].suffices:
            break
    return tuple(attempts)


class _Writer:
    def __init__(
        self,
        fp32: Path,
        target: Path,
        compared: EvaluationTexts,
        calibration: list[list[int]],
        before: Collection[str],
    ) -> None:
        self._fp32, self._target, self._compared = fp32, target, compared
        self._quantiser = Quantiser(fp32, calibration)
        self._before = tuple(name for name in self._quantiser.nodes if name in before)
        self._expected = self._tag(fp32)

    def steps(self) -> Iterator[Step]:
        """What to try, in order."""
        yield Step(INT8)
        if self._before:
            yield Step(PARTLY_INT8, self._before)
        names = self._most_sensitive()
        for share in SHARES_IN_FP32:
            yield Step(PARTLY_INT8, tuple(names[: math.ceil(share * len(names))]))
        yield Step(FP32)

    def attempt(self, step: Step) -> Trial:
        """Write the file and compare it with FP32. A file in INT8 that cannot be run agrees on no text."""
        in_fp32 = self._quantiser.nodes if step.precision == FP32 else step.in_fp32
        self._quantiser.write(self._target, in_fp32)
        try:
            return Trial(step, check_agreement(self._tag(self._target), self._expected))
        except BundleUnavailableError:
            raise
        except BundleError:
            if step.precision == FP32:
                raise
            texts, spans = len(self._expected), sum(map(len, self._expected))
            return Trial(step, Agreement(f1=0.0, spans=spans, texts=texts, differing=texts))

    def _tag(self, path: Path) -> tuple[Spans, ...]:
        return self._compared.tag(onnx_reader(Network(path)))

    def _most_sensitive(self) -> list[str]:
        """The nodes that could be INT8, first those that change the answers most when each alone is INT8.

        The sensitivity analysis of Wu et al. 2020 ("Integer Quantization for Deep Learning Inference", on partial
        quantization), by the mean divergence from FP32.
        """
        windows = [window for window in self._compared.windows() if len(window.ids)][:_PROBED]
        expected = onnx_reader(Network(self._fp32))(windows)
        costs: dict[str, float] = {}
        for name in self._quantiser.nodes:
            self._quantiser.write(self._target, [other for other in self._quantiser.nodes if other != name])
            try:
                answered = onnx_reader(Network(self._target))(windows)
            except BundleUnavailableError:
                raise
            except BundleError:
                costs[name] = math.inf  # with this node in INT8 the file cannot be run
                continue
            costs[name] = float(np.mean([divergence(*pair).mean() for pair in zip(expected, answered, strict=True)]))
        return sorted(costs, key=lambda name: -costs[name])


def divergence(reference: Logits, other: Logits) -> Logits:
    """(m,) KL(reference || other) of the tag distributions of m tokens, in nats, from (m, t) logits."""
    expected, found = log_softmax(reference), log_softmax(other)
    difference: Logits = (np.exp(expected) * (expected - found)).sum(axis=-1)
    return difference
