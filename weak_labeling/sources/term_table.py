"""Terms in a column of a CSV or TSV file, with a label for all or a column of labels."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ner.errors import InputError
from weak_labeling.gazetteers import read_utf8, wrong_term
from weak_labeling.sources.entry import EntryError, SourceContext

DELIMITERS = {".csv": ",", ".tsv": "\t"}


@dataclass(frozen=True)
class TermColumns:
    """Names in the header; without `term` the first column counts. delimiter: one character."""

    term: str | None
    label: str | None
    delimiter: str


def read_table(path: Path, columns: TermColumns, label: str, place: SourceContext) -> dict[str, str]:
    """The label of each term, `label` where there is no column of labels.

    Raises InputError with the line for a row without a term, a label outside the label config, and a term with two
    labels; EntryError for a column that is not in the header.
    """
    labels: dict[str, str] = {}
    for line, term, own in _rows(path, columns):
        found = label if own is None else own
        if rule := wrong_term(term):
            raise _wrong(path, line, rule, ascii(term), "Mend or remove the row.")
        if found not in place.labels:
            rule = f"a label of a gazetteer is one of {', '.join(place.labels)}"
            raise _wrong(path, line, rule, found or "no label", "Correct it, or add the label to the label config.")
        if labels.setdefault(term, found) != found:
            value = f"{term}: {found}, and {labels[term]} further up"
            raise _wrong(path, line, "a term of a gazetteer has one label", value, "Keep one of the rows, or neither.")
    if not labels:
        raise InputError("a gazetteer file holds a term", value=str(path), next_step="Write one row for each term.")
    return labels


def _rows(path: Path, columns: TermColumns) -> Iterator[tuple[int, str, str | None]]:
    """(line, term, label or None) of each row that is not blank."""
    reader = csv.reader(io.StringIO(read_utf8(path), newline=""), delimiter=columns.delimiter, strict=True)
    try:
        header = [name.strip() for name in next(reader, [])]
        if not any(header):
            raise _wrong(path, 1, "a gazetteer table has a header", "none", "Name the columns in the first line.")
        term = _index(header, columns.term, "column", path) if columns.term else 0
        label = _index(header, columns.label, "label_column", path) if columns.label else None
        for row in reader:
            if row:
                cells = [cell.strip() for cell in row] + [""] * len(header)
                yield reader.line_num, cells[term], None if label is None else cells[label]
    except csv.Error as error:
        raise _wrong(
            path, reader.line_num, "a table can be read as CSV", str(error), "Mend the quotes there."
        ) from error


def _index(header: list[str], name: str, key: str, path: Path) -> int:
    if name not in header:
        raise EntryError(
            f"`{key}` stands in the header of {path.name}: {', '.join(header)}",
            key=key,
            value=name,
            next_step="Correct the name, or the `delimiter`.",
        )
    return header.index(name)


def _wrong(path: Path, line: int, rule: str, value: str, next_step: str) -> InputError:
    return InputError(rule, value=f"{path}, line {line}: {value}", next_step=next_step)
