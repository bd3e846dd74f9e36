"""Models: their states, the one pointer to the model in service, the decisions, and what each model is made of.

A model goes from training to candidate, promoted and retired. It may end as failed, interrupted, rejected, or
superseded by a newer model. `promote`, `put_back` and `rollback` move the pointer, the states and the record of the
decision in the caller's one transaction. MOVES names their decisions.

Each model knows its parent, the annotation versions that it was trained on, and its scores by dataset: for each entity
type, micro and macro.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any, NotRequired, TypedDict, Unpack

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.database.columns import storable, utc_now
from store.database.schema import AnnotationVersion, Document, Model, Project, Promotion, Score, TrainingItem
from store.database.session import Transaction, insert_rows, select_in
from store.errors import NotFoundError, RefusedError
from store.gold import held_out
from store.projects import lock_project, project_by_id
from store.splits import Keys

TRAINING, CANDIDATE, PROMOTED, RETIRED = "training", "candidate", "promoted", "retired"
REJECTED, SUPERSEDED, FAILED, INTERRUPTED = "rejected", "superseded", "failed", "interrupted"
PROMOTE, REJECT, DEFER, ROLLBACK = "promote", "reject", "defer", "rollback"
HOLD, SUPERSEDE, PUT_BACK = "hold", "supersede", "put back"
MOVES = (PROMOTE, ROLLBACK, PUT_BACK)
_ONLY_BY_FORCE = (REJECTED, RETIRED, SUPERSEDED)
TRAIN_ROLE, DEV_ROLE = "train", "dev"
GOLD, WEAK = "gold", "weak"


class Why(TypedDict):
    """Why a decision was made, by whom, and on which figures."""

    reason: str
    who: str
    figures: NotRequired[Mapping[str, Any]]


def start_model(
    tx: Transaction,
    project_id: int,
    *,
    run_id: int,
    encoder: str,
    seed: int,
    settings: Mapping[str, Any],
    libraries: Mapping[str, Any],
    data_fingerprint: str,
    parent: str | None = None,
    created_at: datetime | None = None,
) -> Model:
    """A model in training, with the project's next number, which is never given again.

    created_at: when its data were read, now unless told: gold that was stored later counts as fresh.

    Its `version` is `<slug>-<number>`, its `path` `<slug>/<version>`, relative to MODEL_DIR.
    """
    project = lock_project(tx, project_id)
    if parent is not None:
        _of_project(tx.session, project, parent)
    number = (tx.session.scalar(select(func.max(Model.number)).where(Model.project_id == project_id)) or 0) + 1
    version = f"{project.slug}-{number:04d}"
    new = Model(
        version=version,
        project_id=project_id,
        number=number,
        run_id=run_id,
        parent=parent,
        state=TRAINING,
        encoder=encoder,
        path=f"{project.slug}/{version}",
        data_fingerprint=data_fingerprint,
        seed=seed,
        settings=dict(settings),
        libraries=dict(libraries),
        files={},
        figures={},
        created_at=created_at or utc_now(),
    )
    tx.session.add(new)
    tx.session.flush()
    return new


def finish_model(
    tx: Transaction, version: str, *, files: Mapping[str, Any], figures: Mapping[str, Any] | None = None
) -> Model:
    """The model's folder is whole: it becomes a candidate. `files` holds the SHA-256 of each, by name."""
    found = _locked(tx, version, TRAINING)
    found.state, found.finished_at = CANDIDATE, utc_now()
    found.files, found.figures = dict(files), dict(figures or {})
    tx.session.flush()
    return found


def fail_model(tx: Transaction, version: str, error: str, *, interrupted: bool = False) -> Model:
    """Training, export or its checks ended badly; such a model can never be promoted."""
    found = _locked(tx, version, TRAINING, CANDIDATE)
    found.state, found.finished_at = INTERRUPTED if interrupted else FAILED, utc_now()
    found.error = storable(error)
    tx.session.flush()
    return found


def model(session: Session, version: str) -> Model:
    """The model of that version; raises NotFoundError."""
    found = session.get(Model, version)
    if found is None:
        raise NotFoundError("a model is in the store", value=version, next_step="`loop status` lists them.")
    return found


def models(session: Session, project_id: int, states: Collection[str] | None = None) -> list[Model]:
    """A project's models, oldest first; in these states where given."""
    query = select(Model).where(Model.project_id == project_id).order_by(Model.number)
    return list(session.scalars(query if states is None else query.where(Model.state.in_(states))))


