"""The three files of `loop compare`: what people say of each text, and what two systems do, record by record."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loop.files.formats import open_input
from loop.files.importing import RejectedFileError
from loop.files.jsonl import read_spans
from loop.files.records import Problem, check_name, numbered_lines
from loop.files.strict_json import parse_json
from ner.documents import MAX_TEXT_CHARS
from ner.errors import InputError
from ner.spans import Span, check_span, drop_overlaps

SYSTEMS = ("A", "B")
_SHOWN = 5
_PAYLOAD = 200


@dataclass(frozen=True, slots=True)
class ComparedText:
    """One record: what a system, or a person, says of the text `id`. text and doc are None where the file has none."""

    where: str
    id: str
    spans: tuple[Span, ...]
    text: str | None
    doc: str | None


@dataclass(frozen=True, slots=True)
class Sides:
    """The records of the gold in its order: its spans and those of both systems, of each without overlaps.

    documents: of each record the key of the document that it belongs to: its `doc`, in whichever file has it, else the
    record itself. notes: what was left out.
    """

    gold: tuple[tuple[Span, ...], ...]
    systems: tuple[tuple[tuple[Span, ...], ...], ...]
    documents: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]


def read_sides(candidate: Path, incumbent: Path, gold: Path) -> Sides:
    """Read and match the files. InputError for a record that breaks a rule, that a system lacks, or of another text."""
    truth, *sides = (read_judged(path) for path in (gold, candidate, incumbent))
    notes: list[str] = []
    for name, side in zip(SYSTEMS, sides, strict=True):
        _check_ids(name, side, truth)
        notes += _unknown_ids(name, side, truth)
    aligned = [[side[key] for key in truth] for side in sides]
    for name, records in zip(SYSTEMS, aligned, strict=True):
        _check_texts(name, records, truth)
    everyone = [list(truth.values()), *aligned]
    flat = []
    for name, records in zip(("gold", *SYSTEMS), everyone, strict=True):
        kept, told = _without_overlaps(name, records)
        flat.append(tuple(kept))
        notes += told
    return Sides(flat[0], tuple(flat[1:]), tuple(_documents(everyone)), tuple(notes))


def read_judged(path: Path) -> dict[str, ComparedText]:
    """The records of a JSON Lines file by their id; RejectedFileError names the first that break a rule."""
    records: dict[str, ComparedText] = {}
    problems: list[Problem] = []
    with open_input(path) as stream:
        for number, line in numbered_lines(stream):
            if isinstance(line, str) and not line.strip():
                continue
            try:
                record = _judged(line, f"line {number}")
                if record.id in records:
                    first = f"{record.id}, first on {records[record.id].where}"
                    raise InputError("an id stands once in a file", value=first, next_step="Remove one of the two.")
                records[record.id] = record
            except InputError as error:
                problems.append(Problem(f"line {number}", error, line[:_PAYLOAD] if isinstance(line, str) else ""))
    if problems:
        raise RejectedFileError(str(path), problems[:_SHOWN], len(problems), "Correct them")
    if not records:
        raise InputError("a file to compare by holds a record", value=str(path), next_step="Check the file.")
    return records


def _judged(line: str | InputError, where: str) -> ComparedText:
    if isinstance(line, InputError):
        raise line
    value = parse_json(line)
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
            next_step="Add them, with an empty list of spans where the system finds nothing.",
        )


def _unknown_ids(name: str, side: Iterable[str], truth: Iterable[str]) -> Iterator[str]:
    known = set(truth)
    unknown = [key for key in side if key not in known]
    if unknown:
        yield f"{name} has {len(unknown):,} records that are not in the gold, and are left out: {some(unknown)}"


def _check_texts(name: str, records: Sequence[ComparedText], truth: Mapping[str, ComparedText]) -> None:
    """Offsets mean the same only in the same text; where only the gold has it, they have to lie within it."""
    for record in records:
        text = truth[record.id].text
        if text is None:
            continue
        if record.text is not None and record.text != text:
            raise InputError(
                f"{name} has the gold's text where it has one",
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
