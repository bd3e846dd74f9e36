"""Offsets that other programs count in other units, and the proof of the unit by the words that a source repeats.

Offsets here count Unicode code points. JavaScript counts UTF-16 units, other programs count the bytes of UTF-8, and a
program that reads a text with universal newlines counts CRLF as one character. In most texts all units agree.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from itertools import combinations

Claim = tuple[str, int, int, str]
"""(text, start, end, words): a source says that `words` stand in `text` from `start` to before `end`."""

Converter = Callable[[int], int | None]
_Place = tuple[int, int]


class OffsetUnit(StrEnum):
    """What a program counts as one character. The value is the name for people."""

    CODE_POINTS = "code points"
    UTF16 = "UTF-16 units"
    UTF8 = "UTF-8 bytes"
    CODE_POINTS_CRLF_AS_ONE = "code points, with CRLF as one character"
    UTF16_CRLF_AS_ONE = "UTF-16 units, with CRLF as one character"
    UTF8_CRLF_AS_ONE = "UTF-8 bytes, with CRLF as one character"


CODE_POINTS = OffsetUnit.CODE_POINTS
LEAST_SHARE = 0.5

# Runs of characters that a unit counts otherwise; for each group of a pattern: code points and units of one character.
_ASTRAL, _CRLF = "([\U00010000-\U0010ffff]+)", "((?:\r\n)+)"
_WIDE = "([\x80-\u07ff]+)|([\u0800-\uffff]+)"
_RUNS: dict[OffsetUnit, tuple[re.Pattern[str], tuple[tuple[int, int], ...]]] = {
    OffsetUnit.UTF16: (re.compile(_ASTRAL), ((1, 2),)),
    OffsetUnit.UTF8: (re.compile(f"{_WIDE}|{_ASTRAL}"), ((1, 2), (1, 3), (1, 4))),
    OffsetUnit.CODE_POINTS_CRLF_AS_ONE: (re.compile(_CRLF), ((2, 1),)),
    OffsetUnit.UTF16_CRLF_AS_ONE: (re.compile(f"{_CRLF}|{_ASTRAL}"), ((2, 1), (1, 2))),
    OffsetUnit.UTF8_CRLF_AS_ONE: (re.compile(f"{_CRLF}|{_WIDE}|{_ASTRAL}"), ((2, 1), (1, 2), (1, 3), (1, 4))),
}
_INVISIBLE = frozenset({"Cc", "Cf", "Zs", "Zl", "Zp"})


@dataclass(frozen=True, slots=True)
class _Run:
    """Characters of `points` code points and `units` units each: from code point `at`, from unit `begin` to `stop`."""

    at: int
    begin: int
    stop: int
    points: int
    units: int


def to_code_points(text: str, unit: OffsetUnit) -> Converter:
    """A function that converts an offset into `text` from `unit` to code points.

    The function gives None for an offset inside a character and for an offset outside the text. It looks only at the
    runs of characters that `unit` counts otherwise, in O(log runs).
    """
    runs = [] if unit is CODE_POINTS else _runs(text, unit)
    begins = [run.begin for run in runs]
    length = len(text)

    def convert(offset: int) -> int | None:
        index = bisect_right(begins, offset) - 1
        found = offset if index < 0 else _in_run(runs[index], offset)
        return found if found is not None and 0 <= found <= length else None

    return convert


def same_words(text: str, start: int, end: int, words: str) -> bool:
    """Whether a source that repeats `text[start:end]` as `words` means the same characters.

    White space, control and format characters do not count, and canonically equal characters are the same. Label Studio
    collapses spaces and writes a line end as a backslash and an `n`. Label Studio loses characters after a tab, since
    its page shows the tab as a space: from the first tab of the text on, the words may lack characters.
    """
    there = text[start:end]
    if words == there or "".join(words.split()) == "".join(there.split()):
        return True
    said, shown = _visible(words), _visible(there)
    return said == shown or _lost_after_tab(said, shown, text, start, end)


@dataclass(frozen=True, slots=True)
class ProvenUnit:
    """The unit of a source's offsets. `fitting`: claims whose words stand there under the unit; `differing`: others."""

    unit: OffsetUnit = CODE_POINTS
    fitting: int = 0
    differing: int = 0


def proven_unit(claims: Iterable[Claim], least_share: float = LEAST_SHARE) -> ProvenUnit:
    """The unit under which the words stand at the offsets, for all claims of a source as a whole.

    A claim *tells* when its words stand at its offsets under some units, and not under others. The unit is code points,
    unless all of this is true of another unit: that unit fits every claim that tells, code points do not, at least
    `least_share` (0..1) of all claims fit, and no second such unit puts a claim at another place.

    Chance cannot mislead: under the unit that is chosen, the words of each fitting claim stand at the converted
    offsets, and one claim that fits other units only is enough to give the unit up. A claim that fits no unit says
    nothing of the unit: its words cannot be found by any of them.

    The claims are read once and are not kept. The proof is fast when the claims of one text follow each other.
    """
    proof = UnitProof()
    for claim in claims:
        proof.add(*claim)
    return proof.result(least_share)