def promoted(session: Session, project_id: int) -> Model | None:
    """The model in service, or None."""
    version = project_by_id(session, project_id).promoted_version
    return None if version is None else model(session, version)


def promote(
    tx: Transaction,
    project_id: int,
    version: str,
    *,
    force: bool = False,
    **why: Unpack[Why],
) -> Promotion:
    """Put a candidate into service, and note why; `force` takes rejected and retired models too.

    Raises NotFoundError for an unknown version, RefusedError for one of another project, one in service already,
    and one whose state does not allow it.
    """
    project = lock_project(tx, project_id)
    found = _of_project(tx.session, project, version)
    if found.version == project.promoted_version:
        raise RefusedError("a model is promoted once", value=f"{version} is in service", next_step="Nothing to do.")
    if found.state != CANDIDATE and not (force and found.state in _ONLY_BY_FORCE):
        raise RefusedError(
            "only a candidate is promoted", value=f"{version} is {found.state}", next_step=_way_out(found.state)
        )
    forced = found.state != CANDIDATE or force
    return _move_pointer(tx, project, found, PROMOTE, forced=forced, **why)


def reject(tx: Transaction, project_id: int, version: str, **why: Unpack[Why]) -> Promotion:
    """Note that a candidate was not promoted, and why; what is in service stays."""
    project = lock_project(tx, project_id)
    found = _of_project(tx.session, project, version)
    if found.state != CANDIDATE:
        raise RefusedError(
            "only a candidate is rejected", value=f"{version} is {found.state}", next_step="Nothing to do."
        )
    found.state = REJECTED
    return _record(tx, project, found, REJECT, **why)


def refuse(tx: Transaction, project_id: int, version: str, **why: Unpack[Why]) -> Promotion:
    """Note that a model's files were shown to be wrong; a candidate is failed by it, and what is in service stays."""
    project = lock_project(tx, project_id)
    found = _of_project(tx.session, project, version)
    if found.state == CANDIDATE:
        found.state, found.finished_at, found.error = FAILED, utc_now(), storable(why["reason"])
    return _record(tx, project, found, REJECT, **why)


def defer(tx: Transaction, project_id: int, version: str, **why: Unpack[Why]) -> Promotion:
    """Note that a model could not be judged yet, and why; nothing else changes."""
    project = lock_project(tx, project_id)
    found = _of_project(tx.session, project, version)
    return _record(tx, project, found, DEFER, **why)


def hold(tx: Transaction, project_id: int, version: str, **why: Unpack[Why]) -> Promotion:
    """Note that nothing can be told of a candidate yet, and why: the candidate stays one, to be judged again."""
    project = lock_project(tx, project_id)
    found = _of_project(tx.session, project, version)
    if found.state != CANDIDATE:
        raise RefusedError("only a candidate is held", value=f"{version} is {found.state}", next_step="Nothing to do.")
    return _record(tx, project, found, HOLD, **why)


def supersede(tx: Transaction, project_id: int, version: str, *, by: str, who: str) -> Promotion:
    """Retire a candidate that was never put into service, since `by` is newer."""
    project = lock_project(tx, project_id)
    found = _of_project(tx.session, project, version)
    if found.state != CANDIDATE:
        raise RefusedError(
            "only a candidate is superseded", value=f"{version} is {found.state}", next_step="Nothing to do."
        )
    found.state = SUPERSEDED
    return _record(tx, project, found, SUPERSEDE, reason=f"superseded by {by}", who=who)


def put_back(tx: Transaction, project_id: int, version: str, **why: Unpack[Why]) -> Promotion:
    """Put an earlier model back into service, since the holdout shows it above the model that serves.

    Unlike a rollback, this takes back no promotion: what served until now may be put back, too. Raises RefusedError for
    a model whose promotion does not stand.
    """
    project = lock_project(tx, project_id)
    found = _of_project(tx.session, project, version)
    if version == project.promoted_version or version not in standing(promotions(tx.session, project_id)):
        raise RefusedError(
            "only a model that served before, and was not rolled back, is put back",
            value=version,
            next_step="Use `loop rollback --to`, or force it and say why.",
        )
    return _move_pointer(tx, project, found, PUT_BACK, **why)


