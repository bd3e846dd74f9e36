"""`loop predict`: texts of a JSON Lines stream in, scored spans out, in the same order."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

from loop.files.checking import LabelRule, check_record
from loop.files.importing import SHOWN_PROBLEMS, RejectedFileError
from loop.files.jsonl import read_jsonl
from loop.files.records import Problem, Record
from ner.documents import LabelledText, check_text
from ner.errors import InputError
from ner.spans import Span
from ner.tagger import Tagger

T = TypeVar("T")
_BATCH = 256


@dataclass(frozen=True)
class Predicted:
    """One answer of a model; `confidence` (0..1) is low for texts worth labelling."""

    id: str
    spans: tuple[Span, ...]
    confidence: float

    def line(self) -> str:
        """As a line of JSON: `{id, spans: [{start, end, label, score}]}`."""
        spans = [{"start": s.start, "end": s.end, "label": s.label, "score": s.score} for s in self.spans]
        return json.dumps({"id": self.id, "spans": spans}, ensure_ascii=False, allow_nan=False) + "\n"


def read_texts(stream: BinaryIO, name: str) -> list[tuple[str, str]]:
    """(id, text) of every record; spans are not read. A record without an id has the number of its line as id.

    Raises RejectedFileError naming the first bad lines, before anything is predicted.
    """

    def check(record: Record) -> tuple[str, str]:
        return record.external_id or record.where.removeprefix("line "), check_text(record.text)

    return _all_or_none(read_jsonl(stream, None, texts_only=True), check, name)


def read_labelled(stream: BinaryIO, name: str, rule: LabelRule) -> list[LabelledText]:
    """The labelled records of a stream, in the project's labels; RejectedFileError for bad or unlabelled ones."""

    def check(record: Record) -> LabelledText:
        checked = check_record(record, rule)
        if checked.spans is None:
            raise InputError("a record to score by is labelled", value="no `spans`", next_step="Give it, [] for none.")
        return LabelledText(checked.external_id or record.where, checked.text, checked.spans, checked.group)

    return _all_or_none(read_jsonl(stream, Path(name).stem), check, name)


def predict(tagger: Tagger, texts: Iterable[tuple[str, str]], progress: Callable[[int], Any]) -> Iterator[Predicted]:
    """The model's answer to each (id, text), in order, a few hundred at a time; `progress` hears how many are done."""
    remaining, done = iter(texts), 0
    while batch := list(islice(remaining, _BATCH)):
        taggings = tagger.tag_many([text for _, text in batch])
        done += len(batch)
        progress(done)
        for (name, _), tagging in zip(batch, taggings, strict=True):
            yield Predicted(name, tagging.spans, tagging.confidence)


def _all_or_none(records: Iterable[Record | Problem], check: Callable[[Record], T], name: str) -> list[T]:
    good: list[T] = []
    problems: list[Problem] = []
    for record in records:
        if isinstance(record, Problem):
            problems.append(record)
            continue
        try:
            good.append(check(record))
        except InputError as error:
            problems.append(Problem(record.where, error, record.text))
    if problems:
        raise RejectedFileError(name, problems[:SHOWN_PROBLEMS], len(problems), "Correct them")
    return good
