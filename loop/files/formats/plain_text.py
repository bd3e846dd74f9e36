"""Plain text: one document a line, which nobody labelled.

A file is taken for plain text only where it is plausible text and looks like no other format, not even a broken one.
"""

from __future__ import annotations

from collections.abc import Iterator

from loop.files.raw.inputs import Input
from loop.files.raw.lines import numbered_lines
from loop.files.raw.unknown import kind_of, refuse_cr_alone
from loop.files.record_ids import Naming
from loop.files.records import FileFormat, Opened, Problem, Record, Source, check_storable
from ner.errors import InputError

NAME = "text"
SAID = "Plain text: each line is a document that nobody labelled."


def _read_lines(file: Input, source: Source) -> Iterator[Record | Problem]:
    """A record for each line; blank lines are left out, except where only texts are wanted, to be answered."""
    naming = Naming(source.stem)
    for number, line in numbered_lines(file.rewound()):
        where = f"line {number}"
        try:
            if isinstance(line, InputError):
                raise line
            check_storable(line, "text")
            if source.texts_only:
                yield Record(where, line, format=NAME)
            elif line.strip():
                yield Record(where, line, naming.next_id(line), format=NAME)
        except InputError as error:
            yield Problem(where, error, line if isinstance(line, str) else "")


def _open(file: Input, source: Source) -> Opened:
    refuse_cr_alone(file)
    return Opened(lambda: _read_lines(file, source), (SAID,), unlabelled=True)


FORMAT = FileFormat(
    name=NAME,
    title="plain text, a document on a line",
    recognise=lambda file: file.stream is not None and kind_of(file) is None,
    open=_open,
)
