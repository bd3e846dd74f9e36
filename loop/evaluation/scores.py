"""Entity-level strict precision, recall and F1, by seqeval, and the counts per text that later tests need.

Strict: a predicted span is right when start, end and type are all those of a gold span.

`check_agreement` is the same F1 between two systems, without gold.
"""

from __future__ import annotations

from collections.abc import Collection, Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from ner.arrays import IntArray
from ner.documents import LabelledText
from ner.labels import LabelSet
from ner.spans import Span, flat_spans, overlap

if TYPE_CHECKING:
    from ner.tagger import Tagger


@dataclass(frozen=True, slots=True)
class PRF:
    """Precision, recall and F1 in 0..1 (0 where undefined), and the counts they come from.

    support: gold spans; predicted: predicted spans; true_positives: those that are both. `macro` carries the sums.
    """

    precision: float
    recall: float
    f1: float
    support: int
    true_positives: int
    predicted: int


@dataclass(frozen=True, slots=True, eq=False)
class Counts:
    """Per row and entity type: each array is (rows, types) int64, types in the order of `types`.

    A row is a text, and after `grouped` a document: all texts that belong together.
    """

    types: tuple[str, ...]
    true_positives: IntArray
    predicted: IntArray
    gold: IntArray

    def micro_f1(self) -> float:
        """2 TP / (predicted + gold) over everything; 0 when there is neither."""
        found = int(self.predicted.sum() + self.gold.sum())
        return 2 * int(self.true_positives.sum()) / found if found else 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Scores:
    """One evaluation. per_type has every type of the label set.

    macro is the mean over the types that have a gold or a predicted span; the others say nothing and are left out of
    it (their own figures are 0). With no such type macro is 0.
    """

    per_type: dict[str, PRF]
    micro: PRF
    macro: PRF
    counts: Counts

    @property
    def documents(self) -> int:
        """How many texts were scored."""
        return len(self.counts.gold)

    def as_dict(self) -> dict[str, dict[str, float]]:
        """{"micro": {...}, "macro": {...}, type: {...}}, for manifests and reports."""
        rows = {"micro": self.micro, "macro": self.macro, **self.per_type}
        return {name: {key: getattr(row, key) for key in PRF.__slots__} for name, row in rows.items()}


def evaluate_bundle(tagger: Tagger, texts: Sequence[LabelledText]) -> Scores:
    """The scores of a tagger, as it serves, on labelled texts.

    White space at the ends of a gold span does not count, and of overlapping gold spans the longest counts, as in
    training (`ner.spans.flat_spans`).
    """
    gold = [flat_spans(text.text, text.spans) for text in texts]
    said = tagger.tag_many([text.text for text in texts])
    predicted = [judgeable(tagging.spans, text.unannotated) for tagging, text in zip(said, texts, strict=True)]
    return score(gold, predicted, tagger.labels)


def judgeable(predicted: Sequence[Span], unannotated: Collection[str]) -> tuple[Span, ...]:
    """The predicted spans that the gold of their text can judge: those of types that the text was annotated for.

    A prediction of another type is neither right nor wrong. Whoever holds answers against gold takes the answers
    through this function first.
    """
    return tuple(span for span in predicted if span.label not in unannotated)


def score(gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]], labels: LabelSet) -> Scores:
    """The scores of predicted spans against gold spans, text by text; the spans' own scores are ignored.

    seqeval (IOB2, strict) compares tags along the segments between all boundaries of both sides, so any span is
    represented exactly, wherever a tokeniser would have cut. Raises ValueError when spans of one side overlap in a text
    or the numbers of texts differ, InputError for a label outside `labels`.
    """
    counts = count(gold, predicted, labels)
    pairs = [_tag_sequences(one, other, labels) for one, other in zip(gold, predicted, strict=True)]
    rows = _by_seqeval([true for true, _ in pairs], [found for _, found in pairs], counts)
    return Scores(rows, micro=_micro(counts), macro=_macro(rows), counts=counts)


def count(gold: Sequence[Sequence[Span]], predicted: Sequence[Sequence[Span]], labels: LabelSet) -> Counts:
    """True positives, predicted and gold spans per text and type. Errors as `score`."""
    shape = (len(gold), len(labels.types))
    counts = Counts(labels.types, *(np.zeros(shape, dtype=np.int64) for _ in range(3)))
    for row, (true, found) in enumerate(zip(gold, predicted, strict=True)):
        true_keys, found_keys = _keys(true, labels), _keys(found, labels)
        sides = (
            (counts.gold, true_keys),
            (counts.predicted, found_keys),
            (counts.true_positives, true_keys & found_keys),
        )
        for array, keys in sides:
            for _, _, kind in keys:
                array[row, kind] += 1
    return counts


