"""The values of a stream of JSON, one at a time: JSON Lines, the items of an array, or values one behind the other.

Values stand one behind the other without an array around them in what `jq` writes. JSON
is read as RFC 8259 has it: no NaN, no Infinity, no key twice. Every refusal is an InputError.
"""

from __future__ import annotations

import codecs
import json
import math
import re
from collections.abc import Iterator
from typing import Any, BinaryIO

from loop.files.raw.inputs import Input
from loop.files.raw.lines import BYTE_ORDER_MARK, MAX_LINE_BYTES, UNREADABLE_REST, not_utf8, numbered_lines
from ner.errors import InputError

_SPACE = re.compile(r"[ \t\n\r]*")
# An array of objects or arrays, an empty one, or one that begins with another value, as no running text does.
_ARRAY = re.compile(rb'\[\s*([\[{\]]|(null|true|false|-?\d[\d.eE+-]*|"([^"\\]|\\.)*")\s*,)')
_CHUNK = 1024 * 1024
_SHOWN = 1000
_LINES = 20
# Keys of what spaCy's training data say of a text.
_ABOUT_A_TEXT = frozenset({"entities", "spans", "cats"})
_CUT_OFF = "The file may be cut off: fetch it again."
PlacedValue = tuple[str, Any, str]
"""The place of a value in its file for people, the value or the InputError in its place, and the start of its text."""


class MalformedJsonError(InputError):
    """Text that is no JSON, or ends before its value does."""


def parse_json(text: str) -> Any:
    """The value of one JSON text; InputError when it is malformed, nests too deep, or carries a number no store can."""
    return _translated(lambda: _DECODER.decode(text))


def parse_json_at(text: str, position: int) -> tuple[Any, int]:
    """The value that starts at `position`, and the position behind it.

    A value that is well-formed and breaks another rule comes as the InputError. Raises MalformedJsonError.
    """
    try:
        value, end = _translated(lambda: _DECODER.raw_decode(text, position))
    except MalformedJsonError:
        raise
    except InputError as error:
        return error, _translated(lambda: _LENIENT.raw_decode(text, position))[1]
    return value, end


def _translated(decode: Any) -> Any:
    try:
        return decode()
    except json.JSONDecodeError as error:
        raise MalformedJsonError(
            "a record is well-formed JSON", value=str(error), next_step="Correct the JSON."
        ) from error
    except RecursionError as error:
        raise MalformedJsonError("JSON nests less than about 900 levels", next_step="Flatten the record.") from error
    except ValueError as error:
        raise InputError("a number in JSON has a sane length", value=str(error), next_step="Shorten it.") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if any(key == other for other, _ in pairs[:i]))
        raise InputError("a JSON object has each key once", value=twice, next_step="Remove one of the two.")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _constant(digits)


def _constant(name: str) -> float:
    raise InputError("a number in JSON is finite", value=name, next_step="Leave the value out or use null.")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
# Finds the end of a value that breaks a rule; its numbers are not even made.
_LENIENT = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)


def looks_like_json(file: Input) -> bool:
    """Whether a file begins as an object or an array of objects or arrays, or one of its first lines is an object."""
    head = file.head.removeprefix(BYTE_ORDER_MARK).lstrip()
    if head.startswith(b"{") or _ARRAY.match(head) is not None:
        return True
    return any(line.startswith(b"{") and _is_line_of_json(line) for line in head.split(b"\n", _LINES)[:_LINES])


def json_values(stream: BinaryIO) -> Iterator[PlacedValue]:
    """The records of a stream at its start, one at a time.

    JSON Lines are read where the first line is a whole value with another line behind it; else an array, or values one
    behind the other.
    """
    is_lines = _is_lines(stream)
    stream.seek(0)
    if is_lines:
        yield from _values_of_lines(stream)
    else:
        yield from _values_of_text(stream)


def _is_lines(stream: BinaryIO) -> bool:
    """Whether JSON stands on lines, rather than in an array or in one object that runs on over several lines.

    An array on one line may be the whole of a big file: that line is not kept in memory where nothing stands behind it.
    """
    if stream.read(len(BYTE_ORDER_MARK)) != BYTE_ORDER_MARK:
        stream.seek(0)
    start = _pass_space(stream)
    part = begin = stream.readline(2)
    while part and not part.endswith(b"\n"):
        part = stream.readline(_CHUNK)
    _pass_space(stream)
    behind = stream.read(1)
    if begin.startswith(b"[") and begin != b'["' and not behind:
        return False
    stream.seek(start)
    line = stream.readline(MAX_LINE_BYTES).strip()
    if line.startswith(b"["):
        return _is_pair(line) or (behind != b"" and _is_line_of_json(line))
    if line == b"{" or (line.startswith(b"{") and line.endswith(b",")):
        return behind == b"{"  # no object goes on so: the fault is one of that line
    return not (line.startswith(b"{") and line.endswith((b"{", b"[", b":")))