class UnitProof:
    """The proof of `proven_unit`, for claims that come one by one. It keeps counts, and the last text."""

    def __init__(self) -> None:
        self._claims = self._fit_none = self._fit_code_points = 0
        self._left = tuple(OffsetUnit)  # those that fit every claim that tells so far
        self._apart: set[tuple[OffsetUnit, OffsetUnit]] = set()
        self._text = _ClaimedText("")

    def add(self, text: str, start: int, end: int, words: str) -> None:
        """Count one claim."""
        if text != self._text.text:
            self._text = _ClaimedText(text)
        place = self._text.place(CODE_POINTS, start, end, words)
        self._claims += 1
        self._fit_code_points += place is not None
        if len(self._text.distinct) == 1:
            self._fit_none += place is None
            return
        fitting = self._fitting(self._left, start, end, words)
        if fitting:
            self._left = tuple(fitting)
            if len(set(fitting.values())) > 1:
                self._apart |= {(a, b) for a, b in combinations(fitting, 2) if fitting[a] != fitting[b]}
        elif self._fitting(OffsetUnit, start, end, words):
            self._left = ()
        else:
            self._fit_none += 1

    def result(self, least_share: float = LEAST_SHARE) -> ProvenUnit:
        """The unit that the claims so far prove."""
        fitting = self._claims - self._fit_none
        for unit in self._left[:1]:
            ambiguous = any((unit, other) in self._apart for other in self._left)
            if unit is not CODE_POINTS and not ambiguous and fitting >= least_share * self._claims:
                return ProvenUnit(unit, fitting, self._fit_none)
        return ProvenUnit(CODE_POINTS, self._fit_code_points, self._claims - self._fit_code_points)

    def _fitting(self, units: Iterable[OffsetUnit], start: int, end: int, words: str) -> dict[OffsetUnit, _Place]:
        """The units that fit the claim, in their order, each with the place in code points."""
        same = self._text.same
        wanted = {same[unit] for unit in units}
        places = {unit: self._text.place(unit, start, end, words) for unit in wanted}
        return {unit: place for unit in units if (place := places[same[unit]]) is not None}


class _ClaimedText:
    """A text about which something is claimed. `same`: for each unit, the first that counts this text alike."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.same = _units_alike(text.isascii(), _RUNS[OffsetUnit.UTF16][0].search(text) is None, "\r\n" not in text)
        self.distinct = frozenset(self.same.values())
        self._converters: dict[OffsetUnit, Converter] = {}

    def place(self, unit: OffsetUnit, start: int, end: int, words: str) -> _Place | None:
        """Where the words stand, in code points; None where other words stand at the offsets."""
        convert = self._converters.get(unit)
        if convert is None:
            convert = self._converters[unit] = to_code_points(self.text, unit)
        first, last = convert(start), convert(end)
        if first is None or last is None or first > last or not same_words(self.text, first, last, words):
            return None
        return first, last


@cache
def _units_alike(is_ascii: bool, no_astral: bool, no_crlf: bool) -> Mapping[OffsetUnit, OffsetUnit]:
    """For each unit, the first unit that counts every text of this kind alike."""
    shows = "a" + "é東" * (not is_ascii) + "\U0001f692" * (not no_astral) + "\r\n" * (not no_crlf)
    counted: dict[tuple[int | None, ...], OffsetUnit] = {}
    same = {}
    for unit in OffsetUnit:
        convert = to_code_points(shows, unit)
        same[unit] = counted.setdefault(tuple(map(convert, range(20))), unit)
    return same


def _runs(text: str, unit: OffsetUnit) -> list[_Run]:
    pattern, sizes = _RUNS[unit]
    runs, shift = [], 0  # shift: how many more units than code points come before
    for match in pattern.finditer(text):
        points, units = sizes[(match.lastindex or 1) - 1]
        at, length = match.start(), match.end() - match.start()
        begin, width = at + shift, length // points * units
        runs.append(_Run(at, begin, begin + width, points, units))
        shift += width - length
    return runs


def _in_run(run: _Run, offset: int) -> int | None:
    """The code point at an offset from the run's begin on; None inside a character."""
    within = min(offset, run.stop) - run.begin
    whole, inside = divmod(within, run.units)
    return None if inside else run.at + whole * run.points + offset - run.begin - within


def _visible(words: str) -> str:
    plain = unicodedata.normalize("NFC", words.replace("\\n", ""))
    return "".join(char for char in plain if not char.isspace() and unicodedata.category(char) not in _INVISIBLE)


def _lost_after_tab(said: str, shown: str, text: str, start: int, end: int) -> bool:
    """Whether `said` is `shown` without some of the characters after the text's first tab."""
    tab = text.find("\t", 0, end)
    if tab < 0 or not said.startswith(_visible(text[start:tab])):
        return False
    rest = iter(shown)
    return all(char in rest for char in said)