def rollback(tx: Transaction, project_id: int, *, reason: str, who: str, to: str | None = None) -> Promotion:
    """Put the model back that was in service before, or `to`, one that once was; the withdrawn one is retired.

    A rollback takes back the promotion that it undoes. So two rollbacks go back by two promotions.
    """
    project = lock_project(tx, project_id)
    stack = served(promotions(tx.session, project_id))
    if project.promoted_version is None:
        raise RefusedError(
            "a rollback needs a model in service", value="none", next_step="Promote one: `loop promote`."
        )
    if to is not None:
        _check_target(project, to, promotions(tx.session, project_id))
    elif len(stack) < 2:
        raise RefusedError(
            "a rollback needs an earlier promotion",
            value=f"{project.promoted_version} is the first",
            next_step="Train and promote another one; this one serves until then.",
        )
    found = _of_project(tx.session, project, to or stack[-2])
    return _move_pointer(tx, project, found, ROLLBACK, reason=reason, who=who)


def promotions(session: Session, project_id: int) -> list[Promotion]:
    """Every decision of a project, oldest first."""
    return list(session.scalars(select(Promotion).where(Promotion.project_id == project_id).order_by(Promotion.id)))


def served(decisions: Iterable[Promotion]) -> list[str]:
    """The versions whose service still stands, the one in service last: a rollback takes back all above its target."""
    return _unwound(decisions)[0]


def standing(decisions: Iterable[Promotion]) -> list[str]:
    """What `served` gives, without the versions that a rollback withdrew and that have not served since.

    A model may have served twice, before another model and after it. A rollback takes back only the second time, but
    the person who rolls back does not want the model in service.
    """
    stack, withdrawn = _unwound(decisions)
    return [version for version in stack if version not in withdrawn]


def _unwound(decisions: Iterable[Promotion]) -> tuple[list[str], set[str | None]]:
    """(as `served`, the versions that a rollback withdrew and that have not served since)."""
    stack: list[str] = []
    withdrawn: set[str | None] = set()
    for decision in decisions:
        if decision.action == ROLLBACK:
            withdrawn.add(decision.previous)
        if decision.action == ROLLBACK and decision.version in stack:
            while stack[-1] != decision.version:
                withdrawn.add(stack.pop())
        elif decision.action in MOVES:
            stack.append(decision.version)
        if decision.action in MOVES:
            withdrawn.discard(decision.version)
    return stack, withdrawn


def _check_target(project: Project, to: str, decisions: list[Promotion]) -> None:
    once = {decision.version for decision in decisions if decision.action == PROMOTE}
    if to == project.promoted_version:
        raise RefusedError("a rollback goes to another model", value=f"{to} is in service", next_step="Nothing to do.")
    if to not in once:
        raise RefusedError(
            "a rollback goes to a model that was in service",
            value=to,
            next_step=f"Such are: {', '.join(sorted(once - {project.promoted_version})) or 'none'}.",
        )


def _move_pointer(
    tx: Transaction, project: Project, to: Model, action: str, *, forced: bool = False, **why: Unpack[Why]
) -> Promotion:
    decision = _record(tx, project, to, action, forced=forced, **why)
    if project.promoted_version is not None:
        model(tx.session, project.promoted_version).state = RETIRED
    to.state = PROMOTED
    project.promoted_version = to.version
    tx.session.flush()
    return decision


def _record(
    tx: Transaction, project: Project, about: Model, action: str, *, forced: bool = False, **why: Unpack[Why]
) -> Promotion:
    if not why["reason"].strip() or not why["who"].strip():
        raise RefusedError("a decision says who made it and why", value=f"{why['who']!r}, {why['reason']!r}")
    decision = Promotion(
        project_id=project.id,
        version=about.version,
        previous=project.promoted_version,
        action=action,
        reason=why["reason"],
        figures=dict(why.get("figures") or {}),
        who=why["who"],
        forced=forced,
        at=utc_now(),
    )
    tx.session.add(decision)
    tx.session.flush()
    return decision


def _locked(tx: Transaction, version: str, *states: str) -> Model:
    lock_project(tx, model(tx.session, version).project_id)
    found = tx.session.get(Model, version, populate_existing=True)
    if found is None or found.state not in states:
        raise RefusedError(
            f"only a model that is {' or '.join(states)} goes on from there",
            value=f"{version} is {found.state if found else 'gone'}",
            next_step="Train another one: `loop retrain`.",
        )
    return found


def _of_project(session: Session, project: Project, version: str) -> Model:
    found = model(session, version)
    if found.project_id != project.id:
        raise RefusedError(
            "a model serves the project it was trained for",
            value=f"{version} is not of {project.name!r}",
            next_step="Name a model of this project.",
        )
    return found


def _way_out(state: str) -> str:
    return {
        TRAINING: "Wait until it is trained.",
        REJECTED: "Train another one, or force it and say why.",
        RETIRED: "Use `loop rollback --to`, or force it and say why.",
        SUPERSEDED: "Promote the newer one, or force it and say why.",
    }.get(state, "Train another one: `loop retrain`.")


