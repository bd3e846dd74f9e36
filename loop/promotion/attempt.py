"""One attempt at a promotion: what was looked at, the figures, and the decision. Plain data.

Reports are made of an attempt. `loop.promotion.record.figures_of` gives what the store keeps of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loop.evaluation.robustness import Perturbed
    from loop.evaluation.scores import Agreement, Scores
    from loop.evaluation.significance import Comparison
    from loop.judging.measured import ContractCheck, Efficiency, HeldOutText
    from loop.quality.corruption import GoldCheck

PROMOTED, REJECTED, FORCED, DEFERRED, REFUSED = "promoted", "rejected", "forced", "deferred", "refused"
PASS, FAIL, INSUFFICIENT, NOT_MEASURED = "pass", "fail", "insufficient", "not measured"
SIGNIFICANCE, NON_INFERIORITY = "significance", "non-inferiority"
QUALITY, COST, FILE = "quality", "cost", "file"


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate and its verdict.

    kind: SIGNIFICANCE, NON_INFERIORITY, QUALITY (a target for F1, precision or recall), COST (a target for time, size
    or memory) or FILE. target and value are sentences for people, with units. status: FAIL and NOT_MEASURED (a target
    for which nothing was measured) block a promotion. INSUFFICIENT (too little gold to tell) does not block it, but is
    no pass: it is a risk. note: what would help. entity_type: the type that the gate judges, None for the whole model.
    """

    name: str
    kind: str
    target: str
    value: str
    status: str
    note: str = ""
    entity_type: str | None = None

    @property
    def blocks(self) -> bool:
        """Whether the gate stands in the way of a promotion."""
        return self.status in (FAIL, NOT_MEASURED)


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a holdout, spent or to be spent.

    number: of this look (from 1), of the `looks` that the epoch has. used: how many looks are spent by now, this look
    among them. alpha: what this look may spend of `total`, the chance of one false promotion over the epoch. spent: the
    alpha of all used looks together.
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
    """A holdout that was spent, and the holdout that was drawn in its place. All counts are of documents.

    retired: went into training. drawn: of the `eligible` documents of the pool. carried: had joined the old holdout
    after its last look, and so have judged nothing. barred: of the pool, could not be drawn, since a model was trained
    on them or their group.
    """

    epoch: int
    retired: int
    drawn: int
    eligible: int
    carried: int
    barred: int


@dataclass(frozen=True, slots=True)
class Attempt:
    """Everything about one attempt.

    version: the candidate's. incumbent: the version in service, None for a first model. against: what the candidate was
    compared with: the incumbent's version, WEAK_VOTE, or None. command: what the user gave. judged_seconds: how long
    the judging took. because: why the promotion was forced. documents: the texts; empty where nothing was looked at.
    candidate_scores, incumbent_scores: of both sides on `documents`, by which the gates decided; None where a side was
    not scored. agreement: of INT8 with FP32, None where FP32 was not run.
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
    documents: tuple[HeldOutText, ...] = ()
    against: str | None = None
    candidate_scores: Scores | None = None
    incumbent_scores: Scores | None = None
    comparison: Comparison | None = None
    agreement: Agreement | None = None
    gates: tuple[Gate, ...] = ()
    contract: tuple[ContractCheck, ...] = ()
    look: Look | None = None
    rotation: Rotation | None = None
    efficiency: Efficiency | None = None
    robustness: tuple[Perturbed, ...] = ()
    judged_seconds: float = 0.0
    because: str | None = None
    risks: tuple[str, ...] = ()
    gold_check: GoldCheck | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
