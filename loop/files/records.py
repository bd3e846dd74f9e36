"""What a file of any format is read into, and what a format is.

A format is a module with a `FileFormat` of its own; `loop.files.formats` lists them. A reader gives a record for each
text, and a problem in the place of each record that breaks a rule.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from ner.errors import InputError
from ner.spans import Span
from store.annotations import NewAnnotation
from weak_labeling.functions import Vote

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 32 * 1024 * 1024
_SHOWN_PAYLOAD = 500


@dataclass(frozen=True)
class Record:
    """One text. `spans` is None for a text that nobody labelled, and empty for a text labelled as holding no entity.

    `where` names the place in the file for people: "line 12". `external_id` is None when the file names none. If the
    `external_id` already names another text, `fallback_id` is taken, where there is one. `annotations` is set only by
    Label Studio's export: their regions are read later, by the label config of the project. `split` is set only for a
    record that comes from the store.
    """

    where: str
    text: str
    external_id: str | None = None
    spans: tuple[Span, ...] | None = None
    group: str | None = None
    meta: Mapping[str, Any] = field(default_factory=dict)
    votes: tuple[Vote, ...] = ()
    annotations: tuple[NewAnnotation, ...] = ()
    fallback_id: str | None = None
    split: str | None = None


@dataclass(frozen=True)
class Problem:
    """A record that breaks a rule; `payload` is what stood there, or the start of it."""

    where: str
    error: InputError
    payload: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "payload", self.payload[:_SHOWN_PAYLOAD])


@dataclass(frozen=True)
class Source:
    """Where records come from: the file's `stem` begins the ids of records without one.

    `data_field` is the key under which a Label Studio task of this project holds its text.
    """

    stem: str
    data_field: str = "text"


@dataclass(frozen=True)
class FileFormat:
    """A format that files are read from or written to.

    suffixes: endings of file names that stand for this format. looks_like: whether the first bytes of a file, without
    a byte order mark and white space, are of this format. read: the records of a stream, in order. write: the lines of
    a file that holds these records; None for a format that is only read.
    """

    name: str
    suffixes: tuple[str, ...]
    looks_like: Callable[[bytes], bool]
    read: Callable[[BinaryIO, Source], Iterator[Record | Problem]]
    write: Callable[[Iterable[Record]], Iterator[str]] | None = None


def numbered_lines(stream: BinaryIO) -> Iterator[tuple[int, str | InputError]]:
    """(number from 1, the line without its end) of UTF-8 text. LF and CRLF end lines; a leading BOM is left out.

    U+2028 and similar characters do not end a line. A line that is not UTF-8 or is over 32 MiB comes as the error.
    """
    number = 0
    while line := stream.readline(MAX_LINE_BYTES + 1):
        number += 1
        too_long = len(line) > MAX_LINE_BYTES
        while too_long and not line.endswith(b"\n") and (rest := stream.readline(MAX_LINE_BYTES)):
            line = rest
        yield number, _too_long() if too_long else _decoded(line.removeprefix(BYTE_ORDER_MARK) if number == 1 else line)


def check_name(value: Any, key: str) -> str:
    """An id, label or group as a string that any store can hold; whole numbers are spelled out."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str) or not value.strip():
        raise InputError(f"`{key}` is a string that is not empty", value=value, next_step=f"Correct `{key}`.")
    check_storable(value, key)
    return value


def check_storable(value: Any, key: str) -> None:
    """Raise InputError for a JSON value that holds U+0000 or a lone surrogate: no database holds these as text."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False).replace("\\u0000", "\0")
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
