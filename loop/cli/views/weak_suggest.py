"""How suggested entries of weak.toml are shown."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from rich.console import RenderableType
from rich.text import Text

from loop.cli.views.parts import wrapped
from loop.console import WIDTH
from loop.wording import number_of, visible

if TYPE_CHECKING:
    from loop.weak.accepting import Accepted
    from loop.weak.suggesting import SpanExample, SuggestedEntry, SuggestionList

_LEFT = 26
_LEGEND = (
    "labelled: gold spans that the entry finds and no source does. right: of what the entry adds to documents that it "
    "was not made from, what is gold exactly; at least: the lower bound of that share, with each document as one "
    "trial. New spans are in texts that nobody has labelled, and leave out those of the suggestions above."
)


def suggestions_view(found: SuggestionList, most: int) -> Iterator[RenderableType]:
    """The first `most` suggestions, or why there is none."""
    if not found.suggestions:
        yield wrapped(_none(found))
        return
    for one in found.suggestions[:most]:
        yield from _entry(one)
        yield ""
    yield _read(found)
    left = len(found.suggestions) - most
    if left > 0:
        yield f"{number_of(left, 'more suggestion')}: `--top {len(found.suggestions)}` shows all."
    yield f"`loop weak suggest --accept {found.suggestions[0].number}` writes the first one into weak.toml."
    yield ""
    yield Text(_LEGEND, style="dim")


def accepted_view(done: Accepted) -> Iterator[RenderableType]:
    """What stands in the file now."""
    for one in done.entries:
        yield f"{one.number} stands in {done.file.name}, in the source {one.source}."
    yield "`loop weak apply` asks what is new; `loop weak report` then says what it is worth."


def _entry(one: SuggestedEntry) -> Iterator[RenderableType]:
    head = Text(f"{one.number}  ", style="bold").append(one.label, style="cyan").append(f"  {one.kind}", style="dim")
    yield head
    yield from (wrapped(f"  {line}") for line in _content(one))
    found = f"{number_of(one.spans, 'span')} in {number_of(one.documents, 'document')}"
    yield f"  labelled: {found}; right: {one.right:,} of {one.judged:,}, at least {one.low:.0%}"
    yield f"  adds {number_of(one.new_spans, 'span')} to {number_of(one.new_texts, 'text')}:"
    yield from map(_example, one.examples)


def _content(one: SuggestedEntry) -> Iterator[str]:
    """A line for each key that says what is found."""
    for key, value in one.keys.items():
        if key == "terms":
            yield ", ".join(f'"{term}"' for term in value)
        elif key == "pattern":
            yield str(value)
        elif key not in ("kind", "label"):
            yield f"{key}: {value}"


def _example(one: SpanExample) -> Text:
    """One line, cut at its end where it is too long, with the span in brackets."""
    before, after = visible(one.before), visible(one.after)
    made = Text("    ")
    made.append(f"…{before[-_LEFT:]}" if len(before) > _LEFT else before, style="dim")
    made.append(f"[{visible(one.span)}]", style="bold cyan")
    made.append(after, style="dim")
    made.truncate(WIDTH, overflow="ellipsis")
    return made


def _read(found: SuggestionList) -> str:
    read = f"{number_of(found.labelled, 'labelled text')} and {number_of(found.unlabelled, 'text')}"
    of_all = f" (of {found.open_texts:,})" if found.unlabelled < found.open_texts else ""
    return f"Read: {read} that nobody has labelled{of_all}."


def _none(found: SuggestionList) -> str:
    if not found.labelled:
        return (
            "Nothing is labelled yet, and suggestions are made from gold. Label some texts and run `loop pull`, or "
            "take in labelled texts with `loop import`."
        )
    if not found.unlabelled:
        return "Every text is labelled, so an entry would add to none. `loop import` takes in more texts."
    return (
        f"Nothing to suggest from {number_of(found.labelled, 'labelled text')}: no term and no pattern that the "
        "sources lack is gold in two documents or more, is right surely enough, and adds to texts that nobody has "
        "labelled. More gold may bring some."
    )
