"""Several records of one text that are one document: rows of a program that writes one row for each answer."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from loop.files.records import SEVERAL_ANNOTATIONS, Problem, Record
from loop.files.seen import Seen
from ner.label_studio.label_config import NotLearned
from store.annotations import NewAnnotation

REJECTED = "rejected answer"
CONTRADICTORY = "several answers of one person that differ"
_SHOWN = 3


def joined(
    records: Callable[[], Iterator[Record | Problem]], joins: Callable[[Record], bool]
) -> Callable[[], Iterator[Record | Problem]]:
    """The same records, with those that `joins` names and that bear one id and one text as one record.

    The joined record comes in the place of its last row, so that only records that wait for a row are kept in memory.
    """
    rows = Seen()
    for item in records():
        if isinstance(item, Record) and joins(item):
            rows.add(_key(item))
    return lambda: _joined(records(), joins, rows)


def _joined(
    records: Iterator[Record | Problem], joins: Callable[[Record], bool], counts: Seen
) -> Iterator[Record | Problem]:
    waiting: dict[str, list[Record]] = {}
    for item in records:
        if isinstance(item, Problem) or not joins(item) or (count := counts.count(_key(item))) <= 1:
            yield item
            continue
        rows = waiting.setdefault(_key(item), [])
        rows.append(item)
        if len(rows) == count:
            yield _one(waiting.pop(_key(item)))


def _key(record: Record) -> str:
    return f"{record.external_id}\0{record.text}"


def _one(rows: Sequence[Record]) -> Record:
    """One record of all rows, with the last annotation of each person.

    The annotations of a person that differ from each other are set aside, and so is the annotation of a text that the
    same person rejected. The annotations of several people that differ are set aside where no time orders them.
    """
    places = [row.where for row in rows]
    more = [f"{len(places) - _SHOWN} more"] if len(places) > _SHOWN else []
    by_person: dict[str, list[NewAnnotation]] = {}
    for row in rows:
        for annotation in row.annotations:
            by_person.setdefault(annotation.source_id, []).append(annotation)
    aside = [item for row in rows for item in row.aside]
    rejecting = {item.payload.get("by") for item in aside if item.reason == REJECTED and isinstance(item.payload, dict)}
    kept = []
    for person, said in by_person.items():
        if len({content_of(one.result) for one in said}) == 1 and person not in rejecting:
            kept.append(said[-1])
        else:
            aside += [NotLearned(CONTRADICTORY, list(one.result)) for one in said]
    if len(kept) > 1 and any(one.source_updated_at is None for one in kept):
        kept, several = agreed(kept)
        aside += several
    meta = {key: value for row in reversed(rows) for key, value in row.meta.items()}
    return replace(
        rows[0], where=", ".join(places[:_SHOWN] + more), annotations=tuple(kept), aside=tuple(aside), meta=meta
    )


def agreed(annotations: Sequence[NewAnnotation]) -> tuple[list[NewAnnotation], list[NotLearned]]:
    """The annotation of several people who say the same, else none of theirs and what is set aside in its place."""
    if len({content_of(one.result) for one in annotations}) == 1:
        return [annotations[-1]], []
    return [], [NotLearned(SEVERAL_ANNOTATIONS, {"results": [list(one.result) for one in annotations]})]


def content_of(result: Iterable[Mapping[str, Any]]) -> str:
    """What regions say of a text, for comparing: their offsets and labels, in any order."""
    values = [[region["value"].get(key) for key in ("start", "end", "labels")] for region in result]
    return json.dumps(sorted({json.dumps(value, sort_keys=True, default=str) for value in values}))
