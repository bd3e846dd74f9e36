"""Signs that a batch of annotations is corrupted: labels that were switched, an annotator who is careless.

Two signs, both against the last good model, which did not learn from the batch. The last good model is the one in
service, unless an earlier model is clearly better on today's holdout:

- On unlabelled texts, the candidate finds a type at least twice or at most half as often as the last good model.
- The annotations of one person differ from the last good model far more often than the other people's do.

Both have to be large, and more than chance explains, so that an honest batch hardly ever shows a sign. Neither proves
that something is wrong: a model also finds a type more often because it has learned the type at last.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from loop.evaluation.significance import permutations_for
from ner.arrays import FloatArray
from ner.label_studio.edits import Edits
from ner.spans import Span

FACTOR = 2.0  # between the counts of a type
GAP = 0.1  # between an annotator's share of differing regions and the others' share
LEVEL = 0.01  # chance that an honest batch shows any sign of a kind
_PERMUTATIONS = 10_000
_AT_ONCE = 1_000
_NAMED = 8
_ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class CountShift:
    """How often both models find a type in the same unlabelled texts.

    p_value: two-sided, by paired randomisation over documents. warns: whether the counts differ by a factor of 2 or
    more, and by more than chance explains.
    """

    name: str
    served: int
    candidate: int
    p_value: float
    warns: bool


@dataclass(frozen=True, slots=True)
class AnnotatorCheck:
    """One person's new annotations against what the last good model says of the same texts.

    who: None where the annotations bear no name. annotations: all new annotations of this person; texts: those that
    were compared. regions: of either side; differing: those of them that are not the same on both sides. share and
    others_share: of regions that differ, 0..1, of this person and of all other people; None where there is none.
    p_value: one-sided, by permutation of texts; None where there is nobody to compare with. warns: whether this person
    differs more than the others, by at least ten points, and by more than chance explains.
    """

    who: str | None
    annotations: int
    texts: int
    regions: int
    differing: int
    share: float | None
    others_share: float | None
    p_value: float | None
    warns: bool


@dataclass(frozen=True, slots=True)
class GoldCheck:
    """What was found of the annotations that are new since the last good model, `since`.

    texts: unlabelled texts on which `shifts` were counted. annotators: those with most annotations first.
    """

    since: str
    texts: int
    shifts: tuple[CountShift, ...]
    annotators: tuple[AnnotatorCheck, ...]

    @property
    def annotations(self) -> int:
        """How many annotations are new."""
        return sum(one.annotations for one in self.annotators)

    @property
    def warns(self) -> bool:
        """Whether there is any sign."""
        return any(one.warns for one in self.shifts) or any(one.warns for one in self.annotators)


@dataclass(frozen=True, slots=True)
class NewAnnotationText:
    """A new annotation of a text. group: what the text belongs to. edits: from the good model's spans to the gold."""

    who: str | None
    group: str
    edits: Edits


def count_shifts(
    served: Sequence[Sequence[Span]],
    candidate: Sequence[Sequence[Span]],
    groups: Sequence[str],
    types: Sequence[str],
    *,
    seed: int,
) -> tuple[CountShift, ...]:
    """How the counts of each type differ between two models, on the same texts in the same order.

    The test takes whole documents: if nothing but chance parts the models, each document's two counts could as well be
    exchanged (Noreen 1989). Over all types together, such models warn with a chance of at most LEVEL.
    """
    rng = np.random.default_rng(seed)
    level = LEVEL / max(1, len(types))
    return tuple(_shift(name, served, candidate, groups, level, rng) for name in types)


def _shift(
    name: str,
    served: Sequence[Sequence[Span]],
    candidate: Sequence[Sequence[Span]],
    groups: Sequence[str],
    level: float,
    rng: np.random.Generator,
) -> CountShift:
    before, after, differences = 0, 0, defaultdict[str, int](int)
    for old, new, group in zip(served, candidate, groups, strict=True):
        counts = sum(span.label == name for span in old), sum(span.label == name for span in new)
        before, after = before + counts[0], after + counts[1]
        differences[group] += counts[1] - counts[0]
    p_value = _sign_flip(np.array([one for one in differences.values() if one], dtype=float), level, rng)
    large = max(before, after) >= FACTOR * min(before, after) and before != after
    return CountShift(name, before, after, p_value, large and p_value <= level)


def _sign_flip(differences: FloatArray, level: float, rng: np.random.Generator) -> float:
    """Two-sided p of a sum of (n,) differences of which each could as well have the opposite sign."""
    if not len(differences):
        return 1.0
    observed, number = abs(differences.sum()), permutations_for(level, _PERMUTATIONS)
    extreme = 0
    for begin in range(0, number, _AT_ONCE):
        signs = rng.integers(0, 2, (min(_AT_ONCE, number - begin), len(differences))) * 2 - 1
        extreme += int((np.abs(signs @ differences) >= observed).sum())
    return (1 + extreme) / (number + 1)


