"""The comment lines of CoNLL that hold what a token and its tag cannot say, so that a text comes back the same.

A comment stands before the tokens of its text, as in CoNLL-U: `# key = value`, where the value is JSON on one line.
Tools that know comments skip them.

- `text`: the exact text, as a string. `loop.files.words.place_tokens` gives the offsets of the tokens in the text.
- `id` and `doc`: the text's id and group, as strings. `meta`: further fields, as an object.
- `spans`: the exact spans, as a list of [start, end, label], only where a span begins or ends inside a token. The tags
  are those of `loop.files.writing.texts.align(spans, tokens)`.
"""

from __future__ import annotations

import json
import re
from typing import Any

from loop.files.json_values import parse_json
from ner.errors import InputError

_TYPES = {"id": str, "doc": str, "text": str, "meta": dict, "spans": list}
_COMMENT = re.compile(r"# ?(\w+) ?= ?(.+)")
# JSON leaves these characters as they are; some readers of lines end a line at them.
_BREAKS = re.compile("[\x7f-\x9f\u2028\u2029]")


def comment_line(key: str, value: Any) -> str:
    """The comment, with its line end."""
    quoted = json.dumps(value, ensure_ascii=False, allow_nan=False)
    return f"# {key} = {_BREAKS.sub(_escaped, quoted)}\n"


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
