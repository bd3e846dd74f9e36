"""The tables. Migrations make them; a test holds the two equal.

Instants are UTC. Spans are half-open code-point offsets into `documents.text`. Keys of other systems (Label Studio's
ids) are kept beside the store's own, never instead of them.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Double, ForeignKey, Index, MetaData, String, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from ner.spans import Span
from store.database.columns import Instant, SpanList

POOL, TRAIN, HOLDOUT = "pool", "train", "holdout"
SPLITS = (POOL, TRAIN, HOLDOUT)
MICRO, MACRO = "micro", "macro"

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "fk": "fk_%(table_name)s_%(column_0_name)s",
    "pk": "pk_%(table_name)s",
}


class Base(DeclarativeBase):
    """Every table; constraints are named so that migrations can name them on every database."""

    metadata = MetaData(naming_convention=_NAMES)
    type_annotation_map = {  # noqa: RUF012 - SQLAlchemy reads it from the class
        str: String(),
        float: Double(),
        datetime: Instant(),
        dict[str, Any]: JSON(),
        list[str]: JSON(),
        list[dict[str, Any]]: JSON(),
        tuple[Span, ...]: SpanList(),
    }


class Project(Base):
    """One label config, one pool of documents, one model in service."""

    __tablename__ = "projects"
    __table_args__ = (UniqueConstraint("ls_url", "ls_project_id"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(unique=True)
    slug: Mapped[str] = mapped_column(unique=True)
    label_config: Mapped[str]
    labels: Mapped[list[str]]
    salt: Mapped[str]
    holdout_share: Mapped[float]
    ls_url: Mapped[str | None]
    ls_project_id: Mapped[int | None] = mapped_column(BigInteger)
    # The one pointer to what is in service; projects and models point at each other, hence use_alter.
    promoted_version: Mapped[str | None] = mapped_column(ForeignKey("models.version", use_alter=True))
    pull_watermark: Mapped[datetime | None]
    # How labels are renamed, and the map with which all of Label Studio's tasks were read. None: not known yet.
    label_map: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    pulled_label_map: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    # What decides in Label Studio when a task counts as labelled; None: not known yet.
    ls_overlap: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    created_at: Mapped[datetime]


class LabelDate(Base):
    """When a label came into a project or left it, while annotations were there: see `label_dates`."""

    __tablename__ = "label_dates"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), primary_key=True, autoincrement=False)
    label: Mapped[str] = mapped_column(primary_key=True)
    # None: it was there from the beginning.
    came_at: Mapped[datetime | None]
    # None: the project has it.
    gone_at: Mapped[datetime | None]


class Document(Base):
    """A text, as first seen: a text that changes in Label Studio becomes another document (see `documents`)."""

    __tablename__ = "documents"
    __table_args__ = (
        UniqueConstraint("project_id", "external_id"),
        UniqueConstraint("project_id", "ls_task_id"),
        Index(None, "project_id", "content_hash"),
        Index(None, "project_id", "group_key"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    external_id: Mapped[str]
    ls_task_id: Mapped[int | None] = mapped_column(BigInteger)
    group_key: Mapped[str]
    content_hash: Mapped[str]
    text: Mapped[str]
    meta: Mapped[dict[str, Any]]
    created_at: Mapped[datetime]
    ls_updated_at: Mapped[datetime | None]
    is_labeled: Mapped[bool]
    deleted_at: Mapped[datetime | None]


class Split(Base):
    """Where a document stands, frozen; `epoch` counts the holdouts a project has drawn."""

    __tablename__ = "splits"

    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id"), primary_key=True, autoincrement=False)
    split: Mapped[str] = mapped_column(index=True)
    epoch: Mapped[int] = mapped_column(index=True)
    reason: Mapped[str]
    assigned_at: Mapped[datetime]


class AnnotationVersion(Base):
    """One state of one annotation as it was seen. Rows are only ever added: the database refuses more."""

    __tablename__ = "annotation_versions"
    __table_args__ = (UniqueConstraint("document_id", "source", "source_id", "sequence"), Index(None, "source_id"))

    id: Mapped[int] = mapped_column(primary_key=True)
    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id"))
    source: Mapped[str]
    source_id: Mapped[str]
    sequence: Mapped[int]
    digest: Mapped[str]
    result: Mapped[list[dict[str, Any]]]
    # None: nothing can be learned from it; (): a text without entities.
    spans: Mapped[tuple[Span, ...] | None] = mapped_column(SpanList())
    creator: Mapped[str | None]
    lead_time: Mapped[float | None]
    skipped: Mapped[bool]
    ground_truth: Mapped[bool]
    parent_prediction: Mapped[int | None] = mapped_column(BigInteger)
    deleted: Mapped[bool]
    source_created_at: Mapped[datetime | None]
    source_updated_at: Mapped[datetime | None]
    seen_at: Mapped[datetime]


class SetAside(Base):
    """Something that arrived and cannot be learned from, whole, with the rule that set it aside."""

    __tablename__ = "set_aside"
    __table_args__ = (UniqueConstraint("project_id", "digest"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    document_id: Mapped[int | None] = mapped_column(ForeignKey("documents.id"), index=True)
    annotation_version_id: Mapped[int | None] = mapped_column(ForeignKey("annotation_versions.id"))
    source_ref: Mapped[str]
    reason: Mapped[str]
    payload: Mapped[Any] = mapped_column(JSON())
    digest: Mapped[str]
    seen_at: Mapped[datetime]
    # When what was set aside turned out to be in order: a task that was mended, or is gone.
    mended_at: Mapped[datetime | None]


class WeakVote(Base):
    """A span that a labelling function (`source`) votes for."""

    __tablename__ = "weak_votes"

    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id"), primary_key=True, autoincrement=False)
    source: Mapped[str] = mapped_column(primary_key=True)
    start: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    end: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    label: Mapped[str] = mapped_column(primary_key=True)
    function_digest: Mapped[str]
    created_at: Mapped[datetime]


class SourceRecord(Base):
    """A source of weak labels: how far it was asked, at what cost, and whether its votes count.

    Without `muted_at` its votes count. `muted_by` is who decided that last, the loop or a person; None: nobody did.
    """

    __tablename__ = "weak_sources"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), primary_key=True, autoincrement=False)
    name: Mapped[str] = mapped_column(primary_key=True)
    kind: Mapped[str]
    digest: Mapped[str]
    # The highest id of a document that was asked about under this digest: ids rise and texts never change.
    applied_to: Mapped[int]
    # Of all runs under this digest: documents asked about, seconds, and {"count": texts, "first": reason} of failures.
    documents: Mapped[int]
    seconds: Mapped[float]
    faults: Mapped[dict[str, Any]]
    changed_at: Mapped[datetime]
    applied_at: Mapped[datetime | None]
    muted_at: Mapped[datetime | None]
    muted_by: Mapped[str | None]
    # The figures that a muting stands on; empty where a person decided.
    evidence: Mapped[dict[str, Any]]


class WeakAnswer(Base):
    """What a prompted model answered, so that it is paid once. `key`: SHA-256 (hex) of model, prompt and text."""

    __tablename__ = "weak_answers"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), primary_key=True, autoincrement=False)
    key: Mapped[str] = mapped_column(primary_key=True)
    answer: Mapped[str]
    tokens_in: Mapped[int | None]
    tokens_out: Mapped[int | None]
    cost: Mapped[float | None]
    seconds: Mapped[float]
    created_at: Mapped[datetime]


class Run(Base):
    """One command at work on a project, and the process that does it."""

    __tablename__ = "runs"
    __table_args__ = (Index(None, "project_id", "kind", "state"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    kind: Mapped[str]
    state: Mapped[str]
    pid: Mapped[int] = mapped_column(BigInteger)
    # Seconds since 1970: with the pid it names one process, since pids are used again.
    process_started: Mapped[float]
    host: Mapped[str]
    started_at: Mapped[datetime]
    heartbeat_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]
    counts: Mapped[dict[str, Any]]
    error: Mapped[str | None]


class Model(Base):
    """One trained model, or one attempt at it. `path` is relative to MODEL_DIR, so that the folder may move."""

    __tablename__ = "models"
    __table_args__ = (UniqueConstraint("project_id", "number"),)

    version: Mapped[str] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    number: Mapped[int]
    run_id: Mapped[int] = mapped_column(ForeignKey("runs.id"))
    parent: Mapped[str | None] = mapped_column(ForeignKey("models.version"))
    state: Mapped[str]
    encoder: Mapped[str]
    path: Mapped[str]
    data_fingerprint: Mapped[str]
    seed: Mapped[int]
    settings: Mapped[dict[str, Any]]
    libraries: Mapped[dict[str, Any]]
    files: Mapped[dict[str, Any]]
    figures: Mapped[dict[str, Any]]
    error: Mapped[str | None]
    created_at: Mapped[datetime]
    finished_at: Mapped[datetime | None]


class TrainingItem(Base):
    """One document that a model saw, and by which annotation version (None when its labels were weak)."""

    __tablename__ = "training_items"
    __table_args__ = (UniqueConstraint("model", "document_id", "kind"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.version"))
    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id"), index=True)
    annotation_version_id: Mapped[int | None] = mapped_column(ForeignKey("annotation_versions.id"))
    role: Mapped[str]
    kind: Mapped[str]


class Score(Base):
    """Precision, recall and F1 (0..1) of one entity type, or of `micro` or `macro`, in one evaluation."""

    __tablename__ = "scores"
    __table_args__ = (UniqueConstraint("model", "dataset", "evaluated_at", "entity_type"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    model: Mapped[str] = mapped_column(ForeignKey("models.version"))
    dataset: Mapped[str]
    entity_type: Mapped[str]
    precision: Mapped[float]
    recall: Mapped[float]
    f1: Mapped[float]
    support: Mapped[int]
    true_positives: Mapped[int]
    predicted: Mapped[int]
    fingerprint: Mapped[str]
    evaluated_at: Mapped[datetime]


class Promotion(Base):
    """One decision about a model: promote, reject or rollback, with the figures it was made on."""

    __tablename__ = "promotions"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), index=True)
    version: Mapped[str] = mapped_column(ForeignKey("models.version"))
    previous: Mapped[str | None] = mapped_column(ForeignKey("models.version"))
    action: Mapped[str]
    reason: Mapped[str]
    figures: Mapped[dict[str, Any]]
    who: Mapped[str]
    forced: Mapped[bool]
    at: Mapped[datetime]


class HoldoutEpoch(Base):
    """The terms of one holdout, fixed at its first look: the chance of one false promotion, spent over its looks."""

    __tablename__ = "holdout_epochs"

    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"), primary_key=True, autoincrement=False)
    epoch: Mapped[int] = mapped_column(primary_key=True, autoincrement=False)
    alpha: Mapped[float]
    looks: Mapped[int]
    schedule: Mapped[str]
    opened_at: Mapped[datetime]
    # When it was spent and its documents went into training; what of them, and what was drawn in their place.
    retired_at: Mapped[datetime | None]
    retirement: Mapped[dict[str, Any]]


class HoldoutLook(Base):
    """One model seen on one state of a holdout's gold (`fingerprint`), and what that cost. Rows are only ever added."""

    __tablename__ = "holdout_looks"
    __table_args__ = (
        UniqueConstraint("project_id", "epoch", "number"),
        UniqueConstraint("project_id", "epoch", "model", "fingerprint"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int] = mapped_column(ForeignKey("projects.id"))
    epoch: Mapped[int]
    number: Mapped[int]
    model: Mapped[str] = mapped_column(ForeignKey("models.version"))
    fingerprint: Mapped[str]
    alpha: Mapped[float]
    purpose: Mapped[str]
    at: Mapped[datetime]


class Prediction(Base):
    """What a model, or the agreed votes, say of a document in Label Studio; a `holdout` one is published empty.

    The row is stored before the prediction is sent. Until it is confirmed, Label Studio may have the prediction or not.
    model: the version of a model, or that of the votes (`store.predictions.votes_version`), which no model has.
    """

    __tablename__ = "predictions"

    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id"), primary_key=True, autoincrement=False)
    model: Mapped[str] = mapped_column(primary_key=True)
    score: Mapped[float]
    spans: Mapped[tuple[Span, ...]]
    holdout: Mapped[bool]
    # When it was about to be sent: annotators may have seen it from then on.
    published_at: Mapped[datetime]
    # When Label Studio was known to have it and to show it; None: not known yet.
    confirmed_at: Mapped[datetime | None]


class QueueRank(Base):
    """A document's place in the labelling queue (0 first) by confidence (0..1, low first); model: as of Prediction."""

    __tablename__ = "queue_ranks"

    document_id: Mapped[int] = mapped_column(ForeignKey("documents.id"), primary_key=True, autoincrement=False)
    model: Mapped[str] = mapped_column(primary_key=True)
    confidence: Mapped[float]
    rank: Mapped[int]


class Hint(Base):
    """A webhook said that something changed in Label Studio: a reason to pull sooner, never a fact."""

    __tablename__ = "hints"

    id: Mapped[int] = mapped_column(primary_key=True)
    project_id: Mapped[int | None] = mapped_column(ForeignKey("projects.id"))
    ls_project_id: Mapped[int] = mapped_column(BigInteger, index=True)
    action: Mapped[str]
    received_at: Mapped[datetime]
    handled_at: Mapped[datetime | None]
