"""`loop weak ...`: sources of weak labels, their votes, and what they are worth. `loop label` is `loop weak apply`."""

from __future__ import annotations

import typer

from loop import console
from loop.cli import weak_import
from loop.cli.invocation import Invocation, command

_ABOUT = (
    "Weak labels: sources that vote on texts before anybody has labelled them, and what their votes are worth.\n\n"
    "A source is a Python function (weak.functions in loop.toml) or an entry of weak.toml."
)


def register(app: typer.Typer) -> None:
    """Add the group `weak` to `app`."""
    weak = typer.Typer(name="weak", help=_ABOUT, epilog="Example: loop weak apply", no_args_is_help=True)
    command(weak, "apply", "loop weak apply")(apply)
    weak_import.register(weak)
    weak.callback()(_nothing)
    app.add_typer(weak)
    command(app, "label", "loop label")(label)


def _nothing() -> None:
    """A group with a single command would otherwise be that command."""


def apply(invocation: Invocation) -> int | None:
    """Ask the sources of weak labels about every text that they were not asked about yet, and store their votes.

    A source that changed is asked about all texts again; the votes of a source that is gone from the files are deleted.
    Votes that were imported stay. A source that fails or takes too long on a text is left out on that text. What one
    run did not finish, the next run goes on with.

    The setting weak.functions of loop.toml names the Python file of the labelling functions.
    """
    from loop.cli.views.weak import applied_view
    from loop.weak.applying import label_weakly
    from loop.weak.sources import require_sources

    require_sources(invocation.settings)
    ticker = console.Ticker("texts asked about", quiet=invocation.as_json)
    done = label_weakly(invocation.store, invocation.settings, invocation.project, progress=ticker)
    invocation.answer(done, *applied_view(done))
    return 0


def label(invocation: Invocation) -> int | None:
    """The same as `loop weak apply`."""
    return apply(invocation)
