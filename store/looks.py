"""The ledger of looks at a project's holdouts: each model seen on one is counted, before anything of it is seen.

The terms of an epoch (its alpha, its looks, its schedule) are fixed at its first look, so that changed settings count
from the next holdout on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.columns import utc_now
from store.errors import RefusedError
from store.projects import lock_project
from store.registry import model
from store.schema import HoldoutEpoch, HoldoutLook
from store.session import Transaction

PROMOTE, EVALUATE = "promote", "evaluate"
AlphaOf = Callable[[str, float, int, int], float]


@dataclass(frozen=True, slots=True)
class Terms:
    """`alpha`: the chance of at least one false promotion over the `looks` of an epoch; `schedule` parts it."""

    alpha: float
    looks: int
    schedule: str


def terms_of(session: Session, project_id: int, epoch: int, default: Terms) -> Terms:
    """The terms of an epoch; `default` as long as nobody has looked at it."""
    row = session.get(HoldoutEpoch, (project_id, epoch))
    return default if row is None else Terms(row.alpha, row.looks, row.schedule)


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
    default: Terms,
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
            next_step="`loop promote` retires it into training and draws another one.",
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
        raise RefusedError("an epoch that is retired was looked at, and is retired once", value=epoch)
    row.retired_at, row.retirement = utc_now(), dict(retirement)
    tx.session.flush()


def _open(tx: Transaction, project_id: int, epoch: int, default: Terms) -> Terms:
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
