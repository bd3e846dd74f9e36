"""Rows of CSV files: delimiter, quoting and header are found by trying which of them fit.

`csv.Sniffer` guesses from single characters and takes letters for delimiters. Here a delimiter fits when it parts the
first row into the names of columns, and a way of quoting fits when each row of the file has as many cells as columns.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import BinaryIO

from loop.files.raw.lines import MAX_LINE_BYTES, lines_with_ends
from ner.errors import InputError

_DELIMITERS = ",;\t|"
_NONE = "\x1f"  # stands in no text: the rows have one cell each
_EXCEL_DELIMITER = re.compile(r'"?sep=(.)"?\r?\n', re.IGNORECASE)
_LONGEST_NAME = 60
_TAG = re.compile(r"O|[BIESLUMW]-.+")
_NUMBER = re.compile(r"[-+]?[\d.,]+")
_WHOLE = re.compile(r'"(?:[^"]|"")*"')
_SHOWN_ROWS = 50
Row = tuple[int, list[str]]
"""The number of a row, from 1 for the header, and its cells."""


@dataclass(frozen=True)
class Layout:
    """How a file is cut into cells. `escaped`: a quote in a cell has a backslash before it, and is not doubled.

    raw: quotes are characters like any other. excel: a first line names the delimiter and is no row. width: the number
    of named columns.
    """

    delimiter: str
    header: tuple[str, ...] = ()
    escaped: bool = False
    raw: bool = False
    excel: bool = False

    @property
    def said(self) -> str:
        """The delimiter and the quoting, for people."""
        name = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}.get(self.delimiter, repr(self.delimiter))
        quoting = (
            "; quotes are part of the cells" if self.raw else "; backslashes escape quotes" if self.escaped else ""
        )
        return f"Cells are parted by {name}{quoting}."

    def cells(self, lines: Iterable[str]) -> Iterator[Row]:
        """Each row that is not blank, without empty cells behind the last column. Raises InputError for bad quoting."""
        csv.field_size_limit(MAX_LINE_BYTES)
        reader = csv.reader(
            lines,
            delimiter=self.delimiter,
            quotechar='"',
            doublequote=not self.escaped,
            escapechar="\\" if self.escaped else None,
            quoting=csv.QUOTE_NONE if self.raw else csv.QUOTE_MINIMAL,
            strict=True,
        )
        number = 0
        try:
            for number, cells in enumerate(reader, 1):
                width = max((place for place, cell in enumerate(cells, 1) if cell.strip()), default=0)
                yield number, cells[: max(width, len(self.header))] if width else []
        except csv.Error as error:
            step = "Write the table with a CSV library: cells with quotes, delimiters or line ends stand in quotes."
            raise InputError(
                f"a table is well-formed CSV, also behind row {number}", value=str(error), next_step=step
            ) from error

    def fits(self, cells: Sequence[str]) -> bool:
        """Whether a row has a cell for each column, and no further one."""
        whole = self.raw and any(len(cell) > 1 and _WHOLE.fullmatch(cell) for cell in cells)
        return not cells or (len(cells) == len(self.header) and not whole)


def layout_of_head(head: bytes, wanted: Callable[[Sequence[str]], bool]) -> Layout | None:
    """The delimiter under which the first row holds names of columns that are wanted; None without any."""
    text = head.decode("utf-8-sig", errors="replace")
    named = _EXCEL_DELIMITER.match(text)
    lines = text[named.end() :] if named else text
    for delimiter in named[1] if named else _DELIMITERS:
        layout = Layout(delimiter, excel=named is not None)
        header = _header(_first_rows(layout, lines))
        if len(header) > 1 and wanted(header):
            return replace(layout, header=tuple(header))
    return _of_one_column(lines, wanted)


def _of_one_column(text: str, wanted: Callable[[Sequence[str]], bool]) -> Layout | None:
    """The layout of a table with one named column; None where the rows below have several cells each."""
    first, below = None, text.count("\n") > 1
    for delimiter in (*_DELIMITERS, _NONE):
        layout = Layout(delimiter)
        found = [cells for cells in _first_rows(layout, text) if cells]
        if len(found) < 2 or len(found[0]) != 1 or not wanted(_header(found)):
            continue
        widths = {len(cells) for cells in found[1:]}
        if len(widths) == 1 and widths != {1} and below and not any(_is_prose(cells) for cells in found[1:]):
            return None
        if widths == {1} and first is None:
            first = replace(layout, header=(found[0][0].strip(),))
    return first


def _is_prose(cells: Sequence[str]) -> bool:
    """Whether a cell but the first begins with a space, as behind the commas of a sentence."""
    return any(cell.startswith(" ") for cell in cells[1:])


def _first_rows(layout: Layout, text: str) -> list[list[str]]:
    """The first whole rows of a text."""
    rows = []
    try:
        for _, cells in layout.cells(io.StringIO(text, newline="")):
            rows.append(cells)
            if len(rows) > _SHOWN_ROWS:
                break
    except InputError:
        pass
    return rows


def layout_of_file(stream: BinaryIO, layout: Layout) -> Layout:
    """The layout with the way of quoting that fits every row; the usual one where none does. Raises InputError."""
    usual, escaped, raw = layout, replace(layout, escaped=True), replace(layout, raw=True)
    if not _fits(stream, usual):
        others = (escaped,) if layout.delimiter == "," else (escaped, raw)  # a sentence may hold commas
        return next((one for one in others if _fits(stream, one)), usual)
    if layout.delimiter == "," or not _has_bare_quotes(stream, layout):
        return usual
    if _fits(stream, raw):
        return raw
    raise InputError(
        "a table quotes each cell that holds a quote, or no cell",
        value="cells in quotes, and cells that hold quotes without standing in quotes",
        next_step="Write the table with a CSV library, so that it is clear which quotes belong to the texts.",
    )


def rows(stream: BinaryIO, layout: Layout) -> Iterator[Row]:
    """The rows behind the header; a blank row comes without cells. Raises InputError for bad quoting or bytes."""
    all_rows = layout.cells(lines_with_ends(stream, skip_first=layout.excel))
    for _, cells in all_rows:
        if cells:
            break
    yield from all_rows


def _header(found: Sequence[Sequence[str]]) -> list[str]:
    """The names of columns in the first row that is not blank; empty where that row holds values and not names."""
    filled = [cells for cells in found if cells]
    names = [name.strip() for name in filled[0]] if filled else []
    folded = [name.casefold() for name in names]
    proper = all(names[1:]) and len(set(folded)) == len(names)
    values = any(_TAG.fullmatch(name) or _NUMBER.fullmatch(name) or len(name) > _LONGEST_NAME for name in names)
    # A name that stands below itself is a value: the first row of a table without a header.
    again = any(
        place and cell.strip() == names[place] for cells in filled[1:] for place, cell in enumerate(cells[: len(names)])
    )
    return names if proper and not values and not again else []


def _fits(stream: BinaryIO, layout: Layout) -> bool:
    try:
        fits = all(layout.fits(cells) for _, cells in rows(stream, layout))
        return fits and (not layout.escaped or _is_escaped(stream, layout))
    except InputError as error:
        if isinstance(error.__cause__, csv.Error):
            return False
        raise


def _is_escaped(stream: BinaryIO, layout: Layout) -> bool:
    """Whether each quote in a cell has a backslash before it; `csv` would drop other quotes without a word."""
    mark = re.escape(layout.delimiter)
    cells = re.compile(rf'(?:(?:"(?:[^"\\]|\\.)*"|[^"{mark}\r\n]*)(?:{mark}|[\r\n]+|\Z))+', re.DOTALL)
    return all(cells.fullmatch(record) for record in _records(stream, layout) if '"' in record)


def _has_bare_quotes(stream: BinaryIO, layout: Layout) -> bool:
    """Whether a cell holds a quote and does not stand in quotes, as no writer that quotes cells leaves it."""
    mark = re.escape(layout.delimiter)
    cell = re.compile(rf'(?:"(?:[^"]|"")*"|([^"{mark}\r\n][^{mark}\r\n]*)|)(?:{mark}|[\r\n]+|\Z)')
    records = (record for record in _records(stream, layout) if '"' in record)
    return any('"' in (match[1] or "") for record in records for match in cell.finditer(record))


def _records(stream: BinaryIO, layout: Layout) -> Iterator[str]:
    """Each row as it stands in the file."""
    taken: list[str] = []

    def kept() -> Iterator[str]:
        for line in lines_with_ends(stream, skip_first=layout.excel):
            taken.append(line)
            yield line

    for _ in layout.cells(kept()):
        yield "".join(taken)
        taken.clear()
