"""`loop weak suggest`: entries of weak.toml that the gold speaks for."""

from __future__ import annotations

from typing import Annotated

import typer

from loop.cli.invocation import Invocation, command
from ner.errors import InputError


def register(group: typer.Typer) -> None:
    """Add this command to the group `loop weak`."""
    command(group, "suggest", "loop weak suggest --accept 31245 --accept 71231")(suggest)


def suggest(
    invocation: Invocation,
    accept: Annotated[
        list[str] | None,
        typer.Option(metavar="N", help="Write the suggestion of this number into weak.toml; several: N,N or again."),
    ] = None,
    top: Annotated[int, typer.Option(metavar="NUMBER", min=1, help="Show so many; --json has all.")] = 10,
) -> int | None:
    """Suggest gazetteer entries and patterns that the gold has and no source has yet, those first that add most.

    The sources are first asked about texts that are new to them. What an entry would add is judged on documents that
    it was not made from, and each suggestion comes with a lower bound of its precision there. The holdout is never
    looked at. Examples are of texts that nobody has labelled.

    A suggestion keeps its number as long as its content is the same, whatever gold comes in meanwhile. --accept writes
    all suggestions that it names into weak.toml, or none; `loop weak apply` then asks the new sources.
    """
    from loop.cli.views.weak_suggest import accepted_view, suggestions_view
    from loop.weak.accepting import accept as write
    from loop.weak.suggesting import suggest as find

    numbers = _numbers(accept or [])
    found = find(
        invocation.store,
        invocation.settings,
        invocation.project,
        asked=invocation.ticker("texts asked about"),
        tried=invocation.ticker("entries tried"),
    )
    if accept:
        done = write(invocation.store, invocation.settings, invocation.project, found.ranked, numbers)
        invocation.answer(done, *accepted_view(done))
    else:
        invocation.answer(found.told, *suggestions_view(found.told, top))
    return 0


def _numbers(given: list[str]) -> list[int]:
    """The numbers of `N` and `N,N`."""
    words = [word for one in given for word in one.replace(",", " ").split()]
    for word in words or given:
        if not word.isdecimal():
            raise InputError(
                "a suggestion is accepted by the number beside it",
                value=word,
                next_step="`loop weak suggest` shows suggestions and their numbers.",
            )
    return [int(word) for word in words]
