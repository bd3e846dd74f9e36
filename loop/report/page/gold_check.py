"""The annotations that are new since the last good model: whose they are, and signs that they are corrupted."""

from __future__ import annotations

from collections.abc import Iterator

from loop.quality.corruption import AnnotatorCheck, CountShift, GoldCheck, warnings_of
from loop.report.page import blocks
from loop.wording import NOTHING, chance, number_of, whole


def sections(found: GoldCheck | None, candidate: str) -> tuple[blocks.Section, ...]:
    """The section; none where nothing was checked."""
    if found is None:
        return ()
    return (blocks.Section("new-annotations", "New annotations", tuple(_blocks(found, candidate))),)


def _blocks(found: GoldCheck, candidate: str) -> Iterator[blocks.Block]:
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
