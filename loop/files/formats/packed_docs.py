"""The Docs of a DocBin, one at a time: memory holds one Doc, the length of each Doc, and the words of the file once.

A DocBin is one MessagePack map, packed by zlib. spaCy reads the whole map into memory. Here the map is unpacked to a
temporary file, and each part of the map is read there in step with the other parts. spaCy makes a Doc of what the parts
hold for it.
"""

from __future__ import annotations

import os
import weakref
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice, repeat
from typing import Any, BinaryIO, cast

import numpy as np

from loop.files.raw.inputs import Budget, temporary_copy

_READ = 1 << 16
_BYTES = {0xC4: 1, 0xC5: 2, 0xC6: 4}  # MessagePack: the mark of bytes, and the width of the number of these bytes
_ARRAYS = ("lengths", "tokens", "spaces")  # the bytes of an array of NumPy
_LISTS = ("flags", "span_groups", "user_data", "cats")  # an item for each Doc
_VALUE, _TAGS = np.dtype("uint64"), 4  # the tags of entities are missing, I, O, B


class PackedDocs:
    """A DocBin in a temporary file, which is deleted when nothing refers to this object any more.

    Raises InputError for a stream that zlib cannot unpack, and whatever spaCy and MessagePack raise for a map that is
    damaged or whose parts do not fit together.
    """

    def __init__(self, stream: BinaryIO, name: str, spacy: Any) -> None:
        stack = ExitStack()
        weakref.finalize(self, stack.close)
        budget = Budget.of(stream)
        self._file = temporary_copy(cast(BinaryIO, _Inflated(stream)), name, stack, budget)
        self._size = self._file.seek(0, os.SEEK_END)
        self._spacy = spacy
        self._places: dict[str, tuple[int, int]] = {}  # where an array or a list begins, and its bytes or items
        self._small: dict[str, Any] = {}  # what else the map holds
        self._find_parts()
        self._lengths = np.frombuffer(self._bytes("lengths").read(self._places["lengths"][1]), "int32")
        self._check_fit()

    def docs(self) -> Iterator[Any]:
        """Each Doc with its words, entities, groups of spans and user data. What else a Doc may hold is not read."""
        attrs, all_attrs = self._spacy.attrs, self._small["attrs"]
        wanted = (attrs.ORTH, attrs.ENT_IOB, attrs.ENT_TYPE)
        columns = [at for at, attribute in enumerate(all_attrs) if attribute in wanted]
        vocab, one = self._spacy.vocab.Vocab(), self._spacy.tokens.DocBin()
        one.attrs, one.strings, one.cats = [all_attrs[at] for at in columns], set(self._small["strings"]), [{}]
        unpack = _unpack_again()
        lists = (self._items("flags", {}), self._items("span_groups", b""), self._items("user_data", None))
        for tokens, spaces, flags, groups, user_data in zip(self._tokens(), self._spaces(), *lists, strict=True):
            one.tokens, one.spaces, one.flags = [tokens[:, columns]], [spaces], [flags]
            one.span_groups, one.user_data = [groups], [None]
            for doc in one.get_docs(vocab):
                doc.user_data.update({} if user_data is None else unpack(user_data))
                yield doc
            one.strings = set()  # the vocabulary has them now

    def _find_parts(self) -> None:
        begin, unpacker = 0, self._unpacker(0)
        for _ in range(unpacker.read_map_header()):
            key = unpacker.unpack()
            if key in _ARRAYS:
                place, size = self._places[key] = self._bytes_at(begin + unpacker.tell())
                begin, unpacker = place + size, self._unpacker(place + size)
            elif key in _LISTS:
                size = unpacker.read_array_header()
                self._places[key] = begin + unpacker.tell(), size
                for _ in range(size):
                    unpacker.unpack()
            else:
                self._small[key] = unpacker.unpack()
        if begin + unpacker.tell() != self._size:
            raise ValueError("the map of a DocBin does not end where the file ends")
        lacking = [key for key in (*_ARRAYS, "attrs", "strings") if key not in {**self._places, **self._small}]
        if lacking:
            raise ValueError(f"a DocBin without {', '.join(lacking)}")

    def _bytes_at(self, place: int) -> tuple[int, int]:
        """(place of the first byte, number of bytes) of the bytes whose mark stands here."""
        part = _Part(self._file, place)
        width = _BYTES.get(int.from_bytes(part.read(1), "big"))
        if width is None:
            raise ValueError(f"{' and '.join(_ARRAYS)} of a DocBin are bytes")
        size = int.from_bytes(part.read(width), "big")
        return part.at, size

    def _check_fit(self) -> None:
        attrs, docs, rows = self._small["attrs"], len(self._lengths), int(self._lengths.sum(dtype="int64"))
        sizes = self._places["tokens"][1], self._places["spaces"][1]
        if sizes != (rows * len(attrs) * _VALUE.itemsize, rows) or (self._lengths < 0).any():
            raise ValueError("tokens, spaces and lengths of a DocBin do not fit together")
        if any(key in self._places and self._places[key][1] != docs for key in _LISTS):
            raise ValueError(f"{', '.join(_LISTS)} of a DocBin have an item for each Doc")
        tags = attrs.index(self._spacy.attrs.ENT_IOB) if self._spacy.attrs.ENT_IOB in attrs else None
        if tags is not None and any((tokens[:, tags] >= _TAGS).any() for tokens in self._tokens()):
            raise ValueError("a tag of an entity is none of B, I, O")

    def _tokens(self) -> Iterator[np.ndarray[Any, Any]]:
        """The attributes of each Doc's tokens, a row for a token."""
        return self._rows("tokens", _VALUE, len(self._small["attrs"]))

    def _spaces(self) -> Iterator[np.ndarray[Any, Any]]:
        """Whether a blank follows each token of a Doc, a row for a token."""
        return self._rows("spaces", np.dtype(bool), 1)

    def _rows(self, key: str, kind: np.dtype[Any], width: int) -> Iterator[np.ndarray[Any, Any]]:
        part = self._bytes(key)
        for length in self._lengths.tolist():
            yield np.frombuffer(part.read(length * width * kind.itemsize), kind).reshape(length, width)

    def _items(self, key: str, default: Any) -> Iterator[Any]:
        """What a list holds for each Doc; the default where the DocBin lacks the list."""
        if key not in self._places:
            return repeat(default, len(self._lengths))
        place, size = self._places[key]
        return islice(self._unpacker(place), size)

    def _bytes(self, key: str) -> _Part:
        return _Part(self._file, self._places[key][0])

    def _unpacker(self, place: int) -> Any:
        import srsly.msgpack  # spaCy's own MessagePack

        most = self._size + _READ  # no number in a damaged file makes room for more than the file can hold
        return srsly.msgpack.Unpacker(_Part(self._file, place), raw=False, read_size=_READ, max_buffer_size=most)