def _pass_space(stream: BinaryIO) -> int:
    """Move to the next byte that is no white space; its place in the stream."""
    place = stream.tell()
    while chunk := stream.read(_CHUNK):
        words = chunk.lstrip()
        place += len(chunk) - len(words)
        if words:
            break
    stream.seek(place)
    return place


def _is_pair(line: bytes) -> bool:
    """Whether a line is a text and what spaCy's training data say of it: one record, and not an array of records."""
    if not line.startswith(b'["'):
        return False
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return len(value) == 2 and isinstance(value[1], dict) and not _ABOUT_A_TEXT.isdisjoint(value[1])


def _is_line_of_json(head: bytes) -> bool:
    try:
        return isinstance(json.loads(head.partition(b"\n")[0]), dict | list)
    except (ValueError, RecursionError):
        return False


def _values_of_lines(stream: BinaryIO) -> Iterator[PlacedValue]:
    for number, line in numbered_lines(stream):
        where = f"line {number}"
        if isinstance(line, InputError):
            yield where, line, ""
        elif line.strip():
            yield where, _parsed(line), line


def _parsed(line: str) -> Any:
    try:
        return parse_json(line)
    except InputError as error:
        return error


def _values_of_text(stream: BinaryIO) -> Iterator[PlacedValue]:
    """The items of an array, or values one behind the other. The first fault in the JSON itself ends them."""
    text = _Text(stream)
    try:
        if text.skip_space() == "[":
            yield from _items(text)
            return
        number = 0
        while text.skip_space():
            number += 1
            value, raw = text.value()
            yield f"record {number}", value, raw
            if text.skip_space() == ",":
                raise InputError("records with commas between them stand in an array", next_step="Put [ ] around them.")
    except InputError as error:
        yield UNREADABLE_REST, error, text.ahead()


def _items(text: _Text) -> Iterator[PlacedValue]:
    text.move(1)
    number = 0
    while text.skip_space() not in ("]", ""):
        number += 1
        value, raw = text.value()
        yield f"record {number}", value, raw
        following = text.skip_space()
        if following == ",":
            text.move(1)
        elif following not in ("]", ""):
            raise InputError(
                "records of an array are parted by commas", value=text.ahead(), next_step="Correct the JSON."
            )
    if not text.skip_space():
        raise InputError("an array of records ends with ]", value="the end of the file", next_step=_CUT_OFF)
    text.move(1)
    if text.skip_space():
        raise InputError(
            "nothing stands behind an array of records",
            value=text.ahead(),
            next_step="Remove it, or put its records into the array.",
        )


class _Text:
    """UTF-8 text that is read as far as needed; what was passed is forgotten."""

    def __init__(self, stream: BinaryIO) -> None:
        self._stream = stream
        self._decoder = codecs.getincrementaldecoder("utf-8-sig")()
        self._buffer, self._position, self._ended = "", 0, False

    def skip_space(self) -> str:
        """The next character that is no white space; empty at the end."""
        while True:
            match = _SPACE.match(self._buffer, self._position)
            self._position = match.end() if match else self._position
            if self._position < len(self._buffer) or not self._more():
                return self._buffer[self._position : self._position + 1]

    def move(self, characters: int) -> None:
        """Pass these characters."""
        self._position += characters

    def ahead(self) -> str:
        """A little of what follows."""
        return self._buffer[self._position : self._position + 40]

    def value(self) -> tuple[Any, str]:
        """The JSON value here, or the InputError of a rule it breaks, and its JSON; moves behind it."""
        while True:
            try:
                value, end = parse_json_at(self._buffer, self._position)
                if end < len(self._buffer) or self._ended:
                    break
            except MalformedJsonError as error:  # or not read to its end
                if self._ended:
                    raise
                if len(self._buffer) - self._position > MAX_LINE_BYTES:
                    rule = "a record is well-formed JSON and at most 32 MiB"
                    raise InputError(rule, value=error.value, next_step="Correct or split it.") from error
            self._more()
        start, self._position = self._position, end
        return value, self._buffer[start : min(end, start + _SHOWN)]

    def _more(self) -> bool:
        """Read on, twice as far each time, so that a long record is not parsed again and again."""
        wanted = max(_CHUNK, len(self._buffer) - self._position)
        chunk = self._stream.read(wanted)
        try:
            decoded = self._decoder.decode(chunk, final=not chunk)
        except UnicodeDecodeError as error:
            raise not_utf8(error) from error
        self._buffer, self._position = self._buffer[self._position :] + decoded, 0
        self._ended = not chunk
        return bool(chunk)
