"""The three files of `loop compare`: gold and the answers of two systems, matched record by record."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from loop.files.audit import believed
from loop.files.formats.json_shapes.json_lines import read_spans
from loop.files.importing import SHOWN_PROBLEMS, RejectedFileError, skipped
from loop.files.raw.inputs import Input, open_inputs
from loop.files.raw.json_values import json_values, looks_like_json
from loop.files.reading import Reading, survey_of_any_labels
from loop.files.records import Problem, check_name
from ner.documents import MAX_TEXT_CHARS, content_hash
from ner.errors import InputError
from ner.label_studio.results import DOUBTS
from ner.spans import Span, check_span, clean_spans, drop_overlaps

SYSTEMS = ("A", "B")
_SHOWN = 5


@dataclass(frozen=True, slots=True)
class ComparedText:
    """One record: the spans of a system, or of a person, for the text `id`. text, doc: None where the file has none."""

    where: str
    id: str
    spans: tuple[Span, ...]
    text: str | None
    doc: str | None


@dataclass(frozen=True, slots=True)
class Sides:
    """The spans of the gold and of both systems, record by record in the order of the gold.

    The spans of a side do not overlap. They have no white space at their ends where any of the files has the text.
    documents: the key of the document that each record belongs to: the record's `doc`, in whichever file has one, else
    the record itself. notes: what was left out.
    """

    gold: tuple[tuple[Span, ...], ...]
    systems: tuple[tuple[tuple[Span, ...], ...], ...]
    documents: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def read_sides(candidate: Path, incumbent: Path, gold: Path, *, skip_bad: bool = False) -> Sides:
    """Read and match the files. InputError for a record that breaks a rule, is missing, or has another text."""
    read = [_read_judged(path, skip_bad=skip_bad) for path in (gold, candidate, incumbent)]
    truth, *sides = (records for records, _ in read)
    notes = [note for _, said in read for note in said]
    for name, side in zip(SYSTEMS, sides, strict=True):
        _check_ids(name, side, truth)
        notes += _unknown_ids(name, side, truth)
    everyone = [list(truth.values()), *([side[key] for key in truth] for side in sides)]
    texts = [
        next((record.text for record in row if record.text is not None), None) for row in zip(*everyone, strict=True)
    ]
    flat = []
    for name, records in zip(("gold", *SYSTEMS), everyone, strict=True):
        _check_texts(name, records, texts)
        clean, blank = _without_white_space(name, records, texts)
        kept, overlapping = _without_overlaps(name, clean)
        flat.append(tuple(kept))
        notes += (*blank, *overlapping)
    return Sides(flat[0], tuple(flat[1:]), tuple(_documents(everyone)), tuple(notes))


def _read_judged(path: Path, *, skip_bad: bool = False) -> tuple[dict[str, ComparedText], tuple[str, ...]]:
    """The records of a file by their id, and what to say of them.

    The file has any format of `loop import`; answers as `loop predict` writes them need no text. RejectedFileError
    names the first records that break a rule. What is in doubt is left out and said.
    """
    records: dict[str, ComparedText] = {}
    problems: list[Problem] = []
    with open_inputs(path) as files:
        said = [note for file in files for note in _gather(file, records, problems)]
    if problems and not skip_bad:
        raise RejectedFileError(str(path), problems[:SHOWN_PROBLEMS], len(problems))
    if not records:
        raise InputError("a file to compare by holds a record", value=str(path), next_step="Check the file.")
    return records, (*said, *skipped(str(path), problems))


def _gather(file: Input, records: dict[str, ComparedText], problems: list[Problem]) -> Iterator[str]:
    """Add the records and problems of one file; yields what to say of the file."""
    reading = None if _holds_answers(file) else survey_of_any_labels(file)
    doubtful, aside = 0, Counter[str]()
    for where, item, raw in _answers(file) if reading is None else _labelled(reading, aside):
        try:
            if isinstance(item, InputError):
                raise item
            if item is None:
                doubtful += 1
                continue
            if item.id in records:
                first = f"{item.id}, first on {records[item.id].where}"
                raise InputError("an id stands once in a file", value=first, next_step="Remove one of the two.")
            records[item.id] = item
        except InputError as error:
            problems.append(Problem(where, error, raw))
    yield from reading.said if reading is not None else ()
    if doubtful:
        yield f"{file.name}: {doubtful:,} records in doubt are left out; `loop import --dry-run` shows why"
    for reason, number in aside.items():
        if reason not in DOUBTS:
            yield f"{file.name}: {number:,} x {reason}, left out"


def _holds_answers(file: Input) -> bool:
    """Whether the first object has no text, as in what `loop predict` writes; a file without any object may be such."""
    if not file.head.strip():
        return True
    if not looks_like_json(file):
        return False
    objects = (value for _, value, _ in json_values(file.rewound()) if isinstance(value, dict))
    return not {"text", "data", "tokens"} & next(objects, {}).keys()


def _answers(file: Input) -> Iterator[tuple[str, ComparedText | InputError, str]]:
    for where, value, raw in json_values(file.rewound()):
        try:
            yield where, _judged(value, where), raw
        except InputError as error:
            yield where, error, raw


def _labelled(reading: Reading, aside: Counter[str]) -> Iterator[tuple[str, ComparedText | InputError | None, str]]:
    """The records of a file with texts; None in the place of a record in doubt. Counts in `aside` what is left out."""
    for record in reading.records():
        if isinstance(record, Problem):
            yield record.where, record.error, record.payload
            continue
        decisive = believed(record)
        aside.update(item.reason for item in (decisive.set_aside if decisive else ()))
        if decisive is None:
            error = InputError("a record says which entities its text has", value="none said", next_step="Label it.")
            yield record.where, error, record.text
        elif decisive.spans is None:
            yield record.where, None, record.text
        else:
            name = record.external_id or content_hash(record.text)
            yield record.where, ComparedText(record.where, name, decisive.spans, record.text, record.group), record.text


def _judged(value: Any, where: str) -> ComparedText:
    if isinstance(value, InputError):
        raise value
    if not isinstance(value, dict):
        raise InputError("a line holds a JSON object", value=value, next_step='Write {"id": ..., "spans": [...]}.')
    text, doc = value.get("text"), value.get("doc")
    if text is not None and not isinstance(text, str):
        raise InputError("`text` is a string", value=text, next_step="Correct `text`, or leave it out.")
    if "spans" not in value:
        raise InputError("a record has `spans`", value=sorted(value), next_step="Give it, [] for none.")
    spans = read_spans(value["spans"])
    for span in spans:
        check_span(span, MAX_TEXT_CHARS if text is None else len(text))
    return ComparedText(
        where, check_name(value.get("id"), "id"), spans, text, None if doc is None else check_name(doc, "doc")
    )


def _check_ids(name: str, side: Iterable[str], truth: Iterable[str]) -> None:
    known = set(side)
    missing = [key for key in truth if key not in known]
    if missing:
        raise InputError(
            f"{name} says something of every record of the gold",
            value=f"{len(missing):,} missing: {some(missing)}",
            next_step="Add them, with an empty list of spans where the system finds nothing."
            + (" Records without an id are matched by their exact text." if missing[0].startswith(":") else ""),
        )


def _unknown_ids(name: str, side: Iterable[str], truth: Iterable[str]) -> Iterator[str]:
    known = set(truth)
    unknown = [key for key in side if key not in known]
    if unknown:
        yield f"{name} has {len(unknown):,} records that are not in the gold, and are left out: {some(unknown)}"


def _check_texts(name: str, records: Sequence[ComparedText], texts: Sequence[str | None]) -> None:
    """Offsets mean the same only in the same text. Where one file has the text, all offsets must lie within it."""
    for record, text in zip(records, texts, strict=True):
        if text is None:
            continue
        if record.text is not None and record.text != text:
            raise InputError(
                f"{name} has the text of the other files where it has one",
                value=f"another for {record.id}",
                next_step="Tag the gold's texts.",
            )
        for span in record.spans:
            _check_within(name, record, span, text)


def _check_within(name: str, record: ComparedText, span: Span, text: str) -> None:
    try:
        check_span(span, len(text))
    except InputError as error:
        raise InputError(
            f"{error.rule}, in {name} too", value=f"{error.value}, id {record.id}", next_step=error.next_step
        ) from error


def _documents(everyone: Sequence[Sequence[ComparedText]]) -> Iterator[tuple[str, str]]:
    for records in zip(*everyone, strict=True):
        named = sorted({record.doc for record in records if record.doc is not None})
        if len(named) > 1:
            raise InputError(
                "a record belongs to one `doc` in all files",
                value=f"{records[0].id}: {some(named)}",
                next_step="Correct it, or leave `doc` out of the systems' files.",
            )
        yield ("doc", named[0]) if named else ("id", records[0].id)


def _without_white_space(
    name: str, records: Sequence[ComparedText], texts: Sequence[str | None]
) -> tuple[list[ComparedText], list[str]]:
    clean, touched, blank = [], [], 0
    for record, text in zip(records, texts, strict=True):
        kept, dropped = (record.spans, ()) if text is None else clean_spans(text, record.spans)
        clean.append(replace(record, spans=kept))
        touched += [record.id] if dropped else []
        blank += len(dropped)
    plural = "span holds white space only and is" if blank == 1 else "spans hold white space only and are"
    return clean, [f"{name}: {blank:,} {plural} left out; in {some(touched)}"] if blank else []


def _without_overlaps(name: str, records: Sequence[ComparedText]) -> tuple[list[tuple[Span, ...]], list[str]]:
    kept, touched, dropped = [], [], 0
    for record in records:
        flat, overlapping = drop_overlaps(record.spans)
        kept.append(flat)
        if overlapping:
            touched.append(record.id)
            dropped += len(overlapping)
    if not dropped:
        return kept, []
    plural = "span overlaps another and is" if dropped == 1 else "spans overlap others and are"
    return kept, [f"{name}: {dropped:,} {plural} left out, the longest wins; in {some(touched)}"]


def some(names: Sequence[str]) -> str:
    """The first of many names, and how many there are besides."""
    more = f" and {len(names) - _SHOWN:,} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more
