"""The errors of a system as blocks of a page, in the report of an attempt and in that of a study."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loop.evaluation.errors import BOUNDARY, MISSED, SPURIOUS, TYPE, Example
from loop.report.facts import ConfusionMatrix, ErrorFacts
from loop.report.page import blocks
from loop.report.page.figures import MOST_TYPES
from loop.wording import NOTHING, number_of, points, shortened, whole

_SHOWN_NAME = 80
_KINDS = {
    BOUNDARY: ("boundary", "Boundary errors: the right type with wrong bounds"),
    TYPE: ("mistyped", "Type errors: gold of one type that was found as another type"),
    MISSED: ("missed", "Missed: gold that was not found"),
    SPURIOUS: ("spurious", "Spurious: found where there is no gold"),
}


def error_blocks(found: ErrorFacts) -> Iterator[blocks.Block]:
    """Errors by type, the confusion matrix, the costliest confusions, and examples."""
    yield _errors_per_type(found)
    yield matrix_of(found.matrix)
    if found.costliest:
        yield _costs(found)
    yield from _examples(found)


def _errors_per_type(found: ErrorFacts) -> blocks.Table:
    counts = [(one.right, one.boundary, one.mistyped, one.missed, one.taken, one.spurious) for one in found.per_type]
    rows = [(one.type, *map(whole, row)) for one, row in zip(found.per_type, counts, strict=True)]
    named, note = blocks.some(rows, "types")
    total = ("all", *(whole(sum(column)) for column in zip(*counts, strict=True)))
    return blocks.Table(
        "Errors per type",
        ("type", "right", "wrong bounds", "wrong type", "missed", "taken for it", "spurious"),
        (*named, total),
        strong=frozenset({len(named)}),
        note=f"Right, wrong bounds, wrong type and missed add up to the gold. {note}".strip(),
    )


def matrix_of(matrix: ConfusionMatrix) -> blocks.Block:
    """The types with most spans, with missed and spurious; each cell is coloured by its share."""
    counts = matrix.counts
    if not any(map(any, counts)):
        return blocks.Words("There is neither a gold nor a predicted span.")
    last = len(counts) - 1
    ranked = sorted(range(last), key=lambda i: -sum(counts[i]) - sum(row[i] for row in counts))
    shown = [*sorted(ranked[:MOST_TYPES]), last]
    note = (
        "Rows are gold types, columns are what was found. The deeper the colour, the larger the share of the row. The "
        "diagonal holds the right type, with right or wrong bounds."
    )
    if last > MOST_TYPES:
        note += f" The {MOST_TYPES} types with most spans are shown; report.json has all."
    rows = tuple((matrix.rows[i], *(_matrix_cell(counts, i, j) for j in shown)) for i in shown)
    return blocks.Table("Confusion matrix of types", ("gold", *(matrix.columns[j] for j in shown)), rows, note=note)


def _matrix_cell(counts: Sequence[Sequence[int]], i: int, j: int) -> blocks.Cell:
    last = len(counts) - 1
    if i == j == last:
        return ""
    whole_of = sum(counts[i]) if i < last else sum(row[j] for row in counts)  # spurious: of all that was found as j
    part = counts[i][j] / whole_of if whole_of else 0.0
    return blocks.Shaded(whole(counts[i][j]), part, "right" if i == j else "wrong")


def _costs(found: ErrorFacts) -> blocks.Table:
    rows = tuple(
        (one.kind, one.gold or NOTHING, one.predicted or NOTHING, whole(one.count), points(one.cost))
        for one in found.costliest
    )
    note = "Points of micro-F1 that the candidate would gain if these errors, and nothing else, were right."
    if found.confusions > len(rows):
        note += f" {number_of(found.confusions - len(rows), 'cheaper confusion')} left out."
    columns = ("error", "gold", "found", "times", "points")
    return blocks.Table("The confusions that cost most", columns, rows, words=frozenset({1, 2}), note=note)


def _examples(found: ErrorFacts) -> Iterator[blocks.Block]:
    if not found.examples:
        none = "There is no error."
        yield blocks.Words("This report quotes no text, and so shows no example." if found.total else none)
    for kind, (counted, caption) in _KINDS.items():
        cases = tuple(_case(one) for one in found.examples if one.kind == kind)
        if cases:
            total = sum(getattr(row, counted) for row in found.per_type)
            yield blocks.Cases(f"{caption} ({len(cases)} shown of {total:,})", cases)


def _case(one: Example) -> blocks.Quotation:
    labels = [span.label for span in (one.gold, one.predicted) if span is not None]
    times = f", {one.times} times" if one.times > 1 else ""
    what = f"{labels[0]} found as {labels[1]}" if one.kind == TYPE else labels[0]
    return blocks.Quotation(f"{what}{times}", shortened(one.document, _SHOWN_NAME), one.pieces)
