r"""Abbreviations: a short form in brackets behind a voted name is a name of the same type, wherever it stands.

"adenomatous polyposis coli (APC)": a source that knows the long name rarely knows APC. The rule of Schwartz and Hearst
2003: the letters of the short form are found in the words before the bracket, in order, the first at the beginning of
a word. A vote that ends there says the type.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

from ner.spans import Span
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.source import Vote

# Names that no source can have: white space at an edge is refused in a source's name.
HERE, ELSEWHERE = " abbreviated here", " abbreviated elsewhere"
_BRACKET = re.compile(r"\s*\(\s*([^\W_][^()]{0,8}[^\s()])\s*\)")
_BEFORE = 120  # characters in front of the bracket that may hold the long form


@dataclass(frozen=True)
class Abbreviations:
    """Short forms with their types, as the texts say that were looked at."""

    types: Mapping[str, str]

    def added(self, voted: VotedText) -> VotedText:
        """The text with a vote on each short form: of HERE where the text itself explains it, else of ELSEWHERE."""
        here = dict(_explained(voted))
        votes = (*_votes(voted.text, here, HERE), *_votes(voted.text, self._others(here), ELSEWHERE))
        return replace(voted, votes=(*voted.votes, *votes)) if votes else voted

    def _others(self, here: Mapping[str, str]) -> Mapping[str, str]:
        return {short: label for short, label in self.types.items() if short not in here}


def abbreviations(texts: Iterable[VotedText]) -> Abbreviations:
    """The short forms that these texts explain; a short form with several types has the type that it has most often."""
    seen: dict[str, Counter[str]] = {}
    for text in texts:
        for short, label in _explained(text):
            seen.setdefault(short, Counter())[label] += 1
    return Abbreviations({short: max(sorted(types), key=types.__getitem__) for short, types in sorted(seen.items())})


def _explained(voted: VotedText) -> Iterator[tuple[str, str]]:
    ends = {vote.span.end: vote.span.label for vote in sorted(voted.votes)}
    for match in _BRACKET.finditer(voted.text):
        short, label = match[1], ends.get(match.start())
        if label and any(map(str.isupper, short)) and _abbreviates(short, voted.text[: match.start()][-_BEFORE:]):
            yield short, label


def _abbreviates(short: str, before: str) -> bool:
    """Whether the letters and digits of `short` stand in `before` in order, the first at the beginning of a word."""
    letters = [letter for letter in short.lower() if letter.isalnum()]
    text, place = before.lower(), len(before)
    for number, letter in reversed(list(enumerate(letters))):
        place = text.rfind(letter, 0, place)
        while number == 0 and place > 0 and text[place - 1].isalnum():
            place = text.rfind(letter, 0, place)
        if place < 0:
            return False
    return True


def _votes(text: str, types: Mapping[str, str], source: str) -> Iterator[Vote]:
    for short, label in types.items():
        if short in text:
            for match in re.finditer(rf"(?<!\w){re.escape(short)}(?!\w)", text):
                yield Vote(Span(*match.span(), label), source)
