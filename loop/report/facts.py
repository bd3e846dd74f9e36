"""What a report tells, as frozen dataclasses. `gather` and `rollback` fill them, and `files` keeps them.

F1, precision, recall and differences are 0..1. Alphas and p-values are probabilities. None is what was not measured.
A field of a dataclass is a key of report.json. Reports that are on disk stay readable: a new field has a default.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from loop.evaluation.errors import Confusion, Example, TypeErrors
from loop.evaluation.robustness import Perturbed
from loop.judging.measured import ContractCheck, Efficiency
from loop.promotion.attempt import Gate, Look, Ruling
from loop.quality.corruption import GoldCheck
from loop.quality.prelabels import Prelabels
from loop.report.history import PastDecision
from store.counts import Doubts
from store.holdout import Rotated

FORMAT = 1
ATTEMPT, ROLLBACK = "attempt", "rollback"
MICRO, MACRO = "micro", "macro"


@dataclass(frozen=True, slots=True)
class Verdict:
    """headline: the outcome in two or three words. sentences: what was decided on which figures, and why."""

    headline: str
    sentences: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A finding, a risk, a limit or a next step: its topic, its sentence, and the figures that it stands on."""

    topic: str
    text: str
    figures: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class ExportTry:
    """A way in which the served file was written. f1: of its spans against those of FP32, on so many texts."""

    precision: str
    f1: float
    texts: int


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a model comes from. adapter: LoRA's settings; settings: all others. files: SHA-256 by name.

    exports: the ways to write the served file that were tried; the last of them is the served file. training: what the
    settings came to on these data: epochs, steps, windows of a step, learning rate.
    """

    version: str
    number: int
    parent: str | None
    lineage: tuple[str, ...]
    encoder: str
    adapter: Mapping[str, object]
    settings: Mapping[str, object]
    data_fingerprint: str
    seed: int
    libraries: Mapping[str, str]
    files: Mapping[str, str]
    training_seconds: float | None
    trained_at: datetime
    kind: str | None
    state: str
    exports: tuple[ExportTry, ...] = ()
    training: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Retraining:
    """What trains the candidate again. settings: those that differ from the defaults, as loop.toml has them."""

    command: str
    settings: str | None
    parent: str | None
    data_fingerprint: str


@dataclass(frozen=True, slots=True)
class Metadata:
    """Both models, and what it takes to make the attempt again. None is a model that the store does not know."""

    candidate: Origin | None
    retraining: Retraining | None
    incumbent: Origin | None
    command: str
    judged_seconds: float
    machine: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class SplitCounts:
    """All texts of a split with their tokens, and those that have gold with their tokens and entities."""

    split: str
    documents: int
    tokens: int
    labelled: int
    labelled_tokens: int
    entities: int


@dataclass(frozen=True, slots=True)
class TypeCounts:
    """Entities of a type: to learn from, those that the candidate saw, and those in the holdout.

    minimum, recommended: labels to learn from, where the settings name the type; None: as for the whole project.
    """

    name: str
    labels: int
    trained: int
    holdout: int
    short_of_minimum: int
    short_of_recommended: int
    minimum: int | None = None
    recommended: int | None = None


@dataclass(frozen=True, slots=True)
class Roles:
    """Texts that a model was trained on, and those that told when to stop."""

    train: int
    dev: int


@dataclass(frozen=True, slots=True)
class Ancestor:
    """A model that the candidate goes on from, with the texts that it was trained on."""

    version: str
    gold: int
    weak: int


@dataclass(frozen=True, slots=True)
class MutingEvidence:
    """F1 of the majority vote with a source and without it on labelled documents, and how many of its votes are right.

    low, high: the 95 % interval of the gain without it. p_value: of that gain, by chance.
    """

    documents: int
    with_f1: float
    without_f1: float
    low: float
    high: float
    p_value: float
    votes: int
    right: int


@dataclass(frozen=True, slots=True)
class MutedSource:
    """A source of weak labels whose votes did not count when the candidate was trained.

    by: "loop", or a person. by_training: the candidate's own training muted the source. evidence: None by a person.
    """

    source: str
    by: str
    since: datetime
    by_training: bool
    evidence: MutingEvidence | None = None


@dataclass(frozen=True, slots=True)
class TrainedTexts:
    """What the candidate was trained on. types: entities by type. weak_votes: votes on the weakly labelled texts.
    weak_choice: whether weak labels were learned from before the gold, and why; None where there was no choice.
    """

    gold: Roles
    weak: Roles
    entities: int
    types: Mapping[str, int]
    weak_votes: int
    lineage: tuple[Ancestor, ...]
    weak_choice: str | None = None
    muted: tuple[MutedSource, ...] = ()


@dataclass(frozen=True, slots=True)
class AnnotatorCounts:
    """One person's annotations, and the texts whose gold is by this person. who: None without a name."""

    who: str | None
    annotations: int | None
    documents: int
    entities: int