@dataclass(frozen=True, slots=True)
class TrainedOn:
    """A document a model saw, for its weights (`train`) or to stop early (`dev`), with gold or weak labels.

    `annotation_version_id` is None exactly when the labels were weak.
    """

    document_id: int
    annotation_version_id: int | None
    role: str
    kind: str


def save_training_items(tx: Transaction, version: str, items: Iterable[TrainedOn]) -> int:
    """Store what a model is trained on; gives the number. Refuses any text or group that stands in the holdout."""
    found = model(tx.session, version)
    given = list(items)
    for item in given:
        _check(item)
    _check_not_held_out(tx.session, found, {item.document_id for item in given})
    insert_rows(tx.session, TrainingItem, [asdict(item) | {"model": version} for item in given])
    return len(given)


def trained_on(session: Session, version: str) -> list[TrainedOn]:
    """Everything the model was trained on, by document; without what its parents were trained on."""
    item = TrainingItem
    query = select(item.document_id, item.annotation_version_id, item.role, item.kind)
    query = query.where(item.model == model(session, version).version).order_by(item.document_id, item.kind)
    return [TrainedOn(*row) for row in session.execute(query)]


def learned_until(session: Session, trained: Model) -> datetime:
    """The moment up to which a training knew the gold: its start, or the latest annotation that it read.

    The latest annotation is the later of the two where the clock was set back between them.
    """
    item, read = TrainingItem, AnnotationVersion
    query = select(func.max(read.seen_at)).join(item, item.annotation_version_id == read.id)
    latest = session.scalar(query.where(item.model == trained.version))
    return max(trained.created_at, latest or trained.created_at)


def lineage(session: Session, version: str) -> list[Model]:
    """The model, its parent, its parent's parent, up to one that was trained from the encoder."""
    chain = [model(session, version)]
    while (parent := chain[-1].parent) is not None:
        chain.append(model(session, parent))
    return chain


def _check(item: TrainedOn) -> None:
    weak = item.kind == WEAK
    if item.role not in (TRAIN_ROLE, DEV_ROLE) or item.kind not in (GOLD, WEAK):
        raise RefusedError("a training item is train or dev, gold or weak", value=item)
    if weak != (item.annotation_version_id is None):
        raise RefusedError("gold has an annotation version, weak labels have none", value=item)


def _check_not_held_out(session: Session, found: Model, document_ids: set[int]) -> None:
    held = held_out(session, found.project_id)
    query = select(Document.id, Document.group_key, Document.content_hash)
    query = query.where(Document.project_id == found.project_id)
    keys = {row[0]: Keys(row[1], row[2]) for row in select_in(session, query, Document.id, document_ids)}
    if document_ids - keys.keys():
        raise RefusedError(
            "a model is trained on documents of its project", value=sorted(document_ids - keys.keys())[:10]
        )
    refused = sorted(document for document, key in keys.items() if key in held)
    if refused:
        raise RefusedError(
            "nothing that stands in the holdout is trained on",
            value=f"documents {refused[:10]}",
            next_step="Train on what `training_gold` gives.",
        )


@dataclass(frozen=True, slots=True)
class TypeScore:
    """Precision, recall and F1 in 0..1; `entity_type` may be `micro` or `macro`. Counts are of entities."""

    entity_type: str
    precision: float
    recall: float
    f1: float
    support: int
    true_positives: int
    predicted: int


def save_scores(tx: Transaction, version: str, dataset: str, scored: Iterable[TypeScore], fingerprint: str) -> None:
    """Store one evaluation; `fingerprint` says on which texts and spans it was done. Earlier ones stay."""
    common = {
        "model": model(tx.session, version).version,
        "dataset": dataset,
        "fingerprint": fingerprint,
        "evaluated_at": utc_now(),
    }
    insert_rows(tx.session, Score, [asdict(item) | common for item in scored])


def scores(session: Session, version: str, dataset: str) -> list[TypeScore]:
    """The latest evaluation of a model on a dataset, in the order it was stored; empty when there is none."""
    mine = (Score.model == version, Score.dataset == dataset)
    latest = select(func.max(Score.evaluated_at)).where(*mine).scalar_subquery()
    columns = [getattr(Score, item.name) for item in fields(TypeScore)]
    rows = session.execute(select(*columns).where(*mine, Score.evaluated_at == latest).order_by(Score.id))
    return [TypeScore(*row) for row in rows]
