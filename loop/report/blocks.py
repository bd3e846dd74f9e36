"""What a report is made of when it is read: sections of words, facts, tables, pictures and examples.

Both renderers walk these, so that HTML and Markdown say the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class GateStatus:
    """The status of a gate, as a cell: shown by a sign and a word, never by colour alone."""

    word: str


Cell = str | GateStatus


@dataclass(frozen=True, slots=True)
class Words:
    """A paragraph."""

    text: str


@dataclass(frozen=True, slots=True)
class Facts:
    """Names and values, side by side."""

    caption: str
    rows: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Table:
    """The first column names the row. words: columns of sentences rather than figures, by index.

    strong: rows that are set off, by index. groups: (heading, columns under it) over the column heads, if any.
    pictured: the plot that shows the same, if any.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: frozenset[int] = frozenset()
    strong: frozenset[int] = frozenset()
    groups: tuple[tuple[str, int], ...] = ()
    note: str = ""
    pictured: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot, by its name, and the sentence under it."""

    name: str
    caption: str


@dataclass(frozen=True, slots=True)
class Quotation:
    """An example of an error: what it is, where, and the pieces of its text."""

    what: str
    document: str
    pieces: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Cases:
    """Examples of one kind of error."""

    caption: str
    cases: tuple[Quotation, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """Sentences, one under the other; numbered where their order counts."""

    caption: str
    texts: tuple[str, ...]
    numbered: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """Something to be typed."""

    caption: str
    text: str


Block = Words | Facts | Table | Picture | Cases | Items | Command


@dataclass(frozen=True, slots=True)
class Section:
    """A part of the report. name: what links point to."""

    name: str
    title: str
    blocks: tuple[Block, ...]


@dataclass(frozen=True, slots=True)
class Tile:
    """One of the figures at the top."""

    name: str
    value: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Page:
    """A whole report. tone: "good", "bad" or "open", for the sign beside the headline."""

    title: str
    over: str
    headline: str
    tone: str
    sentences: tuple[str, ...]
    notices: tuple[str, ...]
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    foot: str = field(default="")


def some(rows: Sequence[Any], most: int, what: str) -> tuple[Sequence[Any], str]:
    """The first `most`, and the sentence that says how many were left out, if any."""
    if len(rows) <= most:
        return rows, ""
    return rows[:most], f"{len(rows) - most:,} more {what} are in report.json."
