"""What files hold, for people: what became of each file of an import, and the labels that a file proposes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

from rich.console import RenderableType
from rich.text import Text

from loop.cli.views.parts import safe, wrapped
from loop.console import styled, table
from loop.files.doubts import doubts_sentence, map_lines, tags_among, unknown_labels
from loop.files.importing import Imported
from loop.files.proposing import Proposal
from loop.wording import number_of, visible
from ner.label_studio.results import DOUBTS, OUTSIDE_CONFIG
from ner.labels import OUTSIDE

_MOST_LINES = 20
_SPLITS = ("pool", "train", "holdout")


def view(files: Sequence[Imported], labels: Sequence[str]) -> Iterator[RenderableType]:
    """A table of the files; then for each file how it was read, its labels, and its doubts."""
    if any(one.dry_run for one in files):
        yield styled("[bold]Dry run: nothing was stored.[/]")
    else:
        rows = [
            (one.file, one.records, one.added, one.known, one.labelled, *(one.splits.get(name, 0) for name in _SPLITS))
            for one in files
        ]
        yield table("", ("file", "records", "added", "known", "annotated", *_SPLITS), rows)
    for one in files:
        yield ""
        yield from _file(one, labels)


def proposal_view(found: Proposal) -> Iterator[RenderableType]:
    """A table of the labels of each control, where the texts stand, and what to check."""
    texts, labelled = number_of(found.texts, "text"), f"{found.labelled:,} of them annotated"
    yield f"Found in {found.file} ({found.format}): {texts}, {labelled}."
    rows = [
        (f"{label}", control.name, control.to_name, number if control.taken else f"{number:,}, left out")
        for control in found.controls
        for label, number in control.labels.items()
    ]
    yield table("", ("label", "control", "over", "regions"), rows)
    yield f"The texts stand in the field {found.data_field!r} of a task (for Label Studio)."
    for sentence in found.check:
        yield f"Check: {sentence}"
    yield "Check: labels.xml holds the labels of this file alone. Add any further label before you import."


def _file(one: Imported, labels: Sequence[str]) -> Iterator[RenderableType]:
    audit = one.audit
    yield styled(f"[bold]{safe(one.file)}[/] ({safe(one.format)})")
    yield from map(wrapped, one.said)
    rows = [
        ("texts with entities", audit.with_entities),
        ("texts without entities", audit.without_entities),
        ("unlabelled texts", audit.unlabelled),
        ("texts in doubt, not learned from", audit.in_doubt),
        ("regions understood", audit.understood),
        ("regions not understood", sum(number for reason, number in audit.set_aside.items() if reason in DOUBTS)),
    ]
    yield table("", ("the file holds", "number"), rows)
    if audit.labels:
        yield ""
        became = [(visible(count.label), count.regions, _became(count.becomes)) for count in audit.labels]
        yield table("", ("label in the file", "regions", "becomes"), became)
    yield from _doubts(one, labels)
    for what, number in audit.suspicions.items():
        yield styled(f"[yellow]![/] {number:,} {'text looks' if number == 1 else 'texts look'} wrong: {what}.")
        yield from _examples(one, (what,))
    yield from _problems(one)
    yield from map(wrapped, notes(one))


def _became(label: str | None) -> str:
    if label is None:
        return "not understood"
    return "no entity (label map)" if label == OUTSIDE else label


def _doubts(one: Imported, labels: Sequence[str]) -> Iterator[RenderableType]:
    doubts = one.audit.doubts
    if not doubts:
        return
    yield ""
    yield styled(f"[yellow]![/] {safe(doubts_sentence(doubts, labels))}")
    yield from _examples(one, doubts.by_reason)
    unknown = unknown_labels(doubts, labels)
    tags = tags_among(unknown)
    if tags:
        yield wrapped(
            f"{', '.join(tags[:2])} are tags of tokens, and no types: join the spans of an entity, as one span."
        )
    lines = map_lines((label for label in unknown if label not in tags), labels)
    if lines:
        yield wrapped(
            f'To mend the labels, write into loop.toml (or "{OUTSIDE}" for what is no entity), and import again:'
        )
        yield from map(wrapped, ("  [label_map]", *(f"  {line}" for line in lines[:_MOST_LINES])))
        if len(lines) > _MOST_LINES:
            yield f"  # and {len(lines) - _MOST_LINES:,} more labels"
    if set(doubts.by_reason) - {OUTSIDE_CONFIG}:
        yield wrapped("To mend the regions, correct them in the file or in Label Studio, and import or pull again.")


def _problems(one: Imported) -> Iterator[RenderableType]:
    if not one.problems:
        return
    fate = "would be refused, unless with --skip-bad" if one.dry_run else "were set aside"
    yield styled(f"[yellow]![/] Records that break a rule {fate}; the first of them:")
    yield from (wrapped(f"  {problem}") for problem in one.problems)


def _examples(one: Imported, reasons: Collection[str]) -> Iterator[Text]:
    for example in one.audit.examples:
        if example.reason in reasons:
            yield wrapped(f"  {example.where}: {example.reason}: {example.shown}")


def notes(one: Imported) -> Iterator[str]:
    """What people should know of an import beyond its counts."""
    if one.votes:
        yield f"{one.votes:,} weak votes stored."
    for reason, count in sorted(one.set_aside.items()):
        if reason not in DOUBTS:
            yield f"Set aside: {count:,} x {reason}."
    if one.replaced:
        yield f"Labelled otherwise before, now with the gold of this file: {number_of(one.replaced, 'text')}."
    if one.kept_elsewhere:
        yield f"Already known in another split, and left there: {number_of(one.kept_elsewhere, 'document')}."
    if one.revived:
        yield f"Back from a deleted task, with the labels of this file: {number_of(one.revived, 'document')}."
    if one.not_held_out:
        yield f"{one.not_held_out:,} went to train: a model was trained on them, so they cannot be held out."
