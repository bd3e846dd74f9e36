"""What a file of any format is read into: records, and problems in the place of those that break a rule."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, BinaryIO

from ner.errors import InputError
from ner.spans import Span

MAX_LINE_BYTES = 32 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True)
class RecordedVote:
    """A weak vote that came with a record: `source` says the span lies there."""

    span: Span
    source: str


@dataclass(frozen=True)
class Annotation:
    """One annotation of a Label Studio export, as it stood there; `result` may hold anything."""

    source_id: str
    result: list[Any]
    creator: str | None = None
    lead_time: float | None = None
    skipped: bool = False
    ground_truth: bool = False
    created_at: datetime | None = None
    updated_at: datetime | None = None
    parent_prediction: int | None = None


@dataclass(frozen=True)
class Record:
    """One text. `spans` is None for a text nobody labelled, empty for one labelled as holding no entity.

    `where` names the place in the file for people: "line 12". `external_id` is None when the file names none; where
    it names another text already, `fallback_id` is taken if there is one.
    `annotations` is set only by Label Studio's export, whose spans are read by the project's own label config.
    """

    where: str
    text: str
    external_id: str | None = None
    spans: tuple[Span, ...] | None = None
    group: str | None = None
    meta: dict[str, Any] = field(default_factory=dict)
    votes: tuple[RecordedVote, ...] = ()
    annotations: tuple[Annotation, ...] = ()
    fallback_id: str | None = None


@dataclass(frozen=True)
class Problem:
    """A record that breaks a rule; `payload` is the start of what stood there."""

    where: str
    error: InputError
    payload: str


def numbered_lines(stream: BinaryIO) -> Iterator[tuple[int, str | InputError]]:
    """(number from 1, the line without its end) of UTF-8 text; LF and CRLF end lines, a leading BOM is left out.

    U+2028 and its like are characters, not line ends. A line that is not UTF-8 or over 32 MiB comes as the error.
    """
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        too_long = len(line) > MAX_LINE_BYTES
        while too_long and not line.endswith(b"\n") and (rest := stream.readline(MAX_LINE_BYTES)):
            line = rest
        yield number, _too_long() if too_long else _decoded(line.removeprefix(_BOM) if number == 1 else line)


class Naming:
    """Ids for records without one: the file's stem, the start of the text's hash, and a count for repeated texts.

    They depend on the text and not on its line, so that a file imported again after a line was put in at the top
    adds that line only.
    """

    def __init__(self, stem: str) -> None:
        self._stem = stem
        self._seen: Counter[str] = Counter()

    def next_id(self, text: str) -> str:
        """The id of the next record with this text."""
        digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]
        self._seen[digest] += 1
        turn = self._seen[digest]
        return f"{self._stem}:{digest}" + (f"-{turn}" if turn > 1 else "")


def check_name(value: Any, key: str) -> str:
    """An id or label or group key as a string that any store can hold; whole numbers are spelled out."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"`{key}` is a string that is not empty", value=value, next_step=f"Correct `{key}`.")
    check_storable(value, key)
    return value


def check_storable(text: str, key: str) -> None:
    """Raise InputError for U+0000 and lone surrogates, which no database holds as text."""
    if "\0" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise InputError(
            f"`{key}` holds no U+0000 and no lone surrogate", value=repr(text), next_step="Remove the character."
        )


def _decoded(line: bytes) -> str | InputError:
    try:
        return line.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        return InputError("a file is UTF-8", value=str(error), next_step="Convert it, e.g. with iconv.")


def _too_long() -> InputError:
    return InputError("a line is at most 32 MiB", next_step="Split the record.")