def check_annotators(
    compared: Iterable[NewAnnotationText], annotations: Sequence[str | None], *, seed: int
) -> tuple[AnnotatorCheck, ...]:
    """Each person's annotations against those of all others. annotations: who made each new annotation.

    The test permutes documents among people: who gets a text is chance in Label Studio's queue. Over all people
    together, people who work alike warn with a chance of at most LEVEL.
    """
    units: dict[tuple[str | None, str], Edits] = defaultdict(Edits)
    texts: dict[str | None, int] = defaultdict(int)
    for one in compared:
        units[one.who, one.group] += one.edits
        texts[one.who] += 1
    people = sorted(set(annotations), key=lambda who: (-annotations.count(who), who or ""))
    figures = np.array([(one.changed, one.changed + one.kept) for one in units.values()], dtype=float).reshape(-1, 2)
    own = np.array([[owner == who for owner, _ in units] for who in people], dtype=float).reshape(
        len(people), len(units)
    )
    level = LEVEL / max(1, len(people))
    chances = _permutation(figures, own, level, np.random.default_rng(seed))
    return tuple(
        _annotator(who, annotations.count(who), texts[who], sums, figures.sum(axis=0) - sums, chance, level)
        for who, sums, chance in zip(people, own @ figures, chances, strict=True)
    )


def _annotator(
    who: str | None, annotations: int, texts: int, sums: FloatArray, rest: FloatArray, chance: float, level: float
) -> AnnotatorCheck:
    """sums, rest: (2,) differing and all regions, of this person and of all others."""
    differing, regions = int(sums[0]), int(sums[1])
    if not regions or not rest[1]:
        share = differing / regions if regions else None
        others = float(rest[0] / rest[1]) if rest[1] else None
        return AnnotatorCheck(who, annotations, texts, regions, differing, share, others, None, warns=False)
    share, others = differing / regions, float(rest[0] / rest[1])
    warns = share - others >= GAP and chance <= level
    return AnnotatorCheck(who, annotations, texts, regions, differing, share, others, chance, warns)


def _permutation(figures: FloatArray, own: FloatArray, level: float, rng: np.random.Generator) -> list[float]:
    """One-sided p for each person that the share of differing regions is higher than that of the others.

    figures: (n, 2) differing and all regions of each document. own: (people, n), 1 for the documents of a person.
    """
    whole, number = figures.sum(axis=0), permutations_for(level, _PERMUTATIONS)
    observed = _higher(own @ figures, whole)
    extreme = np.zeros(len(own))
    for begin in range(0, number, _AT_ONCE):
        order = np.tile(np.arange(len(figures)), (min(_AT_ONCE, number - begin), 1))
        sums = own @ figures[rng.permuted(order, axis=1)]
        extreme += (_higher(sums, whole) >= observed - _ROUNDING).sum(axis=0)
    return [float(one) for one in (1 + extreme) / (number + 1)]


def _higher(own: FloatArray, whole: FloatArray) -> FloatArray:
    """(...) share in (..., 2) sums minus the share in the rest; a part without regions has the share 0."""
    rest = whole - own
    higher: FloatArray = own[..., 0] / np.maximum(own[..., 1], 1) - rest[..., 0] / np.maximum(rest[..., 1], 1)
    return higher


def warnings_of(check: GoldCheck, candidate: str) -> tuple[str, ...]:
    """The signs in sentences, and behind them whose annotations are new; nothing where there is no sign."""
    if not check.warns:
        return ()
    told = [
        f"{one.name}: {candidate} finds {one.candidate:,} on {check.texts:,} unlabelled texts, {check.since} finds "
        f"{one.served:,}. The candidate may have learned this type at last, or its labels were switched."
        for one in check.shifts
        if one.warns
    ]
    told += [
        f"Annotator {one.who or 'without a name'}: {one.share:.0%} of {one.regions:,} regions differ from what "
        f"{check.since} says, and {one.others_share:.0%} of the other annotators' regions. Look at these annotations."
        for one in check.annotators
        if one.warns
    ]
    if check.annotators:
        named = [f"{one.annotations:,} by {one.who or 'nobody named'}" for one in check.annotators[:_NAMED]]
        rest = len(check.annotators) - len(named)
        people = ", ".join([*named, f"the rest by {rest:,} more"] if rest else named)
        told.append(f"{check.annotations:,} annotations are new since {check.since}: {people}.")
    return tuple(told)
