"""How results reach people and programs: tables of at most 80 columns, progress on standard error, and JSON."""

from __future__ import annotations

import dataclasses
import io
import json
import math
import os
import re
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions
from rich.markup import escape
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

WIDTH = 80
_LOG_EVERY_S = 5.0
_WIDEST = 1_000
_SURROGATE = re.compile("[\ud800-\udfff]")


def stdout() -> Console:
    """Standard output, at most 80 columns wide."""
    return _console(sys.stdout)


def stderr() -> Console:
    """Standard error, for progress, notes and complaints: standard output holds the result alone."""
    return _console(sys.stderr)


def print_json(value: Any, *, one_line: bool = False) -> None:
    """Print `value` (a dataclass, or plain values) as one JSON document on standard output, at once."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=None if one_line else 2)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """`value` as JSON has it, at every depth: objects, lists, ISO 8601 times. What is not finite becomes null.

    Lone surrogates are replaced, since no UTF-8 text holds them.
    """
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {plain(str(key)): plain(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, str | Path):
        return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", str(value))
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return [plain(item) for item in value] if isinstance(value, Iterable) else value


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table. Its first column holds text; the other columns hold figures, aligned to the right."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, show_edge=False)
    for i, name in enumerate(columns):
        made.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*(cell(item) for item in row))
    return made


def facts(rows: Iterable[tuple[str, str]]) -> Table:
    """Names and what there is to say of each, which may be markup and runs on over several lines."""
    made = Table(box=None, show_header=False, pad_edge=False)
    made.add_column(no_wrap=True)
    made.add_column(overflow="fold")
    for row in rows:
        made.add_row(*row)
    return made


_PIECE = re.compile(r"[^\s_./:-]*[\s_./:-]*")
_INDENT = "  "


@dataclasses.dataclass(frozen=True)
class Name:
    """A name in a cell. A name that has no room is folded behind `_`, `-`, `.` and the like, never inside a word.

    A word that is longer than its column is the exception.
    """

    text: str

    def __rich_measure__(self, _console: Console, options: ConsoleOptions) -> Measurement:
        """As narrow as its longest word."""
        widest = max((cell_len(piece) for piece in self._pieces()), default=0) + len(_INDENT)
        whole = cell_len(self.text)
        return Measurement(min(widest, whole), whole).clamp(max_width=options.max_width)

    def __rich_console__(self, _console: Console, options: ConsoleOptions) -> Iterator[Text]:
        """The lines of the name, all but the first indented."""
        lines = [""]
        for piece in self._pieces():
            if lines[-1].strip() and cell_len((lines[-1] + piece).rstrip()) > options.max_width:
                lines.append(_INDENT)
            lines[-1] += piece
        yield from (Text(line.rstrip(), overflow="fold") for line in lines)

    def _pieces(self) -> list[str]:
        return _PIECE.findall(self.text)


def unfolded(made: Table) -> str:
    """The table as text, each row on one line, however wide."""
    out = Console(file=io.StringIO(), width=_WIDEST, color_system=None)
    with out.capture() as captured:
        out.print(made)
    return "\n".join(line.rstrip() for line in captured.get().splitlines())


def styled(markup: str) -> Text:
    """Text with rich's markup in it. The caller escapes what comes from data."""
    return Text.from_markup(markup)


def cell(value: object) -> str:
    """A cell: `-` for None, three decimals for a float, commas between thousands of an int."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(str(value))


def bar(share: float, width: int = 12) -> str:
    """`share`, limited to 0..1, as a bar of `width` characters."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return "━" * full + "─" * (width - full)


class Ticker:
    """Tells on standard error how much is done, every few seconds."""

    def __init__(self, title: str, quiet: bool = False, total: int | None = None) -> None:
        self._title, self._quiet, self._last = title, quiet, time.monotonic()
        self._of = "" if total is None else f" of {total:,}"

    def __call__(self, done: int) -> None:
        """Note that `done` units are finished."""
        now = time.monotonic()
        if not self._quiet and now - self._last >= _LOG_EVERY_S:
            self._last = now
            stderr().print(f"{self._title}: {done:,}{self._of}", highlight=False)


def _console(stream: Any) -> Console:
    found = Console(file=stream, soft_wrap=False, highlight=False)
    if os.environ.get("COLUMNS") is None and found.width > WIDTH:
        found.width = WIDTH
    return found
