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
    from store.holdout import Rotated

PROMOTED, HELD, REJECTED, FORCED = "promoted", "held", "rejected", "forced"
DEFERRED, REFUSED = "deferred", "refused"
PASS, FAIL, INSUFFICIENT, NOT_MEASURED = "pass", "fail", "insufficient", "not measured"
SIGNIFICANCE, NON_INFERIORITY, DIFFERENCE = "significance", "non-inferiority", "difference"
QUALITY, COST, FILE = "quality", "cost", "file"


@dataclass(frozen=True, slots=True)
class Gate:
    """A gate and its verdict.

    kind: SIGNIFICANCE, DIFFERENCE (of F1, against an earlier model), NON_INFERIORITY (of an entity type), QUALITY (a
    target for F1, precision or recall), COST (a target for time, size or memory) or FILE. target and value are
    sentences for people, with units. status: FAIL and NOT_MEASURED (a target for which nothing was measured) block a
    promotion. INSUFFICIENT (too little gold to tell) does not block it, but is no pass: it is a risk. note: what would
    help. entity_type: the type that the gate judges, None for the whole model.
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

    @property
    def told(self) -> str:
        """The gate with what was measured and what was asked for."""
        note = f"; {self.note}" if self.note else ""
        return f"{self.name} ({self.value}, target {self.target}{note})"


@dataclass(frozen=True, slots=True)
class Look:
    """A look at a holdout, spent or to be spent.

    number: of this look (from 1), of the `looks` that the epoch has. used: how many looks are spent by now, this look
    among them. alpha: what this look may spend of `total`, the chance of one false claim over the epoch. spent: the
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
class Rival:
    """The candidate against an earlier model on the same documents.

    difference: in micro-F1 (0..1), candidate minus that model; error: its standard error. better: the probability that
    the candidate is better than that model.
    """

    version: str
    difference: float
    error: float
    better: float


@dataclass(frozen=True, slots=True)
class Ruling:
    """What a policy decided about a candidate, and on which figures. F1 and its differences are shares (0..1).

    verdict, word, reasons: as `loop.promotion.policies.decide` gives them. served, best, anchor: the candidate against
    the model in service, against the best of the models that serve or served, and against the model that claims are
    made against; two or all of them may be one model. anchor is None where that model could not be asked. needed: the
    difference to `served` that the policy asks for; None where the policy asks for a p-value. documents_until_any: with
    how many documents of the same kind any difference of at least 0 is enough for "bounded". average_loss: the F1 that
    a wrong decision may cost on average. first: whether this is the larger F1 that is allowed while the first model
    serves, which was compared with none. documents: that were compared. types: the entity types that block. p_value,
    alpha: of the claim that the candidate is better than `anchor`; None where no claim could be made. put_back: the
    version that takes the place of the model in service. kept_out: the version that would take this place, had no
    person put the model in service there.
    """

    policy: str
    verdict: str
    word: str
    served: Rival
    best: Rival
    anchor: Rival | None
    needed: float | None
    documents: int
    documents_until_any: int
    average_loss: float
    first: bool = False
    types: tuple[str, ...] = ()
    p_value: float | None = None
    alpha: float | None = None
    put_back: str | None = None
    kept_out: str | None = None
    reasons: tuple[str, ...] = ()

    @property
    def claims(self) -> bool:
        """Whether the test shows the candidate to be better than the anchor, at what the claim may spend."""
        return self.p_value is not None and self.alpha is not None and self.p_value <= self.alpha


@dataclass(frozen=True, slots=True)
class Attempt:
    """Everything about one attempt.

    version: the candidate's. incumbent: the version in service, None for a first model. against: what the candidate was
    compared with: the incumbent's version, WEAK_VOTE, or None. command: what the user gave. judged_seconds: how long
    the judging took. because: why the promotion was forced. documents: the texts; empty where nothing was looked at.
    candidate_scores, incumbent_scores: of both sides on `documents`, by which the gates decided; None where a side was
    not scored. earlier_scores: of the other models that were asked, which served before, by version. ruling: of the
    policy, None where there was nothing to compare with. agreement: of INT8 with FP32, None where FP32 was not run.
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
    earlier_scores: Mapping[str, Scores] = field(default_factory=dict)
    comparison: Comparison | None = None
    ruling: Ruling | None = None
    agreement: Agreement | None = None
    gates: tuple[Gate, ...] = ()
    contract: tuple[ContractCheck, ...] = ()
    look: Look | None = None
    rotation: Rotated | None = None
    efficiency: Efficiency | None = None
    robustness: tuple[Perturbed, ...] = ()
    judged_seconds: float = 0.0
    because: str | None = None
    risks: tuple[str, ...] = ()
    gold_check: GoldCheck | None = None
    machine: Mapping[str, Any] = field(default_factory=dict)
