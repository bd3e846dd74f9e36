"""`loop weak ...`: sources of weak labels, their votes, and what they are worth. `loop label` is `loop weak apply`."""

from __future__ import annotations

from typing import Annotated

import typer

from loop import console
from loop.cli.invocation import Invocation, command, who
from loop.cli.weak import suggest, vote_files
from ner.errors import InputError

_ABOUT = (
    "Weak labels: sources that vote on texts before anybody has labelled them, and what their votes are worth.\n\n"
    "A source is a Python function (weak.functions in loop.toml) or an entry of weak.toml."
)

SourceName = Annotated[str, typer.Argument(metavar="NAME", help="The name of the source.", show_default=False)]


def register(app: typer.Typer) -> None:
    """Add the group `weak` to `app`."""
    weak = typer.Typer(name="weak", help=_ABOUT, epilog="Example: loop weak apply", no_args_is_help=True)
    command(weak, "apply", "loop weak apply")(apply)
    command(weak, "report", "loop weak report --source NAME")(report)
    command(weak, "mute", "loop weak mute NAME")(mute)
    command(weak, "unmute", "loop weak unmute NAME")(unmute)
    command(weak, "try", 'loop weak try "Outlook hangs on Windows 11"')(try_text)
    command(weak, "explain", "loop weak explain 17")(explain)
    suggest.register(weak)
    vote_files.register(weak)
    app.add_typer(weak)
    command(app, "label", "loop label")(label)


def apply(invocation: Invocation) -> int | None:
    """Ask the sources of weak labels about every text that they were not asked about yet, and store their votes.

    A source that changed is asked about all texts again; the votes of a source that is gone from the files are deleted.
    Votes that were imported stay. A source that fails or takes too long on a text is left out on that text. What one
    run did not finish, the next run goes on with.

    A source that breaks a rule of its file is named with its line, and left out. The others are asked, and the exit
    code is 4.

    The setting weak.functions of loop.toml names the Python file of the labelling functions.
    """
    from loop.cli.views.weak_sources import applied_view
    from loop.weak.applying import label_weakly
    from loop.weak.sources import require_sources

    require_sources(invocation.settings)
    ticker = invocation.ticker("texts asked about")
    done = label_weakly(invocation.store, invocation.settings, invocation.project, progress=ticker)
    invocation.answer(done, *applied_view(done, console.stdout().width))
    return InputError.exit_code if done.problems else 0


def report(
    invocation: Invocation,
    source: Annotated[
        str | None, typer.Option(metavar="NAME", help="Everything about this source, type by type.")
    ] = None,
    wide: Annotated[bool, typer.Option("--wide", help="Every column, however wide the table is.")] = False,
) -> int | None:
    """Show what each source of weak labels says, how right that is on gold, and what the source is worth.

    Precision and worth are measured on the labelled texts that may be learned from, never on the holdout. The method
    that makes labels of votes does not learn from the gold of the text that it answers.
    """
    from loop.cli.views.weak_sources import ledger_view, source_view
    from loop.weak.ledger import ledger

    found = ledger(invocation.store, invocation.project, source)
    width = None if wide else console.stdout().width
    if source is not None:
        invocation.answer(found.source(source), *source_view(found, source, width))
    else:
        invocation.answer(found, *ledger_view(found, width))
    return 0


def mute(invocation: Invocation, name: SourceName) -> int | None:
    """Let the votes of a source count no more. They stay in the store.

    A source that does harm by the gold there is is muted by `loop retrain` and `loop run`, too, which say so. What a
    person decides stands until the source changes: the loop neither mutes nor unmutes it.
    """
    return _decide(invocation, name, True)


def unmute(invocation: Invocation, name: SourceName) -> int | None:
    """Let the votes of a muted source count again. The loop does not mute it until the source changes."""
    return _decide(invocation, name, False)


def _decide(invocation: Invocation, name: str, muted: bool) -> int | None:
    from loop.weak.muting import decide

    decide(invocation.store, invocation.project, name, muted, who())
    said = f"The votes of {name} {'do not count any more' if muted else 'count'}."
    invocation.answer({"source": name, "muted": muted}, said)
    return 0


def try_text(
    invocation: Invocation, text: Annotated[str, typer.Argument(metavar="TEXT", help="The text itself.")]
) -> int | None:
    """Ask the sources about a text, and show who votes what and what comes of it. No vote is stored.

    The answer of a prompted model is kept all the same, so that the same text is not paid again.
    """
    from loop.cli.views.weak_sources import explained_view
    from loop.weak.explaining import try_text
    from loop.weak.sources import require_sources

    require_sources(invocation.settings)
    found = try_text(invocation.store, invocation.settings, invocation.project, text)
    invocation.answer(found, *explained_view(found, invocation.project.labels))
    return InputError.exit_code if found.problems else 0


def explain(
    invocation: Invocation,
    document: Annotated[
        str, typer.Argument(metavar="DOC", help="The id that the document was imported with, or its number.")
    ],
) -> int | None:
    """Show who voted what on a document of the store, and what comes of it."""
    from loop.cli.views.weak_sources import explained_view
    from loop.weak.explaining import explain

    found = explain(invocation.store, invocation.project, document)
    invocation.answer(found, *explained_view(found, invocation.project.labels))
    return 0


def label(invocation: Invocation) -> int | None:
    """The same as `loop weak apply`."""
    return apply(invocation)