@dataclass(frozen=True, slots=True)
class ProjectData:
    """The project's data when the report was written. minimum, recommended: labels of a type to learn from."""

    splits: tuple[SplitCounts, ...]
    types: tuple[TypeCounts, ...]
    minimum: int
    recommended: int
    trained: TrainedTexts
    annotators: tuple[AnnotatorCounts, ...]
    disagreements: int
    skipped: int
    duplicates: int
    open: int
    set_aside: Mapping[str, int]
    token: str = "a word or a punctuation mark"
    doubts: Doubts = field(default_factory=Doubts)


@dataclass(frozen=True, slots=True)
class SystemScores:
    """One system's figures in a row of the results."""

    precision: float
    recall: float
    f1: float
    predicted: int
    true_positives: int


@dataclass(frozen=True, slots=True)
class ResultRow:
    """A type, `micro` or `macro`. delta: candidate minus incumbent, low and high its interval, lower its bound.

    status: of the gate that asks whether the candidate is worse on this type.
    """

    name: str
    support: int
    candidate: SystemScores
    incumbent: SystemScores | None
    delta: float | None
    low: float | None
    high: float | None
    lower: float | None
    standard_error: float | None
    status: str | None


@dataclass(frozen=True, slots=True)
class Results:
    """documents: texts; groups: the documents that the test counts, each of which has one text or several.

    delta: F1 that a type may lose, 0 where the policy sets no such bound. better, worse: documents on which the
    candidate alone gains, or loses.
    """

    documents: int
    groups: int
    entities: int
    against: str | None
    rows: tuple[ResultRow, ...]
    delta: float
    confidence: float | None = None
    p_value: float | None = None
    better: int | None = None
    worse: int | None = None
    permutations: int | None = None
    resamples: int | None = None
    seed: int | None = None

    @property
    def micro(self) -> ResultRow | None:
        """The row of all types together; None where nothing was looked at."""
        return next((row for row in self.rows if row.name == MICRO), None)

    @property
    def types(self) -> tuple[ResultRow, ...]:
        """The rows that are entity types."""
        return tuple(row for row in self.rows if row.name not in (MICRO, MACRO))

    def type(self, name: str | None) -> ResultRow | None:
        """The row of one entity type."""
        return next((row for row in self.types if row.name == name), None)


@dataclass(frozen=True, slots=True)
class ConfusionMatrix:
    """counts: (types + 1, types + 1), gold types by predicted types; the last row is spurious, the last column missed.

    boundary: spans of each type that have the right type and other bounds.
    """

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]
    boundary: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class ErrorFacts:
    """The candidate's errors. confusions: how many kinds of confusion there are; costliest: the first of them."""

    per_type: tuple[TypeErrors, ...]
    matrix: ConfusionMatrix
    costliest: tuple[Confusion, ...]
    confusions: int
    examples: tuple[Example, ...]
    total: int


@dataclass(frozen=True, slots=True)
class QuantisationLoss:
    """F1 in FP32 and F1 as served, of a type or `micro`; loss is FP32 minus served."""

    name: str
    reference_f1: float
    served_f1: float
    loss: float
    support: int


@dataclass(frozen=True, slots=True)
class SameSpans:
    """On how many of the texts the served model gives the same spans as FP32."""

    documents: int
    same: int


@dataclass(frozen=True, slots=True)
class SpentLook:
    """A look that was spent on a holdout."""

    number: int
    version: str
    purpose: str
    alpha: float
    at: datetime


