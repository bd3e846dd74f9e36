"""`loop predict`, and labelled files of any format for `loop evaluate --on` and `loop simulate-annotator`."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

from loop.files.audit import Audit, Auditor, believed
from loop.files.doubts import doubts_sentence
from loop.files.importing import SHOWN_PROBLEMS, RejectedFileError, skipped
from loop.files.reading import Reading, Request, open_readings
from loop.files.records import Problem, Record
from ner.documents import LabelledText, check_text
from ner.errors import InputError
from ner.label_studio.results import DOUBTS
from ner.spans import Span
from ner.tagger import CHUNK, Tagger

T = TypeVar("T")


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


@dataclass(frozen=True)
class TextFile:
    """(id, text) of every record of a file; `said`: how the file is read and what was left out of it."""

    texts: tuple[tuple[str, str], ...]
    said: tuple[str, ...]


@dataclass(frozen=True)
class LabelledFile:
    """The labelled texts of a file; `said`: how the file is read and what was left out of it, a sentence each."""

    documents: tuple[LabelledText, ...]
    said: tuple[str, ...]


def read_texts(path: Path, request: Request, *, skip_bad: bool = False) -> TextFile:
    """The texts of a file; what a file says of entities is not read.

    A record without an id has the number of its line or record as id. A blank text is kept: its answer is empty.
    Raises RejectedFileError naming the first bad records, before anything is predicted.
    """

    def check(record: Record) -> tuple[str, str]:
        text = record.text if not record.text.strip() else check_text(record.text)
        return record.external_id or record.where.rpartition(" ")[2], text

    with open_readings(path, replace(request, texts_only=True)) as readings:
        texts: list[tuple[str, str]] = []
        said: list[str] = []
        for reading in readings:
            good, left_out = _good(reading, reading.opened.records(), check, skip_bad)
            texts += good
            said += [*reading.said, *left_out]
    return TextFile(tuple(texts), tuple(said))


def read_labelled(path: Path, request: Request, *, skip_bad: bool = False) -> LabelledFile:
    """The labelled records of a file in the project's labels. RejectedFileError for bad or unlabelled ones.

    A text in doubt is left out, and so is a blank one: there is nothing to find in it. Of overlapping spans the longest
    counts, as on import. What was left out is said.
    """
    with open_readings(path, request) as readings:
        documents, notes = [], []
        for reading in readings:
            auditor = Auditor(reading.rule)
            texts, left_out = _good(reading, reading.records(), partial(_labelled, auditor), skip_bad)
            documents += [text for text in texts if text is not None]
            notes += [*reading.said, *left_out, *_not_learned(auditor.result(), request.config.labels)]
    if not documents:
        raise InputError(
            "a file to score by holds a labelled text that is understood",
            value=f"none in {path.name}",
            next_step=" ".join(notes),
        )
    return LabelledFile(tuple(documents), tuple(notes))


def predict(tagger: Tagger, texts: Iterable[tuple[str, str]], progress: Callable[[int], Any]) -> Iterator[Predicted]:
    """The model's answer to each (id, text), in order, CHUNK at a time; `progress` hears how many are done."""
    remaining, done = iter(texts), 0
    while batch := list(islice(remaining, CHUNK)):
        taggings = iter(tagger.tag_many([text for _, text in batch if text.strip()]))
        done += len(batch)
        progress(done)
        for name, text in batch:
            tagging = next(taggings) if text.strip() else None
            yield Predicted(name, tagging.spans, tagging.confidence) if tagging else Predicted(name, (), 1.0)


def _labelled(auditor: Auditor, record: Record) -> LabelledText | None:
    decisive = believed(record)
    if decisive is None:
        raise InputError(
            "a record to score by is labelled", value="no annotation", next_step="Label it, or leave it out."
        )
    auditor.add(record)
    if decisive.spans is None:
        return None
    return LabelledText(record.external_id or record.where, record.text, decisive.spans, record.group)


def _not_learned(audit: Audit, labels: Sequence[str]) -> Iterator[str]:
    if audit.doubts:
        yield f"Left out: {doubts_sentence(audit.doubts, labels)}"
    for reason, number in audit.set_aside.items():
        if reason not in DOUBTS:
            yield f"Set aside: {number:,} x {reason}."


def _good(
    reading: Reading, records: Iterable[Record | Problem], check: Callable[[Record], T], skip_bad: bool
) -> tuple[list[T], list[str]]:
    """What `check` makes of the good records, and what is said of the bad ones. Raises RejectedFileError."""
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
    if problems and not skip_bad:
        raise RejectedFileError(reading.name, problems[:SHOWN_PROBLEMS], len(problems))
    return good, skipped(reading.name, problems)
