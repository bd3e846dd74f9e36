"""What people annotated: what they did with the pre-labels of each version, and signs of corrupted annotations."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loop.quality.corruption import AnnotatorCheck, CountShift, GoldCheck, warnings_of
from loop.quality.prelabels import PrelabelCounts, Prelabels
from loop.report.page import blocks
from loop.wording import NOTHING, chance, moment, number_of, whole

_COUNTS = ("texts", "regions", "kept", "95 % interval", "moved", "retyped", "removed", "added")
_MOST = 20  # versions, and weeks
_RULES = (
    "Kept: the same place and type. Moved: the same type, in another place that overlaps. Retyped: the same place, "
    "with another type. Each annotation counts once, as it was first submitted. The intervals count whole documents, "
    "since regions of one document depend on each other. Each version was shown on other texts, and the queue begins "
    "with the texts of which the model is least sure. Held-out texts have no pre-label and never count."
)


def prelabels_section(found: Prelabels) -> blocks.Section:
    """The section; one sentence where nobody began from a pre-label yet."""
    return blocks.Section("prelabels", "What annotators did with the pre-labels", tuple(_of_prelabels(found)))


def _of_prelabels(found: Prelabels) -> Iterator[blocks.Block]:
    if found.versions:
        latest = found.versions[-1]
        yield _prelabel_table(
            "Regions of the pre-labels of each version", "version", [one.total for one in found.versions]
        )
        if latest.types:
            yield _prelabel_table(f"The same of {latest.total.name}, per type", "type", latest.types, blocks.MOST_ROWS)
        if len(found.weeks) > 1:
            yield _prelabel_table("The same of all versions, week by week", "week from", found.weeks)
        yield blocks.Words(_RULES)
    elif not found.unknown:
        yield blocks.Words("No submitted annotation began from a pre-label yet.")
    if found.unknown:
        count = number_of(found.unknown, "annotation")
        yield blocks.Words(f"Not counted above: {count} that began from pre-labels which the store does not know.")


def _prelabel_table(caption: str, name: str, rows: Sequence[PrelabelCounts], most: int = _MOST) -> blocks.Table:
    """The latest rows."""
    shown = rows[-most:]
    note = f"{len(rows) - len(shown):,} earlier rows are in report.json." if len(shown) < len(rows) else ""
    cells = tuple((*_prelabel_cells(row), moment(row.first)[:10], moment(row.last)[:10]) for row in shown)
    columns = (name, *_COUNTS, "first", "last")
    return blocks.Table(caption, columns, cells, words=frozenset({len(columns) - 2, len(columns) - 1}), note=note)


def _prelabel_cells(row: PrelabelCounts) -> tuple[blocks.Cell, ...]:
    kept: blocks.Cell = NOTHING
    between = NOTHING
    if row.kept_share is not None and row.low is not None and row.high is not None:
        kept = blocks.Shaded(f"{row.kept_share:.0%}", row.kept_share, "bar")
        between = f"{100 * row.low:.0f} to {100 * row.high:.0f} %"
    counts = (row.moved, row.retyped, row.removed, row.added)
    return (row.name, whole(row.texts), whole(row.proposed), kept, between, *map(whole, counts))


def gold_check_sections(found: GoldCheck | None, candidate: str) -> tuple[blocks.Section, ...]:
    """The section; none where nothing was checked."""
    if found is None:
        return ()
    return (blocks.Section("new-annotations", "New annotations", tuple(_of_gold_check(found, candidate))),)


def _of_gold_check(found: GoldCheck, candidate: str) -> Iterator[blocks.Block]:
    signs = warnings_of(found, candidate)
    if signs:
        yield blocks.Items("Signs that annotations may be corrupted", signs)
    elif found.annotations:
        count = number_of(found.annotations, "annotation is", "annotations are")
        text = f"{count} newer than what {found.since} learned from. Nothing shows that they are corrupted."
        yield blocks.Words(text)
    else:
        yield blocks.Words(f"No annotation is newer than what {found.since} learned from.")
    if found.annotators:
        people, note = blocks.some(found.annotators, "annotators")
        columns = ("annotator", "annotations", "compared", "regions", "differ", "others' differ", "p", "sign")
        yield blocks.Table(
            f"Regions of new annotations that differ from what {found.since} says",
            columns,
            tuple(map(_person, people)),
            words=frozenset({7}),
            note=note,
        )
    if found.texts:
        shown, note = blocks.some(found.shifts, "types")
        yield blocks.Table(
            f"How often both models find a type in {number_of(found.texts, 'unlabelled text')}",
            ("type", found.since, candidate, "p", "sign"),
            tuple(map(_shift, shown)),
            words=frozenset({4}),
            note=note,
        )
    else:
        yield blocks.Words("The pool has no open text, so how often both models find a type was not compared.")


def _person(one: AnnotatorCheck) -> tuple[blocks.Cell, ...]:
    shares = (NOTHING if part is None else f"{part:.0%}" for part in (one.share, one.others_share))
    counts = (one.annotations, one.texts, one.regions)
    return (one.who or "not named", *map(whole, counts), *shares, chance(one.p_value), _sign(warns=one.warns))


def _shift(one: CountShift) -> tuple[blocks.Cell, ...]:
    return one.name, whole(one.served), whole(one.candidate), chance(one.p_value), _sign(warns=one.warns)


def _sign(*, warns: bool) -> str:
    return "look at this" if warns else ""
