"""`loop weak import`: votes that were made elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loop import console
from loop.cli.data import SplitName, request
from loop.cli.invocation import Invocation, command
from ner.errors import InputError


def register(group: typer.Typer) -> None:
    """Add this command to the group `loop weak`."""
    command(group, "import", "loop weak import votes.jsonl")(import_votes)


def import_votes(
    invocation: Invocation,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="JSON Lines; gz and zip of them; - for stdin.")],
    split: Annotated[
        SplitName, typer.Option(help="Where texts go that are not in the store yet, as in `loop import`.")
    ] = SplitName.POOL,
    with_gold: Annotated[bool, typer.Option("--with-gold", help="Take the `spans` of the file for gold.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Store nothing; show what would become of the files.")
    ] = False,
) -> int | None:
    """Store votes that were made elsewhere on the texts of the project.

    A record has a `text` and `weak`: [{start, end, label, source}]; offsets are half-open and count characters. It may
    have an `id`. The votes go to the document of this id and text, or to every document with this text. A text that is
    not in the store becomes a document, as by `loop import`. The `spans` of a record are not taken for gold, except
    with --with-gold. [label_map] of loop.toml renames labels.

    On the texts of the file, the votes of the file's sources take the place of what these sources said before. A vote
    that breaks a rule is left out and named, and the others are stored; the exit code is then 4.
    """
    from dataclasses import replace

    from loop.cli.views.weak_import import view
    from loop.files.importing import import_votes as store_votes

    asked = replace(request(invocation), gold=with_gold)
    done = []
    for path in files:
        ticker = console.Ticker(f"{path.name}: records read", quiet=invocation.as_json)
        done += store_votes(
            invocation.store, invocation.project, path, split.value, asked, dry_run=dry_run, progress=ticker
        )
    invocation.answer({"files": done}, *view(done))
    return InputError.exit_code if any(one.bad for one in done) else 0
