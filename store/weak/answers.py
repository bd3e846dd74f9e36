"""Answers of prompted models, kept so that the same question is asked and paid once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

from sqlalchemy import func, select
from sqlalchemy.orm import Session

from store.database.columns import utc_now
from store.database.schema import WeakAnswer
from store.database.session import Transaction, insert_rows, select_in
from store.projects import lock_project


@dataclass(frozen=True, slots=True)
class NewAnswer:
    """An answer to keep. key: SHA-256 (hex) of model, prompt and text. tokens and cost: None where nobody said."""

    key: str
    answer: str
    seconds: float
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None


def known_answers(session: Session, project_id: int, keys: Iterable[str]) -> dict[str, WeakAnswer]:
    """The answers that are kept, by key; a key without one is left out."""
    query = select(WeakAnswer).where(WeakAnswer.project_id == project_id)
    return {row[0].key: row[0] for row in select_in(session, query, WeakAnswer.key, set(keys))}


def keep_answers(tx: Transaction, project_id: int, answers: Sequence[NewAnswer]) -> int:
    """Keep these answers; gives how many are new. An answer that is there stays as it is."""
    lock_project(tx, project_id)
    given = {answer.key: answer for answer in answers}
    new = given.keys() - known_answers(tx.session, project_id, given).keys()
    now = utc_now()
    rows = [{"project_id": project_id, "created_at": now, **asdict(given[key])} for key in sorted(new)]
    insert_rows(tx.session, WeakAnswer, rows)
    return len(rows)


def spent_on(session: Session, project_id: int, beginning: str) -> tuple[int, float]:
    """(number, cost) of the answers whose keys begin in this way."""
    key = WeakAnswer.key
    query = select(func.count(), func.coalesce(func.sum(WeakAnswer.cost), 0.0))
    number, cost = session.execute(
        query.where(WeakAnswer.project_id == project_id, key.startswith(beginning, autoescape=True))
    ).one()
    return number, float(cost or 0.0)
