"""CoNLL: a token and its tag on a line, parted by a tab; a blank line behind each text; `-DOCSTART-` between groups.

Comment lines before each text (`loop.files.conll_comments`) hold what tokens and tags cannot say: the exact text, its
id, its group, its meta, and the spans that no tags give. With the comments, a text comes back the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from loop.files.conll_comments import comment_line
from loop.files.writing.texts import IOB2, StoredText, TaggedText
from ner.errors import InputError

DOCSTART = "-DOCSTART-"
_BREAK = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")


def write_conll(texts: Iterable[TaggedText], scheme: str = IOB2, *, plain: bool = False) -> Iterator[str]:
    """The lines of each text. From the first text with a group on, -DOCSTART- stands between groups.

    plain: without comments. Raises InputError for a label that would break its line.
    """
    group, grouped = None, False
    for text in texts:
        source = text.source
        grouped = grouped or source.group is not None
        if grouped and (source.group is None or source.group != group):
            yield f"{DOCSTART}\tO\n\n"
        group = source.group
        if not plain:
            yield from _comments(source, exact_spans=text.aligned.cut > 0)
        for word, tag in zip(text.words, text.aligned.tags(len(text.tokens), scheme), strict=True):
            yield f"{word}\t{_checked(tag)}\n"
        yield "\n"


def _comments(source: StoredText, *, exact_spans: bool) -> Iterator[str]:
    yield comment_line("id", source.external_id)
    if source.group is not None:
        yield comment_line("doc", source.group)
    yield comment_line("text", source.text)
    if source.meta:
        yield comment_line("meta", dict(source.meta))
    if exact_spans:
        yield comment_line("spans", [[span.start, span.end, span.label] for span in source.spans or ()])


def _checked(tag: str) -> str:
    if _BREAK.search(tag):
        raise InputError(
            "a label in CoNLL holds no tab and no line break", value=tag, next_step="Export with --format jsonl."
        )
    return tag
