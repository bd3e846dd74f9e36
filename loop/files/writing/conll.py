"""CoNLL: a token and its IOB2 tag on a line."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from loop.files.records import Record
from loop.files.words import tokens_of
from loop.files.writing.tags import tags_of

DOCSTART = "-DOCSTART-"


def write_conll(records: Iterable[Record]) -> Iterator[str]:
    """Each text as its lines. From the first text with a group on, -DOCSTART- stands between groups."""
    group, grouped = None, False
    for record in records:
        grouped = grouped or record.group is not None
        if grouped and (record.group is None or record.group != group):
            yield f"{DOCSTART}\tO\n\n"
        group = record.group
        spans = record.spans or ()
        tokens = tokens_of(record.text, spans)
        for (start, end), tag in zip(tokens, tags_of(tokens, spans), strict=True):
            yield f"{record.text[start:end]}\t{tag}\n"
        yield "\n"
