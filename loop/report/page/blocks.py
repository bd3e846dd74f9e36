"""What a reader sees of a report: sections of paragraphs, facts, tables, pictures, examples and commands.

HTML and Markdown are both made of these blocks, so that they say the same in the same order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

from loop.evaluation.errors import Piece
from loop.report.page.figures import Forest, HistoryLine, Scatter

MOST_ROWS = 100
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class GateStatus:
    """The status of a gate, as a cell. It is shown by a sign and a word, never by a colour alone."""

    word: str


@dataclass(frozen=True, slots=True)
class Shaded:
    """A figure on a coloured ground. part: strength of the colour, 0..1. tone: "right", "wrong" or "bar".

    A bar is as long as `part` of its cell.
    """

    text: str
    part: float
    tone: str


Cell = str | GateStatus | Shaded


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
    """The first column names the row. words: columns of sentences and not of figures, by index.

    strong: rows that are set off, by index. groups: (heading, number of columns under it), if any.
    """

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    words: frozenset[int] = frozenset()
    strong: frozenset[int] = frozenset()
    groups: tuple[tuple[str, int], ...] = ()
    note: str = ""


@dataclass(frozen=True, slots=True)
class Picture:
    """A plot, the sentence under it, and the table that shows the same, if any."""

    figure: Forest | HistoryLine | Scatter
    caption: str
    table: Table | None = None


@dataclass(frozen=True, slots=True)
class Quotation:
    """An example of an error: what it is, the text's name, and the pieces of the text."""

    what: str
    document: str
    pieces: tuple[Piece, ...]


@dataclass(frozen=True, slots=True)
class Cases:
    """Examples of one kind of error."""

    caption: str
    cases: tuple[Quotation, ...]


@dataclass(frozen=True, slots=True)
class Items:
    """Sentences in a list, numbered where their order counts."""

    caption: str
    texts: tuple[str, ...]
    numbered: bool = False


@dataclass(frozen=True, slots=True)
class Command:
    """A command to be typed."""

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
    """A whole report. tone: "good", "bad" or "open", for the colour of the headline. next_step: the first one."""

    title: str
    over: str
    headline: str
    tone: str
    sentences: tuple[str, ...]
    notices: tuple[str, ...]
    tiles: tuple[Tile, ...]
    sections: tuple[Section, ...]
    foot: str
    next_step: str = ""


def some(rows: Sequence[T], what: str, most: int = MOST_ROWS) -> tuple[Sequence[T], str]:
    """The first `most` rows, and the sentence that says how many were left out, if any."""
    if len(rows) <= most:
        return rows, ""
    return rows[:most], f"{len(rows) - most:,} more {what} are in report.json."
