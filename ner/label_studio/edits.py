"""What a person did with the spans that a model had proposed for a text: kept, moved, retyped, removed, added.

The proposed spans and the person's spans are matched, each span with at most one span. The first rule that fits counts:

kept: the same offsets and the same type.
retyped: the same offsets and another type.
moved: other offsets, the same type, and at least one character in common. Of several possible pairs, the pair that
shares most characters is matched first.

A proposed span without a match was removed. A span of the person without a match was added. So a span that was moved
and retyped at once counts as one removed and one added: neither its place nor its type was right.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from ner.spans import Span

_Place = tuple[int, int, str]


@dataclass(frozen=True, slots=True)
class Edits:
    """How many spans were kept, moved, retyped, removed and added.

    Of one entity type: all but `added` count by the type that the model had proposed, `added` counts by the type that
    the person gave.
    """

    kept: int = 0
    moved: int = 0
    retyped: int = 0
    removed: int = 0
    added: int = 0

    def __add__(self, other: Edits) -> Edits:
        return Edits(
            self.kept + other.kept,
            self.moved + other.moved,
            self.retyped + other.retyped,
            self.removed + other.removed,
            self.added + other.added,
        )

    @property
    def proposed(self) -> int:
        """How many spans the model had proposed."""
        return self.kept + self.moved + self.retyped + self.removed

    @property
    def final(self) -> int:
        """How many spans the person left in the text."""
        return self.kept + self.moved + self.retyped + self.added

    @property
    def changed(self) -> int:
        """How many spans the person had to touch."""
        return self.moved + self.retyped + self.removed + self.added


def edits_of(proposed: Iterable[Span], final: Iterable[Span]) -> dict[str, Edits]:
    """The edits by entity type that lead from the proposed spans of a text to the person's spans.

    Scores do not count, and a span that stands twice counts once. Types without a span are left out.
    """
    before, after = _places(proposed), _places(final)
    kept = before & after
    gone, new = sorted(before - kept), sorted(after - kept)
    retyped = _take_pairs(gone, new, lambda old, now: int(old[:2] == now[:2]))
    moved = _take_pairs(gone, new, lambda old, now: _shared(old, now) if old[2] == now[2] else 0)
    counts: dict[str, list[int]] = {}
    for outcome, places in enumerate((kept, moved, retyped, gone, new)):
        for _, _, label in places:
            counts.setdefault(label, [0, 0, 0, 0, 0])[outcome] += 1
    return {label: Edits(*counts[label]) for label in sorted(counts)}


def total(by_type: Iterable[Edits]) -> Edits:
    """The sum of edits."""
    return sum(by_type, Edits())


def _places(spans: Iterable[Span]) -> set[_Place]:
    return {(span.start, span.end, span.label) for span in spans}


def _shared(a: _Place, b: _Place) -> int:
    """How many characters the two share, 0 or less for none."""
    return min(a[1], b[1]) - max(a[0], b[0])


def _take_pairs(gone: list[_Place], new: list[_Place], fit: Callable[[_Place, _Place], int]) -> list[_Place]:
    """Take pairs out of both lists, greedily, the best fit above 0 first; gives what was taken out of `gone`."""
    pairs = [(-fit(old, now), old, now) for old in gone for now in new]
    taken = []
    for _, old, now in sorted(pair for pair in pairs if pair[0] < 0):
        if old in gone and now in new:
            gone.remove(old)
            new.remove(now)
            taken.append(old)
    return taken
