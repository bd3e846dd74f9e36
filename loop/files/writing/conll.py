"""CoNLL: a token and its tag on a line, parted by a tab; a blank line behind each text; `-DOCSTART-` between groups.

Comment lines before each text hold what tokens and tags cannot say, so that a text comes back the same: `# key = value`
as in CoNLL-U, where the value is JSON on one line. Tools that know comments skip them.

- `text`: the exact text, as a string. `loop.files.words.place_tokens` gives the offsets of the tokens in the text.
- `id` and `doc`: the text's id and group, as strings. `meta`: further fields, as an object.
- `spans`: the exact spans, as a list of [start, end, label], only where a span begins or ends inside a token. The tags
  are those of `loop.files.writing.texts.align(spans, tokens)`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any

from loop.files.raw.json_values import parse_json
from loop.files.writing.texts import IOB2, StoredText, TaggedText
from ner.errors import InputError

DOCSTART = "-DOCSTART-"
_ENDS_ROW = re.compile(r"[\t\n\v\f\r\x1c-\x1e\x85\u2028\u2029]")
_TYPES = {"id": str, "doc": str, "text": str, "meta": dict, "spans": list}
_COMMENT = re.compile(r"# ?(\w+) ?= ?(.+)")
# JSON leaves these characters as they are; some readers of lines end a line at them.
_ENDS_LINE = re.compile("[\x7f-\x9f\u2028\u2029]")


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
    if _ENDS_ROW.search(tag):
        raise InputError(
            "a label in CoNLL holds no tab and no line break", value=tag, next_step="Export with --format jsonl."
        )
    return tag


def comment_line(key: str, value: Any) -> str:
    """The comment, with its line end."""
    quoted = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return f"# {key} = {_ENDS_LINE.sub(_escaped, quoted)}\n"


def read_comment(line: str) -> tuple[str, Any] | None:
    """(key, value) of a comment that `comment_line` writes; None for any other line, such as a comment of another tool.

    The row of a token that begins with `#` is not a comment: a tab follows the `#`.
    """
    match = _COMMENT.fullmatch(line.rstrip())
    if match is None or match[1] not in _TYPES:
        return None
    try:
        value = parse_json(match[2])
    except InputError:
        return None
    return (match[1], value) if isinstance(value, _TYPES[match[1]]) else None


def _escaped(found: re.Match[str]) -> str:
    return f"\\u{ord(found[0]):04x}"