def grouped(counts: Counts, documents: Sequence[Hashable]) -> Counts:
    """The counts of texts summed by the document that each text belongs to, in the order of first appearance.

    Entities of one document depend on each other, so that the document is the unit of resampling.
    """
    numbers: dict[Hashable, int] = {}
    rows = np.array([numbers.setdefault(key, len(numbers)) for key in documents], dtype=np.intp)
    sums = []
    for array in (counts.true_positives, counts.predicted, counts.gold):
        total = np.zeros((len(numbers), array.shape[1]), dtype=np.int64)
        np.add.at(total, rows, array)
        sums.append(total)
    return Counts(counts.types, *sums)


def _keys(spans: Sequence[Span], labels: LabelSet) -> set[tuple[int, int, int]]:
    ordered = sorted(spans)
    if any(overlap(a, b) for a, b in pairwise(ordered)):
        raise ValueError(f"spans of one side do not overlap within a document: {ordered}")
    return {(span.start, span.end, labels.index(span.label)) for span in spans}


def _tag_sequences(gold: Sequence[Span], predicted: Sequence[Span], labels: LabelSet) -> tuple[list[str], list[str]]:
    """Both sides' tags over the same segments. Types are numbered: seqeval would cut hyphens off their names."""
    cuts = sorted({bound for span in (*gold, *predicted) for bound in (span.start, span.end)})
    segment = {cut: index for index, cut in enumerate(cuts)}
    sides = []
    for spans in (gold, predicted):
        tags = ["O"] * max(1, len(cuts) - 1)
        for span in spans:
            kind = _number(labels.index(span.label))
            first, stop = segment[span.start], segment[span.end]
            tags[first:stop] = [f"B-{kind}", *[f"I-{kind}"] * (stop - first - 1)]
        sides.append(tags)
    return sides[0], sides[1]


def _number(kind: int) -> str:
    """Sorts as text the way the numbers do."""
    return f"{kind:06d}"


def _by_seqeval(gold: list[list[str]], predicted: list[list[str]], counts: Counts) -> dict[str, PRF]:
    """One row for each type; seqeval answers for those that occur, in the order of their names."""
    # Here, not above: seqeval brings scikit-learn, and that takes a second of every command that only reads scores.
    from seqeval.metrics.v1 import precision_recall_fscore_support
    from seqeval.scheme import IOB2

    hits, found, true = (array.sum(axis=0) for array in (counts.true_positives, counts.predicted, counts.gold))
    present = np.flatnonzero(found + true)
    rows = {name: PRF(0.0, 0.0, 0.0, 0, 0, 0) for name in counts.types}
    if not len(present):
        return rows
    answer: Any = precision_recall_fscore_support(gold, predicted, average=None, scheme=IOB2, zero_division=0)
    for kind, precision, recall, f1, support in zip(present.tolist(), *answer, strict=True):
        figures = float(precision), float(recall), float(f1)
        rows[counts.types[kind]] = PRF(*figures, int(support), int(hits[kind]), int(found[kind]))
    return rows


def _micro(counts: Counts) -> PRF:
    hits, found, true = (int(array.sum()) for array in (counts.true_positives, counts.predicted, counts.gold))
    return PRF(_share(hits, found), _share(hits, true), counts.micro_f1(), true, hits, found)


def _macro(rows: dict[str, PRF]) -> PRF:
    known = [row for row in rows.values() if row.support or row.predicted]
    return PRF(
        _share(sum(row.precision for row in known), len(known)),
        _share(sum(row.recall for row in known), len(known)),
        _share(sum(row.f1 for row in known), len(known)),
        sum(row.support for row in known),
        sum(row.true_positives for row in known),
        sum(row.predicted for row in known),
    )


def _share(part: float, whole: int) -> float:
    return part / whole if whole else 0.0


@dataclass(frozen=True, slots=True)
class Agreement:
    """F1 of one system's spans against the other's, 0..1, and how much it stands on.

    spans: those of both systems together. texts: how many were compared. differing: in how many the spans differ.
    """

    f1: float
    spans: int
    texts: int
    differing: int


def check_agreement(first: Sequence[Sequence[object]], second: Sequence[Sequence[object]]) -> Agreement:
    """Compare what two systems say of the same texts, spans without scores. F1 is 1.0 where neither names a span."""
    pairs = [(set(ours), set(theirs)) for ours, theirs in zip(first, second, strict=True)]
    total = sum(len(ours) + len(theirs) for ours, theirs in pairs)
    common = sum(len(ours & theirs) for ours, theirs in pairs)
    differing = sum(ours != theirs for ours, theirs in pairs)
    return Agreement(2 * common / total if total else 1.0, total, len(pairs), differing)
