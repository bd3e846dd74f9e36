"""What a system gets wrong: boundaries, types, what it missed and what it made up; counted, priced, and shown.

Pure functions of gold and predicted spans. Every gold and every predicted span is accounted for exactly once. The
kinds are those of the MUC evaluations (Chinchor and Sundheim 1993): incorrect type, partial, missing, spurious.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from ner.spans import Span

RIGHT, BOUNDARY, TYPE, MISSED, SPURIOUS = "right", "boundary", "type", "missed", "spurious"
ERRORS = (BOUNDARY, TYPE, MISSED, SPURIOUS)
WINDOW = 70  # characters of text shown on either side of the spans
_LONGEST = 160  # characters of one marked piece that are shown
_CUT = " … "


@dataclass(frozen=True, slots=True)
class JudgedText:
    """A text with its name, its gold spans and its predicted spans. Spans of one side do not overlap."""

    name: str
    text: str
    gold: tuple[Span, ...]
    predicted: tuple[Span, ...]


@dataclass(frozen=True, slots=True)
class Pairing:
    """A gold span and the predicted span that answers it.

    gold is None for a spurious prediction, predicted for a missed gold span. kind: RIGHT (type and bounds agree),
    BOUNDARY (only the type agrees), TYPE (the type differs, whatever the bounds), MISSED or SPURIOUS.
    """

    kind: str
    gold: Span | None
    predicted: Span | None

    @property
    def start(self) -> int:
        """Where the earlier span begins."""
        return min(span.start for span in (self.gold, self.predicted) if span is not None)

    @property
    def end(self) -> int:
        """Where the later span ends (half-open)."""
        return max(span.end for span in (self.gold, self.predicted) if span is not None)

    @property
    def confusion(self) -> tuple[str, str | None, str | None]:
        """(kind, gold type, predicted type)."""
        one, other = (None if span is None else span.label for span in (self.gold, self.predicted))
        return self.kind, one, other


@dataclass(frozen=True, slots=True)
class TypeErrors:
    """One type's spans. right + boundary + mistyped + missed are its gold spans.

    right + boundary + taken + spurious are its predicted spans. mistyped: gold of this type that was predicted as
    another type. taken: predicted as this type where the gold has another type.
    """

    type: str
    right: int
    boundary: int
    mistyped: int
    missed: int
    taken: int
    spurious: int


@dataclass(frozen=True, slots=True)
class Confusion:
    """How often gold of a type (None: there was none) was given a type (None: it was missed).

    cost: by how much micro-F1 (0..1) would rise if these, and nothing else, were right.
    """

    kind: str
    gold: str | None
    predicted: str | None
    count: int
    cost: float


@dataclass(frozen=True, slots=True)
class Piece:
    """A stretch of a text, and whether it lies in the gold and in the predicted span of an example."""

    text: str
    gold: bool = False
    predicted: bool = False


@dataclass(frozen=True, slots=True)
class Example:
    """One error in its text. pieces: the window around it, in order; what was cut is replaced by an ellipsis.

    times: how often the same words were confused in the same way.
    """

    kind: str
    document: str
    gold: Span | None
    predicted: Span | None
    pieces: tuple[Piece, ...]
    times: int


@dataclass(frozen=True, slots=True)
class ErrorAnalysis:
    """All pairings, by document in the order given."""

    documents: tuple[JudgedText, ...]
    pairings: tuple[tuple[Pairing, ...], ...]

    def count(self) -> Counter[tuple[str, str | None, str | None]]:
        """How often each (kind, gold type, predicted type) occurs."""
        return Counter(pairing.confusion for row in self.pairings for pairing in row)


def analyse(documents: Iterable[JudgedText]) -> ErrorAnalysis:
    """Pair the spans of every document."""
    known = tuple(documents)
    return ErrorAnalysis(known, tuple(pair(item.gold, item.predicted) for item in known))


def pair(gold: Sequence[Span], predicted: Sequence[Span]) -> tuple[Pairing, ...]:
    """Each span of either side once, in text order.

    Spans that share characters are paired one to one, greedily: the pair that shares most characters first, then one of
    the same type, then the earlier one. Spans with equal bounds thus always find each other. What finds no partner is
    missed or spurious.
    """
    free_gold, free_predicted = set(range(len(gold))), set(range(len(predicted)))
    found = []
    for _, _, _, one, other in sorted(_overlapping(gold, predicted)):
        if one in free_gold and other in free_predicted:
            free_gold.discard(one)
            free_predicted.discard(other)
            found.append(_paired(gold[one], predicted[other]))
    found += [Pairing(MISSED, gold[index], None) for index in free_gold]
    found += [Pairing(SPURIOUS, None, predicted[index]) for index in free_predicted]
    return tuple(sorted(found, key=lambda pairing: (pairing.start, pairing.end, pairing.kind)))


def per_type(analysis: ErrorAnalysis, types: Sequence[str]) -> tuple[TypeErrors, ...]:
    """One row for each type, in this order."""
    rows: dict[str, Counter[str]] = defaultdict(Counter)
    for (kind, gold, predicted), number in analysis.count().items():
        if kind == TYPE:
            rows[str(gold)]["mistyped"] += number
            rows[str(predicted)]["taken"] += number
        else:
            rows[str(gold or predicted)][kind] += number
    names = (RIGHT, BOUNDARY, "mistyped", MISSED, "taken", SPURIOUS)
    return tuple(TypeErrors(name, *(rows[name][column] for column in names)) for name in types)


def confusion_matrix(analysis: ErrorAnalysis, types: Sequence[str]) -> tuple[tuple[int, ...], ...]:
    """(types + 1, types + 1): rows are gold types, then spurious; columns are predicted types, then missed.

    The diagonal holds what was given the right type, with the right bounds or not. The last cell of all is empty.
    """
    place = {name: index for index, name in enumerate(types)}
    table = [[0] * (len(types) + 1) for _ in range(len(types) + 1)]
    for (_, gold, predicted), number in analysis.count().items():
        row = len(types) if gold is None else place[gold]
        table[row][len(types) if predicted is None else place[predicted]] += number
    return tuple(tuple(row) for row in table)


def confusions(analysis: ErrorAnalysis) -> tuple[Confusion, ...]:
    """Every confusion that occurs, the costliest first."""
    counts = analysis.count()
    right = sum(number for (kind, _, _), number in counts.items() if kind == RIGHT)
    gold = sum(len(document.gold) for document in analysis.documents)
    predicted = sum(len(document.predicted) for document in analysis.documents)
    found = [
        Confusion(*key, number, _cost(key[0], number, right, gold + predicted))
        for key, number in counts.items()
        if key[0] != RIGHT
    ]
    return tuple(sorted(found, key=lambda one: (-one.cost, -one.count, one.kind, one.gold or "", one.predicted or "")))


def examples(analysis: ErrorAnalysis, each: int, window: int = WINDOW) -> tuple[Example, ...]:
    """At most `each` of every kind of error: the most frequent confusions first, one of each before a second.

    Of one confusion, what befell the same words most often comes first, and the same words are shown once.
    """
    cases: dict[tuple[str, str | None, str | None], dict[tuple[str, str], list[tuple[int, Pairing]]]] = {}
    for index, row in enumerate(analysis.pairings):
        for pairing in row:
            if pairing.kind != RIGHT:
                words = _words(analysis.documents[index].text, pairing)
                cases.setdefault(pairing.confusion, {}).setdefault(words, []).append((index, pairing))
    chosen: list[Example] = []
    for kind in ERRORS:
        groups = [(key, list(words.values())) for key, words in cases.items() if key[0] == kind]
        groups.sort(key=lambda group: (-sum(map(len, group[1])), group[0][1] or "", group[0][2] or ""))
        queues = [sorted(found, key=lambda same: -len(same)) for _, found in groups]
        for same in _in_turn(queues, each):
            index, pairing = same[0]
            chosen.append(_example(analysis.documents[index], pairing, len(same), window))
    return tuple(chosen)


def _overlapping(gold: Sequence[Span], predicted: Sequence[Span]) -> list[tuple[int, bool, int, int, int]]:
    """Sort keys of the pairs that share characters; both sides are walked once."""
    ones = sorted(range(len(gold)), key=lambda index: gold[index].start)
    others = sorted(range(len(predicted)), key=lambda index: predicted[index].start)
    found, first = [], 0
    for one in ones:
        while first < len(others) and predicted[others[first]].end <= gold[one].start:
            first += 1
        for other in others[first:]:
            shared = min(gold[one].end, predicted[other].end) - max(gold[one].start, predicted[other].start)
            if shared <= 0:
                break
            differs = gold[one].label != predicted[other].label
            found.append((-shared, differs, gold[one].start, one, other))
    return found


def _paired(gold: Span, predicted: Span) -> Pairing:
    if gold.label != predicted.label:
        return Pairing(TYPE, gold, predicted)
    same = (gold.start, gold.end) == (predicted.start, predicted.end)
    return Pairing(RIGHT if same else BOUNDARY, gold, predicted)


def _cost(kind: str, number: int, right: int, found: int) -> float:
    """found: gold + predicted spans. Mending a missed one adds a predicted span, a spurious one takes one away."""
    after = found + {MISSED: number, SPURIOUS: -number}.get(kind, 0)
    mended = right if kind == SPURIOUS else right + number
    return (2 * mended / after if after else 0.0) - (2 * right / found if found else 0.0)


def _words(text: str, pairing: Pairing) -> tuple[str, str]:
    sides = (pairing.gold, pairing.predicted)
    one, other = ("" if span is None else text[span.start : span.end].casefold() for span in sides)
    return one, other


def _in_turn(queues: Sequence[Sequence[list[tuple[int, Pairing]]]], most: int) -> list[list[tuple[int, Pairing]]]:
    """The first of each queue, then the second of each, up to `most`."""
    longest = max(map(len, queues), default=0)
    return [queue[turn] for turn in range(longest) for queue in queues if turn < len(queue)][:most]


def _example(document: JudgedText, pairing: Pairing, times: int, window: int) -> Example:
    return Example(
        pairing.kind, document.name, pairing.gold, pairing.predicted, _pieces(document.text, pairing, window), times
    )


def _pieces(text: str, pairing: Pairing, window: int) -> tuple[Piece, ...]:
    """The window, cut where a span begins or ends."""
    begin, stop = _outer(text, pairing.start, pairing.end, window)
    spans = [span for span in (pairing.gold, pairing.predicted) if span is not None]
    cuts = sorted({begin, stop, *(bound for span in spans for bound in (span.start, span.end))})
    made = [Piece("… ")] if begin > 0 else []
    for start, end in pairwise(cuts):
        inside = [span is not None and span.start <= start < span.end for span in (pairing.gold, pairing.predicted)]
        made.append(Piece(_shortened(text[start:end]), *inside))
    return tuple(made if stop == len(text) else [*made, Piece(" …")])


def _outer(text: str, start: int, end: int, window: int) -> tuple[int, int]:
    """The window's bounds, moved inwards to the next white space where there is one."""
    begin, stop = max(0, start - window), min(len(text), end + window)
    if begin > 0:
        begin = next((i + 1 for i in range(begin, start) if text[i].isspace()), begin)
    if stop < len(text):
        stop = next((i for i in range(stop - 1, end - 1, -1) if text[i].isspace()), stop)
    return begin, stop


def _shortened(text: str) -> str:
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]}{_CUT}{text[-half:]}"
