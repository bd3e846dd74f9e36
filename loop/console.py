"""How results reach people and programs: tables of at most 80 columns, progress on standard error, or JSON."""

from __future__ import annotations

import dataclasses
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

WIDTH = 80
_LOG_EVERY_S = 5.0


def stdout() -> Console:
    """Standard output, at most 80 columns wide."""
    return _console(sys.stdout)


def stderr() -> Console:
    """Standard error: progress, notes and complaints, so that standard output stays the result."""
    return _console(sys.stderr)


def print_json(value: Any, *, one_line: bool = False) -> None:
    """`value` (a dataclass, or made of plain values) as one JSON document on standard output, written at once."""
    text = json.dumps(plain(value), ensure_ascii=False, allow_nan=False, indent=None if one_line else 2)
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def plain(value: Any) -> Any:
    """Dataclasses as dictionaries, paths and times as strings, tuples as lists, all the way down."""
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, Iterable) and not isinstance(value, str):
        return [plain(item) for item in value]
    return value


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Table:
    """A table whose first column is text and whose others are figures set to the right."""
    made = Table(title=title or None, title_justify="left", box=None, pad_edge=False, show_edge=False)
    for i, name in enumerate(columns):
        made.add_column(name, justify="left" if i == 0 else "right", overflow="fold")
    for row in rows:
        made.add_row(*(cell(item) for item in row))
    return made


def styled(markup: str) -> Text:
    """Words with rich's markup in them; what comes from data is escaped by the caller."""
    return Text.from_markup(markup)


def cell(value: object) -> str:
    """A figure or word as a cell: `-` for what is not there, three decimals, thousands parted by commas."""
    if value is None:
        return "-"
    if isinstance(value, float):
        return f"{value:.3f}"
    if isinstance(value, int) and not isinstance(value, bool):
        return f"{value:,}"
    return escape(str(value))


def bar(share: float, width: int = 12) -> str:
    """`share` (0..1, cut there) as a bar of `width` cells."""
    full = round(min(max(share, 0.0), 1.0) * width)
    return "━" * full + "─" * (width - full)


@contextmanager
def progress_bar(title: str, quiet: bool = False) -> Iterator[Progress]:
    """A rich progress display on standard error with count, time left and a free `note` field; removed at the end.

    Where standard error is no terminal, nothing moves: the tasks are kept but not drawn.
    """
    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeRemainingColumn(compact=True),
        TextColumn("{task.fields[note]}"),
    )
    console = stderr()
    with Progress(*columns, console=console, transient=True, disable=quiet or not console.is_terminal) as progress:
        if not console.is_terminal and not quiet and title:
            console.print(title, highlight=False)
        yield progress


class Ticker:
    """Says on standard error, every few seconds, how much is done."""

    def __init__(self, title: str, quiet: bool = False, total: int | None = None) -> None:
        self._title, self._quiet, self._last = title, quiet, time.monotonic()
        self._of = "" if total is None else f" of {total:,}"

    def __call__(self, done: int) -> None:
        """`done` units so far."""
        now = time.monotonic()
        if not self._quiet and now - self._last >= _LOG_EVERY_S:
            self._last = now
            stderr().print(f"{self._title}: {done:,}{self._of}", highlight=False)


def _console(stream: Any) -> Console:
    found = Console(file=stream, soft_wrap=False, highlight=False)
    if os.environ.get("COLUMNS") is None and found.width > WIDTH:
        found.width = WIDTH
    return found