def _unpack_again() -> Callable[[bytes], Any]:
    """`srsly.msgpack_loads` with tuples for lists; srsly looks through all installed packages at each call of that."""
    import srsly.msgpack

    unpacker = srsly.msgpack.Unpacker(raw=False, use_list=False)

    def unpack(packed: bytes) -> Any:
        end = unpacker.tell() + len(packed)
        unpacker.feed(packed)
        value = unpacker.unpack()
        if unpacker.tell() != end:
            raise ValueError("something stands behind the user data of a Doc")
        return value

    return unpack


@dataclass
class _Part:
    """A file from a place on. Parts of one file can be read in turn: each has a place of its own."""

    file: BinaryIO
    at: int

    def read(self, size: int) -> bytes:
        self.file.seek(self.at)
        found = self.file.read(size)
        self.at += len(found)
        return found


class _Inflated:
    """What zlib packed, as a stream."""

    def __init__(self, packed: BinaryIO) -> None:
        self._packed, self._zlib = packed, zlib.decompressobj()

    def read(self, size: int) -> bytes:
        """At most so many bytes; none at the end. Raises EOFError or ValueError where zlib's stream ends elsewhere."""
        while not self._zlib.eof:
            unread = self._zlib.unconsumed_tail or self._packed.read(_READ)
            found = self._zlib.decompress(unread, size)
            if found:
                return found
            if not unread:
                raise EOFError("the file ends before what it packs ends")
        if self._zlib.unused_data or self._packed.read(1):
            raise ValueError("something stands behind what the file packs")
        return b""
