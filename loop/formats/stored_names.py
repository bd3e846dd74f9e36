"""The ids of a file's records against those of the store, where an id names one text for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy.orm import Session

from loop.formats.records import Problem, Record
from ner.documents import content_hash
from ner.errors import InputError
from store.documents import check_key, texts_by_name


def settle_names(session: Session, project_id: int, batch: Sequence[Record | Problem]) -> list[Record | Problem]:
    """The batch, with each record under an id that names no other text in the store.

    One whose id names another text is known by its `fallback_id`; without one it becomes a Problem.
    """
    records = [item for item in batch if isinstance(item, Record)]
    wanted = {name for item in records for name in (item.external_id, item.fallback_id) if name is not None}
    known = texts_by_name(session, project_id, wanted)
    return [_settled(item, known) if isinstance(item, Record) else item for item in batch]


def _settled(record: Record, known: Mapping[str, str]) -> Record | Problem:
    own = content_hash(record.text)
    name, fallback = record.external_id, record.fallback_id
    if name is None or known.get(name, own) == own:
        return record
    if fallback is not None and known.get(fallback, own) == own:
        return replace(record, external_id=check_key(fallback, "a document's id"), fallback_id=None)
    error = InputError(
        "a document's id names one text, for good", value=name, next_step="Give changed texts ids of their own."
    )
    return Problem(record.where, error, record.text[:500])
