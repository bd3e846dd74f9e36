"""The looks at a project's holdouts, and the rotation from a spent holdout to the next one.

A look is one model judged on one state of a holdout's gold. It is counted before the model's score is known. The terms
of an epoch (alpha, number of looks, schedule) are fixed at its first look: changed settings count from the next holdout
on. The documents of a spent holdout go into training, and another holdout is drawn uniformly at random.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import and_, exists, func, or_, select, update
from sqlalchemy.orm import Session, aliased

from store.annotations import LABEL_STUDIO, has_live_annotation, is_latest
from store.database.columns import utc_now
from store.database.schema import (
    HOLDOUT,
    POOL,
    TRAIN,
    AnnotationVersion,
    Document,
    HoldoutEpoch,
    HoldoutLook,
    Prediction,
    Split,
)
from store.database.session import Transaction, chunks
from store.errors import RefusedError
from store.projects import lock_project
from store.registry import model
from store.splits import Keys, current_epoch, draws_holdout, epoch_salt, trained_keys
from store.tasks import REPLACED

PROMOTE, EVALUATE = "promote", "evaluate"
AlphaOf = Callable[[str, float, int, int], float]


@dataclass(frozen=True, slots=True)
class HoldoutTerms:
    """`alpha`: the chance of at least one false promotion over the `looks` of an epoch; `schedule` parts it."""

    alpha: float
    looks: int
    schedule: str


def terms_of(session: Session, project_id: int, epoch: int, default: HoldoutTerms) -> HoldoutTerms:
    """The terms of an epoch; `default` as long as nobody has looked at it."""
    row = session.get(HoldoutEpoch, (project_id, epoch))
    return default if row is None else HoldoutTerms(row.alpha, row.looks, row.schedule)


def looks_of(session: Session, project_id: int, epoch: int) -> list[HoldoutLook]:
    """The looks that an epoch has spent, in order."""
    query = select(HoldoutLook).where(HoldoutLook.project_id == project_id, HoldoutLook.epoch == epoch)
    return list(session.scalars(query.order_by(HoldoutLook.number)))


def count_looks(session: Session, project_id: int, epoch: int) -> int:
    """How many looks an epoch has spent."""
    query = select(func.count()).select_from(HoldoutLook)
    return session.scalar(query.where(HoldoutLook.project_id == project_id, HoldoutLook.epoch == epoch)) or 0


def spend_look(
    tx: Transaction,
    project_id: int,
    epoch: int,
    version: str,
    fingerprint: str,
    *,
    default: HoldoutTerms,
    alpha_of: AlphaOf,
    purpose: str = PROMOTE,
) -> HoldoutLook:
    """The look of a model at an epoch's gold as it is now (`fingerprint`): the one it had already, else the next one.

    Seeing the same model on the same gold again shows nothing new, and costs nothing. Raises RefusedError when the
    epoch is spent.
    """
    lock_project(tx, project_id)
    known = tx.session.scalar(
        select(HoldoutLook).where(
            HoldoutLook.project_id == project_id,
            HoldoutLook.epoch == epoch,
            HoldoutLook.model == model(tx.session, version).version,
            HoldoutLook.fingerprint == fingerprint,
        )
    )
    if known is not None:
        return known
    terms = _open(tx, project_id, epoch, default)
    number = count_looks(tx.session, project_id, epoch) + 1
    if number > terms.looks:
        raise RefusedError(
            f"a holdout judges {terms.looks} candidates",
            value=f"holdout {epoch} has judged as many",
            next_step="`loop renew-holdout` retires it into training and draws another one.",
        )
    look = HoldoutLook(
        project_id=project_id,
        epoch=epoch,
        number=number,
        model=version,
        fingerprint=fingerprint,
        alpha=alpha_of(terms.schedule, terms.alpha, terms.looks, number),
        purpose=purpose,
        at=utc_now(),
    )
    tx.session.add(look)
    tx.session.flush()
    return look


def retire_epoch(tx: Transaction, project_id: int, epoch: int, retirement: Mapping[str, Any]) -> None:
    """Note that an epoch's documents have gone into training, and what came in their place."""
    row = tx.session.get(HoldoutEpoch, (project_id, epoch))
    if row is None or row.retired_at is not None:
        raise RefusedError("a holdout is retired once, after a model was judged on it", value=epoch)
    row.retired_at, row.retirement = utc_now(), dict(retirement)
    tx.session.flush()


def _open(tx: Transaction, project_id: int, epoch: int, default: HoldoutTerms) -> HoldoutTerms:
    if tx.session.get(HoldoutEpoch, (project_id, epoch)) is None:
        row = HoldoutEpoch(
            project_id=project_id,
            epoch=epoch,
            alpha=default.alpha,
            looks=default.looks,
            schedule=default.schedule,
            opened_at=utc_now(),
            retirement={},
        )
        tx.session.add(row)
        tx.session.flush()
    return terms_of(tx.session, project_id, epoch, default)


_DRAWN = "drawn for holdout "


@dataclass(frozen=True, slots=True)
class Rotated:
    """What became of a holdout: `epoch` is the new one.

    retired: documents that went into training. drawn: of `eligible` ones, on which no model was trained and which
    nobody has labelled, so that no pre-label has been in sight of their labels. carried: those that joined the old
    holdout after its last look, and have judged nothing. barred: documents of the pool that could not be drawn, since a
    model was trained on them or their group.
    """

    epoch: int
    retired: int
    drawn: int
    eligible: int
    carried: int
    barred: int


