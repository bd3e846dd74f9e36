"""What was measured of a model: its answers for each text, its files, its costs. Plain data."""

from __future__ import annotations

from dataclasses import dataclass

from loop.evaluation.scores import Agreement
from ner.spans import Span

WEAK_VOTE = "weak vote"
TORCH_FP32, ONNX_FP32 = "torch FP32", "ONNX FP32"
SERVED_INT8, SERVED_FP32 = "ONNX INT8", "ONNX FP32, as served"
BROKEN_BELOW = 0.75  # broken files give 0.12 and less, whole ones 0.99 (test_wrong_files.py)
_FEWEST_SPANS = 20  # with fewer, one that differs would weigh more than a broken file does


@dataclass(frozen=True, slots=True)
class HeldOutText:
    """A text of the holdout with its gold and the answers of each system; None where a system was not asked.

    Spans have the project's types, and do not overlap. unannotated: types that nobody looked for in the text; no answer
    has them. reference: the candidate in FP32, before INT8. group: what the text belongs to (a thread, a post). Texts
    of one group depend on each other, and are one document to the test.
    """

    name: str
    text: str
    gold: tuple[Span, ...]
    candidate: tuple[Span, ...]
    incumbent: tuple[Span, ...] | None = None
    reference: tuple[Span, ...] | None = None
    group: str = ""
    unannotated: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class ContractCheck:
    """One thing that a file must be before it is judged; `found` says what it is."""

    name: str
    expected: str
    found: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Speed:
    """One way to run the candidate: median and 95th percentile of a lone text, and texts a second in calls of 8.

    size_mb: of the weights' file, None where there is none. runtime: TORCH_FP32, ONNX_FP32 (the
    exported file before anything is done to it), or of the served file SERVED_INT8 or SERVED_FP32.
    """

    runtime: str
    latency_ms: float
    latency_p95_ms: float
    documents_per_second: float
    size_mb: float | None
    texts: int
    threads: int


@dataclass(frozen=True, slots=True)
class Efficiency:
    """What the candidate costs. memory_mb: PSS of a process that has only loaded and run the served file.

    reference_error: why FP32 could not be run, None where it could.
    """

    speeds: tuple[Speed, ...]
    memory_mb: float
    bundle_mb: float
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    reference_error: str | None = None

    @property
    def served(self) -> Speed | None:
        """The speed of the file that serves; None where nothing was timed."""
        return next((speed for speed in self.speeds if speed.runtime in (SERVED_INT8, SERVED_FP32)), None)


def served_runtime(precision: str) -> str:
    """The runtime of a served file, by what its manifest says it computes in: all of it in FP32, or in INT8."""
    return SERVED_FP32 if precision == "FP32" else SERVED_INT8


def agrees(agreement: Agreement) -> bool:
    """Whether the served file can be the model that FP32 is."""
    return agreement.f1 >= BROKEN_BELOW or agreement.spans < _FEWEST_SPANS
