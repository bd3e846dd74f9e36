"""weak.toml as it is written: its tables, and the line of each `[[source]]` and key."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from typing import Any

from ner.errors import InputError
from weak_labeling.source import SourceError

_KNOWN = {"source", "definitions"}
_SOURCE = re.compile(r"^\s*\[\[\s*source\s*\]\]\s*(?:#.*)?$")
_TABLE = re.compile(rf"{_SOURCE.pattern}|^\s*\[\s*definitions\s*\]\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*["']?([A-Za-z_][\w-]*)["']?\s*=""")
_ERROR_LINE = re.compile(r" \(at (?:line (\d+), column \d+|end of document)\)$")
_FOREIGN = re.compile("[\0\udc80-\udcff]")  # a zero byte, and what `surrogateescape` makes of bytes that are no UTF-8


@dataclass(frozen=True)
class Block:
    """One `[[source]]`: `line` of its header (from 1), and of each key."""

    table: Mapping[str, object]
    line: int
    key_lines: Mapping[str, int]

    def line_of(self, key: str) -> int:
        """The line of the key, or the header's where the source lacks it."""
        return self.key_lines.get(key, self.line)


@dataclass(frozen=True)
class WeakFile:
    """What could be read of a weak.toml. definition_lines: the line of each definition, by label."""

    blocks: tuple[Block, ...] = ()
    definitions: Mapping[str, str] = field(default_factory=dict)
    definition_lines: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[SourceError, ...] = ()


def read_weak_file(path: Path) -> WeakFile:
    """The tables of the file. A `[[source]]` that is no TOML or no UTF-8 is left out with a problem; the others are
    read.
    """
    try:
        content = path.read_bytes().decode("utf-8-sig", errors="surrogateescape")
    except OSError as error:
        wrong = InputError("the file of sources can be read", value=error.strerror, next_step="Check the path.")
        return WeakFile(problems=(SourceError(wrong, path),))
    lines = content.replace("\r\n", "\n").split("\n")
    try:
        read = _read(path, lines, 0, len(lines))
    except _PartError:
        read = _read_by_part(path, lines)
    if not (read.blocks or read.definitions or read.problems):
        return WeakFile(problems=(SourceError(_no_source(), path),))
    return read


class _PartError(Exception):
    """A part of the file cannot be read."""

    def __init__(self, problem: SourceError) -> None:
        self.problem = problem


def _read_by_part(path: Path, lines: list[str]) -> WeakFile:
    read = WeakFile()
    starts = [number for number, line in enumerate(lines) if number == 0 or _TABLE.match(line)]
    for start, end in pairwise((*starts, len(lines))):
        try:
            part = _read(path, lines, start, end)
        except _PartError as error:
            part = WeakFile(problems=(error.problem,))
        read = WeakFile(
            read.blocks + part.blocks,
            {**read.definitions, **part.definitions},
            {**read.definition_lines, **part.definition_lines},
            read.problems + part.problems,
        )
    return read


def _read(path: Path, lines: list[str], start: int, end: int) -> WeakFile:
    """The tables of these lines. Raises _PartError where the lines are no TOML, or no UTF-8."""
    tables = _tables(path, lines, start, end)
    problems = [SourceError(_unknown(key), path, _line(lines, start, end, key)) for key in tables.keys() - _KNOWN]
    sources, definitions = tables.get("source", []), tables.get("definitions", {})
    if not isinstance(sources, list) or not all(isinstance(table, dict) for table in sources):
        problems.append(SourceError(_no_list(), path, start + 1))
        sources = []
    if not isinstance(definitions, dict) or not all(isinstance(said, str) for said in definitions.values()):
        problems.append(SourceError(_no_definitions(), path, _line(lines, start, end, "definitions")))
        definitions = {}
    headers = [number for number in range(start, end) if _SOURCE.match(lines[number])]
    spans = pairwise((*headers, end)) if len(headers) == len(sources) else ((start, start) for _ in sources)
    blocks = (
        Block(table, first + 1, _key_lines(lines, first, last))
        for table, (first, last) in zip(sources, spans, strict=True)
    )
    said = {label: _line(lines, start, end, label) for label in definitions}
    return WeakFile(tuple(blocks), definitions, said, tuple(problems))


def _tables(path: Path, lines: list[str], start: int, end: int) -> dict[str, Any]:
    for number in range(start, end):
        if foreign := _FOREIGN.search(lines[number]):
            raise _PartError(SourceError(_no_utf8(lines[number][foreign.start() :]), path, number + 1))
    try:
        return tomllib.loads("\n".join(lines[start:end]))
    except (ValueError, RecursionError) as error:  # an integer of thousands of digits is a plain ValueError
        place = _ERROR_LINE.search(str(error))
        last = next((number for number in range(end - 1, start, -1) if lines[number].strip()), start)
        line = start + int(place[1]) if place and place[1] else last + 1
        raise _PartError(SourceError(_no_toml(error), path, line)) from error


def _key_lines(lines: list[str], start: int, end: int) -> dict[str, int]:
    found: dict[str, int] = {}
    for number in range(start, end):
        if match := _KEY.match(lines[number]):
            found.setdefault(match[1], number + 1)
    return found


def _line(lines: list[str], start: int, end: int, word: str) -> int:
    """The line of a table or key of this name."""
    beginning = re.compile(rf"""^\s*[\["']*\s*{re.escape(word)}\b""")
    return next((number + 1 for number in range(start, end) if beginning.match(lines[number])), start + 1)


def _no_toml(error: Exception) -> InputError:
    return InputError(
        "the file of sources is TOML",
        value=_ERROR_LINE.sub("", str(error)),
        next_step="Mend the line. Patterns stand between single quotes, so that a backslash is a backslash.",
    )


def _no_utf8(foreign: str) -> InputError:
    return InputError(
        "the file of sources can be read as UTF-8",
        value=foreign[:4].encode("utf-8", "surrogateescape"),
        next_step='Save the file as UTF-8: it is in another encoding, such as "Windows-1252" or "UTF-16".',
    )


def _no_source() -> InputError:
    return InputError(
        "a file of sources declares at least one",
        value="none",
        next_step="Write a source under a header [[source]], or remove the file.",
    )


def _unknown(key: str) -> InputError:
    return InputError(
        "weak.toml has [[source]] and [definitions], and nothing else",
        value=key,
        next_step="Write each source under a header [[source]] of its own.",
    )


def _no_list() -> InputError:
    return InputError("a source has a header [[source]]", next_step="Write two square brackets on each side.")


def _no_definitions() -> InputError:
    return InputError("[definitions] says in words what a label means", next_step='Write `STANDARD = "..."`, say.')
