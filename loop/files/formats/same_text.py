"""Several records of one text that are one document: rows of a program that writes one row for each answer."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from loop.files.records import Problem, Record
from ner.label_config import NotLearned
from store.annotations import NewAnnotation

CONTRADICTORY = "several answers of one person that differ"
_SHOWN = 3


def joined(
    records: Callable[[], Iterator[Record | Problem]], joins: Callable[[Record], bool]
) -> Callable[[], Iterator[Record | Problem]]:
    """The same records, with those that `joins` names and that bear one id and one text as one record.

    The joined record comes in the place of its last row, so that only records that wait for a row are kept in memory.
    """
    counts = Counter(_key(item) for item in records() if isinstance(item, Record) and joins(item))
    repeated = {key: count for key, count in counts.items() if count > 1}
    return lambda: _joined(records(), joins, repeated)


def _joined(
    records: Iterator[Record | Problem], joins: Callable[[Record], bool], repeated: dict[bytes, int]
) -> Iterator[Record | Problem]:
    waiting: dict[bytes, list[Record]] = {}
    for item in records:
        if isinstance(item, Problem) or not joins(item) or _key(item) not in repeated:
            yield item
            continue
        rows = waiting.setdefault(_key(item), [])
        rows.append(item)
        if len(rows) == repeated[_key(item)]:
            yield _one(waiting.pop(_key(item)))


def _key(record: Record) -> bytes:
    return hashlib.sha256(f"{record.external_id}\0{record.text}".encode("utf-8", "surrogatepass")).digest()[:16]


def _one(rows: Sequence[Record]) -> Record:
    """One record of all rows, with the last annotation of each person.

    The annotations of a person that differ from each other are set aside.
    """
    places = [row.where for row in rows]
    more = [f"{len(places) - _SHOWN} more"] if len(places) > _SHOWN else []
    by_person: dict[str, list[NewAnnotation]] = {}
    for row in rows:
        for annotation in row.annotations:
            by_person.setdefault(annotation.source_id, []).append(annotation)
    aside = [item for row in rows for item in row.aside]
    kept = []
    for said in by_person.values():
        if len({_content(one) for one in said}) == 1:
            kept.append(said[-1])
        else:
            aside += [NotLearned(CONTRADICTORY, list(one.result)) for one in said]
    meta = {key: value for row in reversed(rows) for key, value in row.meta.items()}
    return replace(
        rows[0], where=", ".join(places[:_SHOWN] + more), annotations=tuple(kept), aside=tuple(aside), meta=meta
    )


def _content(annotation: NewAnnotation) -> str:
    return json.dumps(sorted(json.dumps(region["value"], sort_keys=True) for region in annotation.result))