def not_blind(session: Session, project_id: int) -> set[int]:
    """The ids of held-out documents that were annotated while a pre-label may have been in sight.

    A document that was held out from the start has no pre-label. A document that was drawn into a later holdout was in
    the pool before, where it may have had pre-labels: it is blind only from the moment on at which Label Studio was
    known to show an empty prediction in their place. A prediction that was about to be sent and was not confirmed
    counts as a pre-label in sight.

    Once anything was published in the project, this holds also for a document of which the store knows no prediction:
    the ML backend may have given one, and a task whose text was edited keeps the pre-label of its earlier text. For the
    same reason a document that took the place of an edited one counts as drawn, in every holdout but the first.

    Whatever the times say, an annotation is not blind if Label Studio says of one of its regions that it came from a
    prediction: a person may open a task before it is drawn, and submit it later.
    """
    version = AnnotationVersion
    cleared = (
        select(func.min(Prediction.confirmed_at))
        .where(Prediction.document_id == Document.id, Prediction.holdout)
        .scalar_subquery()
    )
    other = aliased(Document)
    published = exists().where(Prediction.document_id == other.id, other.project_id == project_id)
    uncleared = and_(published, or_(cleared.is_(None), version.source_created_at < cleared))
    drawn = and_(Split.reason.startswith(_DRAWN), or_(version.source_created_at < Split.assigned_at, uncleared))
    edited = and_(Split.reason == REPLACED, Split.epoch > 1, uncleared)
    query = (
        select(Document.id, or_(drawn, edited), version.result)
        .join(Split, Split.document_id == Document.id)
        .join(version, version.document_id == Document.id)
        .where(Document.project_id == project_id, Split.split == HOLDOUT)
        .where(version.source == LABEL_STUDIO, ~version.deleted, is_latest(version))
    )
    return {key for key, too_early, result in session.execute(query) if too_early or _from_a_prediction(result)}


def _from_a_prediction(result: Iterable[Mapping[str, Any]]) -> bool:
    """Whether an annotation holds a region of a pre-label, as it was or changed."""
    return any(str(region.get("origin")).startswith("prediction") for region in result)


def rotate(tx: Transaction, project_id: int, least: int = 1) -> Rotated | None:
    """Retire the current holdout and draw the next one. Gives None, and changes nothing, if the next one is too small.

    The next holdout is too small if it has fewer groups than `least`, or fewer than half as many groups as the current
    holdout has labelled groups to give up.

    Groups are drawn whole. Each epoch draws by hashes of its own, and by the project's share.
    """
    project = lock_project(tx, project_id)
    epoch = current_epoch(tx.session, project_id)
    standing = _standing(tx.session, project_id)
    last = max(look.at for look in looks_of(tx.session, project_id, epoch))
    fresh = {row.group_key for row in standing if row.assigned_at > last}
    fresh -= {row.group_key for row in standing if row.assigned_at <= last}
    carried = [row.id for row in standing if row.group_key in fresh]
    pool = _pool(tx.session, project_id)
    eligible = _eligible(tx.session, project_id, pool)
    salt = epoch_salt(project.salt, epoch + 1)
    chosen = {group for group in eligible if draws_holdout(salt, group, project.holdout_share)}
    drawn = [row.id for row in pool if row.group_key in chosen]
    given_up = {row.group_key for row in standing if row.labelled} - fresh
    if len(chosen | fresh) < max(least, len(given_up) / 2):
        return None
    retired = [row.id for row in standing if row.group_key not in fresh]
    able = sum(row.group_key in eligible for row in pool)
    done = Rotated(epoch + 1, len(retired), len(drawn), able, len(carried), len(pool) - able)
    retire_epoch(tx, project_id, epoch, asdict(done))
    _move(tx, retired, TRAIN, f"holdout {epoch} was spent and retired", epoch)
    _move(tx, drawn, HOLDOUT, f"{_DRAWN}{epoch + 1}", epoch + 1)
    _move(tx, carried, HOLDOUT, f"carried into holdout {epoch + 1}", epoch + 1)
    return done


@dataclass(frozen=True, slots=True)
class _Row:
    id: int
    group_key: str
    content_hash: str
    labelled: bool


def _standing(session: Session, project_id: int) -> list[Any]:
    labelled = has_live_annotation(Document.id).label("labelled")
    query = select(Document.id, Document.group_key, Split.assigned_at, labelled)
    query = query.join(Split, Split.document_id == Document.id)
    return list(session.execute(query.where(Document.project_id == project_id, Split.split == HOLDOUT)))


def _pool(session: Session, project_id: int) -> list[_Row]:
    query = select(Document.id, Document.group_key, Document.content_hash, has_live_annotation(Document.id))
    query = query.join(Split, Split.document_id == Document.id)
    query = query.where(Document.project_id == project_id, Split.split == POOL, Document.deleted_at.is_(None))
    return [_Row(*row) for row in session.execute(query)]


def _eligible(session: Session, project_id: int, pool: Collection[_Row]) -> set[str]:
    """The groups none of whose documents was labelled, trained on, or stands in train."""
    trained = trained_keys(session, project_id, [Keys(row.group_key, row.content_hash) for row in pool])
    query = select(Document.group_key).join(Split, Split.document_id == Document.id)
    in_train = set(session.scalars(query.where(Document.project_id == project_id, Split.split == TRAIN)))
    barred = {row.group_key for row in pool if row.labelled or trained & {row.group_key, row.content_hash}}
    return {row.group_key for row in pool} - barred - in_train


def _move(tx: Transaction, document_ids: Iterable[int], split: str, reason: str, epoch: int) -> None:
    values = {"split": split, "reason": reason, "epoch": epoch, "assigned_at": utc_now()}
    for chunk in chunks(document_ids):
        tx.session.execute(update(Split).where(Split.document_id.in_(chunk)).values(values))
