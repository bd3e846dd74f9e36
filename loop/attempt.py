"""One attempt at a promotion, whole: what was looked at, what it gave, and what was decided. Plain data.

Reports are made of this, and `loop.recording.figures_of` it is what the store keeps with the decision.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from loop.gates import Gate
from loop.significance import Comparison
from ner.spans import Span

PROMOTED, REJECTED, FORCED, DEFERRED, REFUSED = "promoted", "rejected", "forced", "deferred", "refused"
WEAK_VOTE = "weak vote"


@dataclass(frozen=True, slots=True)
class HeldOutDocument:
    """A text of the holdout with its gold, and what each system said of it; None where one was not asked.

    Spans are those of the project's types, without overlaps. reference: the candidate in FP32, before INT8. group: what
    the text belongs to (a thread, a post); texts of one group depend on each other, and are one document to the test.
    """

    name: str
    text: str
    gold: tuple[Span, ...]
    candidate: tuple[Span, ...]
    incumbent: tuple[Span, ...] | None = None
    reference: tuple[Span, ...] | None = None
    group: str = ""


@dataclass(frozen=True, slots=True)
class ContractCheck:
    """One thing that a file must be before it is judged; `found` says what it is."""

    name: str
    expected: str
    found: str
    holds: bool


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a holdout, spent or to be spent.

    number: which one of the epoch (from 1) of the `looks` that it has; used: how many are spent by now, this one among
    them. alpha: what this one may spend of `total`, the chance of one false promotion over the epoch. spent: alpha that
    the used ones may have spent.
    """

    epoch: int
    number: int
    looks: int
    alpha: float
    total: float
    spent: float
    schedule: str
    used: int = 0


@dataclass(frozen=True, slots=True)
class Rotation:
    """A holdout that was spent, and the one that was drawn in its place.

    retired: documents that went into training. drawn: of `eligible` ones on which no model was trained. carried: those
    that had joined the old holdout after its last look, and so have judged nothing. barred: documents of the pool that
    could not be drawn, since a model was trained on them or their group.
    """

    epoch: int
    retired: int
    drawn: int
    eligible: int
    carried: int
    barred: int


@dataclass(frozen=True, slots=True)
class Speed:
    """One way to run the candidate, one text a run: median and 95th percentile, and texts a second in calls of 8.

    size_mb: of the weights' file, None where there is none. runtime: "torch FP32", "ONNX FP32" or "ONNX INT8".
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
    """What the candidate costs. memory_mb: PSS of a process that has only loaded and run the INT8 file.

    reference_error: why FP32 could not be run, None where it could.
    """

    speeds: tuple[Speed, ...]
    memory_mb: float
    bundle_mb: float
    trainable_parameters: int | None = None
    total_parameters: int | None = None
    reference_error: str | None = None

    def of(self, runtime: str) -> Speed | None:
        """The figures of one runtime."""
        return next((speed for speed in self.speeds if speed.runtime == runtime), None)


@dataclass(frozen=True, slots=True)
class Perturbed:
    """F1 (0..1), micro and per type, on the holdout's texts after `name` was done to their tokens.

    changed: texts that it changed at all. spans keep their tokens: gold is moved along with the text.
    """

    name: str
    micro_f1: float
    per_type: Mapping[str, float]
    documents: int
    changed: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """Everything about one attempt.

    version: the candidate's. incumbent: the version in service, None for a first model. against: what the candidate was
    compared with: the incumbent's version, WEAK_VOTE, or None. command: the one that was given. judged_seconds:
    how long the judging took. because: why it was forced. documents: empty where nothing was looked at.
    """

    project: str
    version: str
    incumbent: str | None
    outcome: str
    reason: str
    who: str
    at: datetime
    command: str
    types: tuple[str, ...]
    documents: tuple[HeldOutDocument, ...] = ()
    against: str | None = None
    comparison: Comparison | None = None
    gates: tuple[Gate, ...] = ()
    contract: tuple[ContractCheck, ...] = ()
    look: Look | None = None
    rotation: Rotation | None = None
    efficiency: Efficiency | None = None
    robustness: tuple[Perturbed, ...] = ()
    judged_seconds: float = 0.0
    because: str | None = None
    risks: tuple[str, ...] = ()
    machine: Mapping[str, Any] = field(default_factory=dict)
