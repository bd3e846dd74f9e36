"""Corruptions of valid files, as they happen to people: by accidents, by other programs, and by scripts with a fault.

A mutation changes the records of a file before they are written, or its bytes, or its name. Each is drawn; None says
that the drawn one does not apply to the file.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from copy import deepcopy
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any

from loop.files.writing.texts import StoredText
from ner.label_studio.offsets import OffsetUnit, to_code_points
from ner.spans import Span
from scripts.files.sample_files import LABELS, Row, SampleFormat

OffsetKeys = tuple[Any, Any]
OFFSETS: tuple[OffsetKeys, ...] = (("start", "end"), ("start_offset", "end_offset"))
_TAG = re.compile(rf"([BILU]-)?({'|'.join(LABELS)})")
_SUFFIXES = (".txt", ".json", ".jsonl", ".csv", ".tsv", ".conll", ".parquet", ".spacy", ".gz", ".zip", "")
_SYNONYMS = {
    "text": ("sentence", "content", "body"),
    "spans": ("entities", "ents", "annotations", "labels"),
    "label": ("labels", "tag", "type", "class", "category"),
    "labels": ("label", "tags"),
    "start": ("begin", "from", "start_char"),
    "end": ("stop", "to", "end_char"),
    "entities": ("ents", "spans", "entity"),
    "tokens": ("words", "token"),
    "ner_tags": ("tags", "labels", "ner"),
    "annotations": ("completions", "annotation", "results"),
    "result": ("results", "regions"),
    "answer": ("status", "accepted"),
    "id": ("uid", "identifier"),
}


@dataclass
class Trial:
    """A file that is to be corrupted: its format, its records, and where it is written. given: as it was written."""

    draw: Random
    one: SampleFormat
    texts: list[StoredText]
    folder: Path
    given: list[Row] = field(default_factory=list)

    def rows(self) -> list[Row]:
        """The records, which may be changed."""
        return deepcopy(list(self.one.rows(self.texts)))

    def written(self, rows: list[Row] | None) -> Path | None:
        """The file of these records; None where there are none."""
        if rows is None:
            return None
        self.given = rows
        path = self.folder / self.one.file
        try:
            self.one.write(path, rows)
        except (TypeError, ValueError):  # of Parquet: a column holds values of one type
            return None
        return path

    def some(self, rows: list[Row]) -> list[int]:
        """The places of one record, or of all; the names of columns are no record."""
        first = 1 if self.one.file.endswith(".csv") else 0
        places = list(range(first, len(rows)))
        return places if self.draw.random() < 0.5 else [self.draw.choice(places)]


Mutate = Callable[[Trial], Path | None]


# Bytes


def _of_bytes(change: Callable[[Random, bytes], bytes | None]) -> Mutate:
    def mutate(trial: Trial) -> Path | None:
        path = trial.one.save(trial.folder, trial.texts)
        files = sorted(path.rglob("*.arrow")) if path.is_dir() else [path]
        place = trial.draw.choice(files)
        before = place.read_bytes()
        after = change(trial.draw, before)
        if after is None or after == before:
            return None
        place.write_bytes(after)
        return path

    return mutate


def _truncated(draw: Random, content: bytes) -> bytes:
    return content[: draw.randrange(1, len(content))]


def _cut_out(draw: Random, content: bytes) -> bytes:
    start = draw.randrange(len(content))
    return content[:start] + content[start + draw.randint(1, 40) :]


def _encoded(trial: Trial) -> Path | None:
    if not trial.one.is_text:
        return None
    return _of_bytes(_recoded)(trial)


def _recoded(draw: Random, content: bytes) -> bytes | None:
    text = content.decode()
    return draw.choice(
        (
            lambda: text.encode("latin-1", "replace"),
            lambda: text.encode("cp1252", "replace"),
            lambda: text.encode("utf-16"),
            lambda: text.encode("utf-16-le"),
            lambda: text.encode("utf-16-be"),
            lambda: content.decode("latin-1").encode(),
            lambda: content.decode("cp1252", "replace").encode(),
        )
    )()


def _lines_out_of_order(trial: Trial) -> Path | None:
    return _of_bytes(_reordered)(trial) if trial.one.by_line else None


def _reordered(draw: Random, content: bytes) -> bytes:
    lines = content.splitlines(keepends=True) if b"\r" in content else [b + b"\n" for b in content.split(b"\n")[:-1]]
    if draw.random() < 0.3:
        draw.shuffle(lines)
    else:
        at = draw.randrange(len(lines) - 1)
        lines[at : at + 2] = reversed(lines[at : at + 2])
    return b"".join(lines)


def _misnamed(trial: Trial) -> Path | None:
    path = trial.one.save(trial.folder, trial.texts)
    suffix = trial.draw.choice(_SUFFIXES)
    return None if path.suffix == suffix else path.rename(path.with_name(f"other{suffix}"))


# Records


def _doubled(trial: Trial) -> Path | None:
    rows = trial.rows()
    at = trial.draw.choice(trial.some(rows))
    rows.insert(trial.draw.choice((at + 1, len(rows))), deepcopy(rows[at]))
    return trial.written(rows)


def _swapped(trial: Trial) -> Path | None:
    rows = trial.rows()
    kinds = [_swap_offsets, _swap_keys] if not isinstance(rows[0], list) else [_swap_columns, _swap_offsets]
    return trial.written(trial.draw.choice(kinds)(trial, rows))


def _swap_offsets(trial: Trial, rows: list[Row]) -> list[Row] | None:
    def swap(_: StoredText, start: int, end: int) -> tuple[int, int]:
        return end, start

    return None if isinstance(rows[0], StoredText) else _with_offsets(trial, rows, swap)


def _swap_keys(trial: Trial, rows: list[Row]) -> list[Row] | None:
    """The values of two keys of an object, such as text and id."""
    chosen = None
    for at in trial.some(rows):
        found = [one for one in _objects(rows[at]) if len(one) > 1]
        if not found:
            continue
        item = trial.draw.choice(found) if chosen is None else next((o for o in found if set(chosen) <= set(o)), {})
        chosen = chosen or tuple(trial.draw.sample(sorted(item), 2))
        if item:
            first, second = chosen
            item[first], item[second] = item[second], item[first]
    return None if chosen is None else rows


def _swap_columns(trial: Trial, rows: list[Row]) -> list[Row] | None:
    """Two cells of a row or of each row; in CoNLL the columns of a line or of each line."""
    lines = [rows[at] for at in trial.some(rows)]
    if any(isinstance(line, list) for line in lines[0]):
        lines = [line for text in lines for line in text if isinstance(line, list)]
        lines = lines if trial.draw.random() < 0.5 else [trial.draw.choice(lines)]
    if not all(isinstance(cell, str) for line in lines for cell in line):
        return _swap_pairs(lines, rows)
    first, second = trial.draw.sample(range(len(lines[0])), 2)
    for line in lines:
        line[first], line[second] = line[second], line[first]
    return rows


def _swap_pairs(lines: list[Row], rows: list[Row]) -> list[Row]:
    for line in lines:
        line.reverse()
    return rows


def _shifted(trial: Trial) -> Path | None:
    by = trial.draw.choice((-3, -2, -1, 1, 2, 3))
    single = trial.draw.random() < 0.4

    def shift(_: StoredText, start: int, end: int) -> tuple[int, int]:
        return start + by, end + by

    return trial.written(_with_offsets(trial, trial.rows(), shift, single=single))


def _counted_otherwise(trial: Trial) -> Path | None:
    unit = trial.draw.choice((OffsetUnit.UTF16, OffsetUnit.UTF8))

    def count(text: StoredText, start: int, end: int) -> tuple[int, int]:
        before, inside = text.text[:start], text.text[start:end]
        return _units(before, unit), _units(before, unit) + _units(inside, unit)

    return trial.written(_with_offsets(trial, trial.rows(), count, everywhere=True))


def _units(text: str, unit: OffsetUnit) -> int:
    length = len(text.encode()) if unit is OffsetUnit.UTF8 else len(text.encode("utf-16-le")) // 2
    assert to_code_points(text, unit)(length) == len(text)
    return length


def _renamed(trial: Trial) -> Path | None:
    rows = trial.rows()
    if trial.one.file.endswith(".csv"):
        at = trial.draw.randrange(len(rows[0]))
        rows[0][at] = _other_name(trial.draw, rows[0][at])
        return trial.written(rows)
    names = sorted({key for row in rows for one in _objects(row) for key in one})
    if not names or isinstance(rows[0], StoredText):
        return trial.written(_rename_comments(trial, rows))
    old = trial.draw.choice(names)
    new = _other_name(trial.draw, old)
    everywhere = trial.one.file.endswith(".parquet")  # each row of a table has the same columns
    for at in range(len(rows)) if everywhere else trial.some(rows):
        for item in list(_objects(rows[at])):
            if old in item and new not in item:
                pairs = [(new if key == old else key, value) for key, value in item.items()]
                item.clear()
                item.update(pairs)
    return trial.written(rows)


def _rename_comments(trial: Trial, rows: list[Row]) -> list[Row] | None:
    comments = [line for row in rows if isinstance(row, list) for line in row if isinstance(line, str)]
    if not comments or not comments[0].startswith("# "):
        return None
    old = trial.draw.choice(comments).split(" ")[1]
    new = _other_name(trial.draw, old)
    for at in trial.some(rows):
        rows[at] = [line.replace(f"# {old} ", f"# {new} ", 1) if isinstance(line, str) else line for line in rows[at]]
    return rows


def _other_name(draw: Random, name: str) -> str:
    slipped = name[:-2] + name[-1] + name[-2] if len(name) > 1 else name * 2
    further = (*_SYNONYMS.get(name, ()), name.capitalize(), name.upper(), slipped, f"{name}s", f"{name}_", name[:-1])
    return draw.choice([one for one in further if one and one != name])


def _misspelled(trial: Trial) -> Path | None:
    if trial.one.file == "folder":
        return None  # its labels are those of the project
    rows = trial.rows()
    wrong = trial.draw.choice(("PERS", "Per", "per", "Organisation", "L0C", "PE R", "X"))
    wanted = trial.draw.choice(LABELS)
    single = trial.draw.random() < 0.5
    changed = False
    for at in trial.some(rows):
        row = _respelled(rows[at], wanted, wrong)
        if row != rows[at]:
            rows[at], changed = row, True
            if single:
                break
    return trial.written(rows if changed else None)


def _respelled(value: Any, wanted: str, wrong: str) -> Any:
    """The value with a label written wrong, wherever it stands."""
    if isinstance(value, StoredText):
        spans = tuple(replace(span, label=wrong) if span.label == wanted else span for span in value.spans or ())
        return replace(value, spans=None if value.spans is None else spans)
    if isinstance(value, dict):
        return {key: _respelled(one, wanted, wrong) for key, one in value.items()}
    if isinstance(value, list):
        return [_respelled(one, wanted, wrong) for one in value]
    if isinstance(value, str) and value.startswith("[{"):
        return value.replace(f'"{wanted}"', f'"{wrong}"')
    match = _TAG.fullmatch(value) if isinstance(value, str) else None
    return f"{match[1] or ''}{wrong}" if match is not None and match[2] == wanted else value


# Offsets

Move = Callable[[StoredText, int, int], tuple[int, int]]


def _with_offsets(
    trial: Trial, rows: list[Row], move: Move, *, single: bool = False, everywhere: bool = False
) -> list[Row] | None:
    """The records with moved offsets: of one span, of one record, or of all. None where nothing moved."""
    first = 1 if trial.one.file.endswith(".csv") else 0
    moved = False
    for at in range(first, len(rows)) if everywhere else trial.some(rows):
        changed = _moved(rows[at], trial.texts[at - first], move, single=single, draw=trial.draw)
        moved = moved or changed != rows[at]
        rows[at] = changed
        if moved and single:
            break
    return rows if moved else None


def _moved(row: Row, text: StoredText, move: Move, *, single: bool, draw: Random) -> Row:
    if isinstance(row, StoredText):
        return _moved_text(row, move)
    if isinstance(row, list) and row and all(isinstance(cell, str) for cell in row):
        return [_moved_cell(cell, text, move, single=single, draw=draw) for cell in row]
    row = deepcopy(row)
    places = list(_places(row))
    for item, first, second in [draw.choice(places)] if single and places else places:
        item[first], item[second] = move(text, item[first], item[second])
    return row


def _moved_cell(cell: str, text: StoredText, move: Move, *, single: bool, draw: Random) -> str:
    if not cell.startswith("[{"):
        return cell
    value = _moved(json.loads(cell), text, move, single=single, draw=draw)
    return json.dumps(value, ensure_ascii=False)


def _moved_text(text: StoredText, move: Move) -> StoredText:
    """The text with moved spans, as far as a writer takes them: inside the text and without overlaps."""
    spans = [Span(*move(text, span.start, span.end), span.label) for span in text.spans or ()]
    inside = all(0 <= span.start < span.end <= len(text.text) for span in spans)
    return replace(text, spans=tuple(spans)) if inside and text.spans else text


def _places(value: Any) -> Iterator[tuple[Any, Any, Any]]:
    """(object, key of the start, key of the end) of each pair of offsets of a span; not those of tokens."""
    if isinstance(value, list):
        if len(value) == 3 and type(value[0]) is int and isinstance(value[2], str):
            yield value, 0, 1
        for one in value:
            yield from _places(one)
    if isinstance(value, dict):
        for first, second in OFFSETS:
            if first in value and second in value:
                yield value, first, second
        for key, one in value.items():
            if key != "tokens":
                yield from _places(one)


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Each object in a value."""
    if isinstance(value, dict):
        yield value
    for one in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(one)


KINDS: dict[str, Mutate] = {
    "truncated": _of_bytes(_truncated),
    "a slice cut out": _of_bytes(_cut_out),
    "values or columns swapped": _swapped,
    "offsets shifted": _shifted,
    "offsets in other units": _counted_otherwise,
    "keys renamed": _renamed,
    "another encoding": _encoded,
    "a record doubled": _doubled,
    "lines out of order": _lines_out_of_order,
    "a label misspelled": _misspelled,
    "another suffix": _misnamed,
}
