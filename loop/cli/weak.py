"""`loop weak ...`: sources of weak labels, their votes, and what they are worth. `loop label` is `loop weak apply`."""

from __future__ import annotations

import typer

from loop import console
from loop.cli import weak_import
from loop.cli.invocation import Invocation, command
from ner.errors import ConfigError

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
    """Let the sources of weak labels vote on the texts.

    The setting weak.functions of loop.toml names the Python file of the labelling functions. `loop retrain` learns from
    the majority of the votes as long as nobody has labelled anything.
    """
    from loop.weak.applying import label_weakly

    path = invocation.settings.weak_functions
    if path is None:
        raise ConfigError(
            "labelling functions stand in a file",
            value="weak.functions is not set",
            next_step='Write [weak] functions = "functions.py" into loop.toml.',
        )
    done = label_weakly(invocation.store, invocation.project, path)
    names = [*done.votes, *(name for name in done.failures if name not in done.votes)]
    rows = [(name, done.votes.get(name, 0), done.failures.get(name, 0)) for name in names]
    said = f"{done.voted:,} of {done.documents:,} texts have a vote."
    reasons = [f"{name} failed: {reason}" for name, reason in done.first_failures.items()]
    invocation.answer(done, console.table("", ("function", "votes", "failed on"), rows), said, *reasons)
    return 0


def label(invocation: Invocation) -> int | None:
    """The same as `loop weak apply`."""
    return apply(invocation)
