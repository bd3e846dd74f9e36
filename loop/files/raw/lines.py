"""The lines of text in UTF-8, and what is said where a line is too long or is not UTF-8."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import suppress
from typing import BinaryIO

from ner.errors import InputError

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
MAX_LINE_BYTES = 32 * 1024 * 1024
UNREADABLE_REST = "the end of what could be read"
"""Where a problem stands that ends the reading of a file, for people."""
TO_UTF8 = (
    "Convert it: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW. Name the encoding that the file has; this one is usual on "
    "Windows, also for CSV of Excel."
)


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


def lines_with_ends(stream: BinaryIO, *, skip_first: bool = False) -> Iterator[str]:
    """The lines of a stream from its start, with their ends: LF, CRLF or CR. Raises InputError for other encodings."""
    stream.seek(0)
    text = io.TextIOWrapper(stream, "utf-8-sig", newline="")
    try:
        if skip_first:
            text.readline(MAX_LINE_BYTES)
        while line := text.readline(MAX_LINE_BYTES):
            if len(line) == MAX_LINE_BYTES:
                raise _too_long()
            yield line
    except UnicodeDecodeError as error:
        raise not_utf8(error) from error
    finally:
        with suppress(ValueError):  # the stream may be closed before a reader that was left is collected
            text.detach()


def not_utf8(error: UnicodeDecodeError) -> InputError:
    """What is said of bytes that are not UTF-8: which, where, and how they are converted."""
    found = error.object[error.start : error.start + 1].hex()
    return InputError("a file is UTF-8", value=f"the byte 0x{found} ({error.reason})", next_step=TO_UTF8)


def _decoded(line: bytes) -> str | InputError:
    try:
        return line.decode("utf-8").removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError as error:
        return not_utf8(error)


def _too_long() -> InputError:
    return InputError("a line is at most 32 MiB", next_step="Split the record.")
