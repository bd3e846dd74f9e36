"""The ids of a file's records against those of the store, where an id names one text for good."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from sqlalchemy.orm import Session

from loop.formats.records import Problem, Record
from ner.documents import content_hash
from ner.errors import InputError
from store.documents import names_by_text, texts_by_name
from store.tasks import without_suffix


def settle_names(session: Session, project_id: int, batch: Sequence[Record | Problem]) -> list[Record | Problem]:
    """The batch, with each record under an id that names no other text in the store.

    An id under which the store has the text already comes first: its own, its `fallback_id`, or what a pull made of
    either where it was taken. Else its own, else the fallback; where both name other texts it becomes a Problem.
    """
    records = [item for item in batch if isinstance(item, Record)]
    wanted = {name for item in records for name in _names(item)}
    known = texts_by_name(session, project_id, wanted)
    same = names_by_text(session, project_id, (content_hash(item.text) for item in records if item.fallback_id))
    return [_settled(item, known, same) if isinstance(item, Record) else item for item in batch]


def _settled(record: Record, known: Mapping[str, str], same: Mapping[str, Sequence[str]]) -> Record | Problem:
    names, own = _names(record), content_hash(record.text)
    here = [name for name in names if known.get(name) == own]
    here += [name for name in same.get(own, ()) if record.fallback_id and without_suffix(name) in names]
    free = [name for name in names if name not in known]
    if not names or here or free:
        return replace(record, external_id=next(iter([*here, *free]), None), fallback_id=None)
    error = InputError(
        "a document's id names one text, for good", value=names[0], next_step="Give changed texts ids of their own."
    )
    return Problem(record.where, error, record.text[:500])


def _names(record: Record) -> list[str]:
    return [name for name in (record.external_id, record.fallback_id) if name is not None]
