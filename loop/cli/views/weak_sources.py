"""How sources of weak labels, their votes and their worth are shown."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from rich.cells import cell_len
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from loop import console
from loop.cli.views.parts import wrapped
from loop.wording import number_of

if TYPE_CHECKING:
    from loop.weak.applying import WeaklyLabelled
    from loop.weak.explaining import Explained
    from loop.weak.ledger import GoldPrecision, LedgerEntry, TypeEntry, WeakLedger

_COLOURS = ("cyan", "magenta", "green", "yellow", "blue", "red")
_LEGEND = {
    "covers": "words that the source votes on",
    "shared": "of these, words on which another source votes, too",
    "disputed": "of these, words on which another source names another type",
    "right": "the share of the votes on labelled texts that is gold exactly, with its 95 % interval",
    "judged": "how many votes on labelled texts there are",
    "worth": "points of F1 that all votes together lose without the source",
    "estimated": "the share that is right as the other sources have it, without gold",
}
# Columns that are left out where there is no room, the first of these first; and the room that a name should have.
_SPARED, _ROOM = ("judged", "shared", "disputed", "covers", "seconds", "kind"), 25
_GAP = 2  # between columns


def applied_view(done: WeaklyLabelled, width: int) -> Iterator[Table | str]:
    """What one run asked, and what did not work. width: columns of the terminal."""
    figures = [
        {
            "kind": one.kind,
            "texts asked": f"{one.documents:,}",
            "new votes": f"{one.votes:,}",
            "failed on": f"{one.faults:,}",
            "seconds": f"{one.seconds:.1f}",
        }
        for one in done.sources
    ]
    yield _table("source", [one.name for one in done.sources], figures, [False] * len(figures), width)[0]
    yield f"{done.voted:,} of {done.documents:,} texts have a vote."
    if done.gone:
        yield f"Gone from the files, and their votes deleted: {', '.join(done.gone)}."
    yield from done.complaints()
    yield from (f"{one.name}: {sentence}" for one in done.sources for sentence in one.told)


def ledger_view(found: WeakLedger, width: int | None) -> Iterator[Table | Text | str]:
    """One line for each source, and what people should know of some.

    width: columns of the terminal; None for a table of every column, however wide.
    """
    if not found.sources:
        yield "No source of weak labels is known yet. `loop weak apply` takes in the sources of the project's files."
        return
    names = [one.name + (" (muted)" if one.muted_at else "") for one in found.sources]
    figures = [{**_figures(one), "worth": _worth(one)} for one in found.sources]
    if width is None:
        figures = [{**cells, **_costs(one)} for one, cells in zip(found.sources, figures, strict=True)]
    made, shown = _table("source", names, figures, [bool(one.muted_at) for one in found.sources], width)
    yield console.unfolded(made) if width is None else made
    yield ""
    yield from _basis(found)
    for one in found.sources:
        yield from map(wrapped, _remarks(one))
    yield ""
    yield _legend(shown)
    more = "" if width is None else "`--wide` shows every column. "
    yield Text(f"{more}`loop weak report --source NAME` shows each type of a source.", style="dim")


def source_view(found: WeakLedger, name: str, width: int | None) -> Iterator[Table | Text | str]:
    """Everything about one source, type by type."""
    one = found.source(name)
    yield console.styled(f"[bold]{escape(one.name)}[/]  {escape(one.kind)}")
    figures = [{**_figures(entry), "estimated": _share(entry.estimated)} for entry in one.types]
    made, shown = _table("type", [entry.label for entry in one.types], figures, [False] * len(figures), width)
    yield console.unfolded(made) if width is None else made
    yield ""
    yield console.facts((name, escape(said)) for name, said in _facts(one))
    yield ""
    yield from _basis(found)
    yield ""
    yield _legend(shown)


def explained_view(found: Explained, labels: Sequence[str]) -> Iterator[Table | Text | str]:
    """The text with the outcome marked in it, and who voted what."""
    colours = {label: _COLOURS[place % len(_COLOURS)] for place, label in enumerate(labels)}
    if found.external_id is not None:
        held = ", held out" if found.held_out else ""
        yield console.styled(f"[bold]{escape(found.external_id)}[/]  document {found.document}{held}")
    yield _marked(found, colours)
    yield ""
    votes = Table(box=None, pad_edge=False)
    for name in ("votes", "type", "from-to", "by"):
        votes.add_column(name, overflow="fold")
    for one in found.votes:
        names = ", ".join(f"{name} (muted)" if name in one.muted else name for name in one.sources)
        label = Text(one.label, style=colours.get(one.label, ""))
        votes.add_row(Text(repr(one.text)[1:-1]), label, f"{one.start}-{one.end}", console.Name(names))
    if not found.asked:
        yield "No source was asked about this text yet: `loop weak apply`."
    else:
        yield votes if found.votes else "No source votes on this text."
    yield ""
    if found.outcome:
        said = "In brackets: what the votes say together, with a score from 0 to 1."
        yield wrapped(f"{said} By {found.method}. {found.reason}")
    elif found.votes:
        yield wrapped(f"Together the votes say nothing. By {found.method}. {found.reason}")
    if found.gold is not None:
        gold = ", ".join(f"{found.text[span.start : span.end]!r} {span.label}" for span in found.gold)
        yield wrapped(f"Gold: {gold or 'no entity'}.")
    for name, reason in found.faults.items():
        yield f"{name} failed: {reason}"
    yield from found.told
    yield from found.problems


def _marked(found: Explained, colours: dict[str, str]) -> Text:
    """The text with each span of the outcome as [span LABEL], in the colour of its type."""
    made, at = Text(), 0
    for span in found.outcome:
        made.append(found.text[at : span.start])
        said = f"[{found.text[span.start : span.end]} {span.label} {span.score:.2f}]"
        made.append(said, style=f"bold {colours.get(span.label, '')}")
        at = span.end
    return made.append(found.text[at:])


def _table(
    first: str, names: Sequence[str], rows: Sequence[Mapping[str, str]], dim: Sequence[bool], width: int | None
) -> tuple[Table, Sequence[str]]:
    """The table, and the names of its columns of figures: those that leave room for the names."""
    columns = list(rows[0]) if rows else []
    wide = {name: max(cell_len(name), *(cell_len(row[name]) for row in rows)) + _GAP for name in columns}
    wanted = min(max(map(cell_len, (first, *names))), _ROOM)
    for spared in _SPARED:
        if width is not None and spared in columns and wanted + sum(wide[name] for name in columns) > width:
            columns.remove(spared)
    made = console.table("", (first,), ())
    for name in columns:
        made.add_column(name, justify="right", no_wrap=True)
    for name, row, faint in zip(names, rows, dim, strict=True):
        made.add_row(console.Name(name), *(row[column] for column in columns), style="dim" if faint else None)
    return made, columns


def _legend(columns: Sequence[str]) -> Text:
    return Text(" ".join(f"{name}: {_LEGEND[name]}." for name in columns if name in _LEGEND), style="dim")


def _figures(entry: LedgerEntry | TypeEntry) -> dict[str, str]:
    """The cells that sources and types have both, by column."""
    right, judged = _right(entry.precision)
    shares = {"covers": f"{entry.coverage:.1%}", "shared": _share(entry.overlap), "disputed": _share(entry.conflict)}
    return {"votes": f"{entry.votes:,}", **shares, "right": right, "judged": judged}


def _costs(one: LedgerEntry) -> dict[str, str]:
    return {
        "kind": one.kind,
        "texts": f"{one.documents:,}",
        "failed on": f"{one.faults:,}",
        "seconds": f"{one.seconds:.1f}",
        "changed": _day(one.changed_at),
    }


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share:.0%}"


def _right(precision: GoldPrecision | None) -> tuple[str, str]:
    if precision is None:
        return "-", "0"
    interval = f"{100 * precision.low:.0f}-{100 * precision.high:.0f}"
    return f"{precision.share:.0%} ({interval})", f"{precision.votes:,}"


def _worth(one: LedgerEntry) -> str:
    return "-" if one.worth is None else f"{100 * one.worth.gain:+.1f}"


def _basis(found: WeakLedger) -> Iterator[Text]:
    yield from map(wrapped, _basis_told(found))


def _basis_told(found: WeakLedger) -> Iterator[str]:
    yield f"Votes become labels by {found.method}. {found.reason}"
    if found.scores:
        yield f"F1 by method: {', '.join(f'{one.method} {one.f1:.3f}' for one in found.scores)}."
    if found.worth_by != found.method:
        yield (
            f"Worth is measured by {found.worth_by}, which is fast to teach again without a source. With `--source "
            f"NAME`, worth is measured by {found.method}."
        )
    if found.f1 is not None:
        yield f"F1 of the votes that count: {found.f1:.3f}, on {number_of(found.gold_documents, 'labelled document')}."
    else:
        yield "Nothing is labelled yet, so nothing says how right the votes are."


def _remarks(one: LedgerEntry) -> Iterator[str]:
    if one.muted_at:
        yield f"{one.name} is muted since {_day(one.muted_at)} by {_by(one)}.{_because(one)}"
    if one.set_aside:
        yield f"{one.name} was set aside: {one.set_aside}"
    if one.faults:
        yield f"{one.name} failed on {number_of(one.faults, 'text')}, first: {one.first_fault}"


def _because(one: LedgerEntry) -> str:
    if not one.evidence:
        return ""
    e = one.evidence
    return (
        f" Without it the majority vote on {e['documents']:,} labelled documents had F1 {e['without_f1']:.3f} instead "
        f"of {e['with_f1']:.3f}; {e['right']:,} of its {e['votes']:,} votes there were right."
    )


def _facts(one: LedgerEntry) -> Iterator[tuple[str, str]]:
    if one.worth is not None:
        w = one.worth
        interval = f"95 % interval {100 * w.low:+.1f} to {100 * w.high:+.1f}"
        yield "worth", f"F1 {w.with_f1:.3f} with it, {w.without_f1:.3f} without it, by {w.method} ({interval} points)"
    yield "asked about", number_of(one.documents, "text")
    per_thousand = 1000 * one.seconds / one.documents if one.documents else 0.0
    yield "took", f"{one.seconds:.1f} s, {per_thousand:.2f} s for a thousand texts"
    yield "failed on", number_of(one.faults, "text") + (f", first: {one.first_fault}" if one.faults else "")
    if one.set_aside:
        yield "set aside", one.set_aside
    yield "last change", _day(one.changed_at)
    yield "last asked", _day(one.applied_at) if one.applied_at else "never"
    if one.muted_at:
        yield "muted", f"since {_day(one.muted_at)} by {_by(one)}.{_because(one)}"


def _by(one: LedgerEntry) -> str:
    return "the loop" if one.muted_by == "loop" else str(one.muted_by)


def _day(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"
