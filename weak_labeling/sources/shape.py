"""Kind "shape": tokens that look alike, such as dates, part numbers and codes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import ClassVar

import regex

from weak_labeling.sources.context import ContextEntry
from weak_labeling.sources.entry import EntryError, SourceContext, Text
from weak_labeling.sources.pattern import PatternSource

_CLASSES = {"X": r"\p{Lu}", "x": r"\p{Ll}", "d": r"\p{Nd}"}
# The shape is a whole token, or several: a run without white space, but for signs at its edges.
_TOKEN = r"(?<!\S)[^\w\s]*?(?P<shape>{})(?=[^\w\s]*(?!\S))"


class ShapeSource(PatternSource):
    """A PatternSource whose pattern was made from shapes."""

    kind: ClassVar[str] = "shape"


class ShapeEntry(ContextEntry):
    """`shapes`: X is a capital, x a small letter, d a digit; every other character is itself.

    `+` behind one of them: one or more. A blank is any white space. A backslash makes the next character itself.
    """

    label: Text
    shapes: tuple[Text, ...]

    def build(self, _: SourceContext, /) -> ShapeSource:
        """Raises EntryError for a list without a shape, or a shape that says nothing."""
        if not self.shapes:
            raise EntryError("a source has a shape", key="shapes", next_step='Write `shapes = ["dddd-dd-dd"]`, say.')
        longest_first = sorted(self.shapes, key=len, reverse=True)
        pattern = _TOKEN.format("|".join(map(expression_of, longest_first)))
        return ShapeSource(self.name, self.label, pattern, "shape", 0, self.context())


def expression_of(shape: str) -> str:
    """The regular expression of a shape. Raises EntryError for a `+` behind nothing or a backslash before nothing."""
    return "".join(_parts(shape))


def _parts(shape: str) -> Iterator[str]:
    before = ""
    characters = iter(shape.strip())
    for character in characters:
        if character == "+":
            if before in ("", "+"):
                raise _wrong(shape)
            yield "+"
        elif character == "\\":
            literal = next(characters, "")
            if not literal:
                raise _wrong(shape)
            yield regex.escape(literal)
        else:
            yield _CLASSES.get(character, r"\s+" if character == " " else regex.escape(character, special_only=True))
        before = character


def _wrong(shape: str) -> EntryError:
    return EntryError(
        "in a shape, `+` repeats what stands before it and a backslash makes the next character itself",
        key="shapes",
        value=shape,
        next_step=r"Write `\+` for a plus sign and `\\` for a backslash.",
    )