@dataclass(frozen=True, slots=True)
class ForcedPromotion:
    """A promotion by force."""

    version: str
    at: datetime
    who: str
    reason: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was spent on the holdout that judged, and every promotion by force of the project."""

    look: Look | None
    alpha_left: float | None
    looks_left: int | None
    spent: tuple[SpentLook, ...]
    rotation: Rotated | None
    forced: tuple[ForcedPromotion, ...]


@dataclass(frozen=True, slots=True)
class HistoryPoint:
    """A version that went into service, or this attempt; f1 was measured on holdout number `epoch`."""

    version: str
    at: datetime
    action: str
    f1: float | None
    epoch: int | None
    this: bool
    forced: bool = False


@dataclass(frozen=True, slots=True)
class Power:
    """detectable: the difference in F1 that the holdout finds in four cases of five; wanted: the one to be found."""

    alpha: float
    detectable: float
    wanted: float
    documents: int
    documents_needed: int | None


@dataclass(frozen=True, slots=True)
class AttemptReport:
    """The report of an attempt at a promotion. ruling: of the policy; None where nothing was compared."""

    format: int
    kind: str
    at: datetime
    project: str
    version: str
    incumbent: str | None
    outcome: str
    who: str
    reason: str
    because: str | None
    gates: tuple[Gate, ...]
    contract: tuple[ContractCheck, ...]
    metadata: Metadata
    data: ProjectData
    results: Results
    errors: ErrorFacts
    efficiency: Efficiency | None
    quantisation: tuple[QuantisationLoss, ...]
    agreement: SameSpans | None
    robustness: tuple[Perturbed, ...]
    ledger: Ledger
    history: tuple[HistoryPoint, ...]
    power: Power | None = None
    ruling: Ruling | None = None
    verdict: Verdict = Verdict("", ())
    findings: tuple[Entry, ...] = ()
    risks: tuple[Entry, ...] = ()
    limits: tuple[Entry, ...] = ()
    next_steps: tuple[Entry, ...] = ()
    prelabels: Prelabels = field(default_factory=Prelabels)
    gold_check: GoldCheck | None = None


@dataclass(frozen=True, slots=True)
class ModelScores:
    """A type's figures as the store has them."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int


@dataclass(frozen=True, slots=True)
class RolledBackModel:
    """A model of a rollback, with its figures as they were last measured on the holdout."""

    version: str
    role: str
    encoder: str | None
    trained_at: datetime | None
    scores: tuple[ModelScores, ...]

    def score(self, name: str) -> ModelScores | None:
        """The figures of a type, of `micro` or of `macro`."""
        return next((row for row in self.scores if row.name == name), None)


@dataclass(frozen=True, slots=True)
class AffectedAnnotation:
    """An annotation that began from a withdrawn pre-label. unchanged: it says what the pre-label said."""

    document: str
    task_id: int | None
    annotation_id: int | None
    annotator: str | None
    at: datetime
    version: str
    unchanged: bool | None
    gold: bool | None


@dataclass(frozen=True, slots=True)
class ServiceEntry:
    """How the withdrawn model had got into service. failed, unjudged: gates."""

    version: str
    forced: bool
    who: str
    because: str | None
    failed: tuple[str, ...]
    unjudged: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class RollbackReport:
    """The report of a rollback. withdrawn: the version that served last is at the end.

    exact: the annotations were told by their predictions, and not guessed from times. published: whether open tasks
    have the predictions of `version`; None where the project is in no Label Studio.
    """

    format: int
    kind: str
    at: datetime
    project: str
    version: str
    withdrawn: tuple[str, ...]
    who: str
    reason: str
    verdict: Verdict
    models: tuple[RolledBackModel, ...]
    affected: tuple[AffectedAnnotation, ...]
    exact: bool
    requeued: int | None
    published: bool | None
    publish_problem: str | None
    forced: tuple[ForcedPromotion, ...]
    service: ServiceEntry | None = None
    next_steps: tuple[Entry, ...] = ()
    history: tuple[PastDecision, ...] = ()

    @property
    def withdrawn_model(self) -> RolledBackModel | None:
        """The model that served until the rollback."""
        return self.models[1] if len(self.models) > 1 else None


Report = AttemptReport | RollbackReport
