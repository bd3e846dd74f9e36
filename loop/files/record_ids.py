"""The ids of records: made where a file names none, unique in a file, and never of two texts in the store."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from sqlalchemy.orm import Session

from loop.files.records import Problem, Record
from loop.files.seen import Seen
from ner.documents import content_hash
from ner.errors import InputError
from store.documents import names_by_text, texts_by_name
from store.tasks import without_suffix


class Naming:
    """Ids for records without one: the file's stem, the start of the text's hash, and a count for repeated texts.

    The ids depend on the texts and not on their lines. A file that is imported again with one more line at the top
    therefore adds that line only.
    """

    def __init__(self, stem: str) -> None:
        self._stem = stem
        self._seen = Seen()

    def next_id(self, text: str) -> str:
        """The id of the next record with this text."""
        name = self.id_of(text)
        turn = self._seen.add(name)
        return name + (f"-{turn}" if turn > 1 else "")

    def id_of(self, text: str) -> str:
        """The id of all records with this text, for a format in which they are one document."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        return f"{self._stem}:{digest}"


def each_id_once(records: Iterator[Record | Problem]) -> Iterator[Record | Problem]:
    """The records of a file; the second record with an id is known by its `fallback_id`, or becomes a Problem."""
    first = Seen()  # of each id the place of its first record, and its fallback
    for record in records:
        if isinstance(record, Problem) or record.external_id is None:
            yield record
            continue
        name, other = record.external_id, record.fallback_id
        where, fallback = first.setdefault(name, [record.where, other])
        if where != record.where and other is not None and other != fallback:
            # Two tasks that bear one name. The store may know this task by that name, from a file without the other.
            record = replace(record, external_id=other, fallback_id=name)
            where, _ = first.setdefault(other, [record.where, other])
        yield record if where == record.where else _repeated(record, where)


def by_text(session: Session, project_id: int, batch: Sequence[Record | Problem]) -> list[Record | Problem]:
    """The batch, with each record under the names of the documents that have its text: once for each of them.

    A record that has the id of one of these documents is about this one alone. Any other record stays as it is.
    """
    records = [item for item in batch if isinstance(item, Record)]
    names = names_by_text(session, project_id, (content_hash(item.text) for item in records))
    spread: list[Record | Problem] = []
    for item in batch:
        known = names.get(content_hash(item.text), []) if isinstance(item, Record) else []
        if isinstance(item, Problem) or not known or item.external_id in known:
            spread.append(item)
            continue
        first, *others = known
        spread.append(replace(item, external_id=first, fallback_id=None))
        spread += (replace(item, external_id=name, fallback_id=None, bad_votes=()) for name in others)
    return spread


def settle_ids(session: Session, project_id: int, batch: Sequence[Record | Problem]) -> list[Record | Problem]:
    """The batch, with each record under an id that names no other text in the store.

    An id under which the store has the text already comes first: the record's own id, its `fallback_id`, or the name
    that a pull made of one of these because it was taken. The record's own id comes next, and then its `fallback_id`.
    Where both name other texts, the record becomes a Problem.
    """
    records = [item for item in batch if isinstance(item, Record)]
    known = texts_by_name(session, project_id, {name for item in records for name in _names(item)})
    same = names_by_text(session, project_id, (content_hash(item.text) for item in records if item.fallback_id))
    return [_settled(item, known, same) if isinstance(item, Record) else item for item in batch]


def _settled(record: Record, known: Mapping[str, str], same: Mapping[str, Sequence[str]]) -> Record | Problem:
    names, own = _names(record), content_hash(record.text)
    here = [name for name in names if known.get(name) == own]
    here += [name for name in same.get(own, ()) if record.fallback_id and without_suffix(name) in names]
    free = [name for name in names if name not in known]
    if not names or here or free:
        return replace(record, external_id=next(iter([*here, *free]), None), fallback_id=None)
    rule = "a document's id names one text, for good"
    return Problem(
        record.where, InputError(rule, value=names[0], next_step="Give changed texts ids of their own."), record.text
    )


def _names(record: Record) -> list[str]:
    return [name for name in (record.external_id, record.fallback_id) if name is not None]


def _repeated(record: Record, first: str) -> Problem:
    value = f"{record.external_id}, first on {first}"
    error = InputError("an id stands once in a file", value=value, next_step="Give each record its own id, or no id.")
    return Problem(record.where, error, record.text)
