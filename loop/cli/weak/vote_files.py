"""`loop weak import` and `loop weak aggregate`: votes that stand in files."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from loop import console
from loop.cli.data import FileOptions, SplitName
from loop.cli.invocation import Invocation, command
from ner.errors import InputError


def register(group: typer.Typer) -> None:
    """Add these commands to the group `loop weak`."""
    command(group, "import", "loop weak import votes.jsonl")(import_votes)
    command(group, "aggregate", "loop weak aggregate votes.jsonl --gold gold.jsonl --out agreed.jsonl")(aggregate)


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
    from loop.cli.views.vote_files import imported_view
    from loop.files.importing import import_votes as store_votes

    asked = replace(FileOptions().request(invocation), gold=with_gold)
    done = []
    for path in files:
        ticker = invocation.ticker(f"{path.name}: records read")
        done += store_votes(
            invocation.store, invocation.project, path, split.value, asked, dry_run=dry_run, progress=ticker
        )
    invocation.answer({"files": done}, *imported_view(done))
    return InputError.exit_code if any(one.bad for one in done) else 0


def aggregate(
    invocation: Invocation,
    votes: Annotated[Path, typer.Argument(metavar="VOTES", help="JSON Lines; gz of them; - for standard input.")],
    out: Annotated[Path, typer.Option(help="Write the spans to this file, whole or not at all.")],
    gold: Annotated[
        Path | None, typer.Option(help="Some of the texts with their right spans, in any format of `loop import`.")
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="METHOD", help="auto, majority, generative, weighted, learned or combined.")
    ] = "auto",
) -> int | None:
    """Make one answer of the votes of many sources on a text. No project is needed.

    A record of VOTES has a `text` and `weak`: [{start, end, label, source}], and may have an `id`. OUT gets a line of
    JSON for each text, in order: `{id, text, spans: [{start, end, label, score}]}`. Offsets are half-open and count
    characters (Unicode code points).

    majority: each source counts the same. generative: by how far the other sources agree with a source, type by type.
    weighted: by how right a source is on the gold. learned: a model of the votes and the words, taught by the gold.
    combined: the last three together.
    auto: combined, unless another method is clearly better on the gold; without gold, majority.

    With gold the answer has strict precision, recall and F1 on the labelled texts. No labelled text is answered by a
    method that saw its gold. A vote that breaks a rule is left out and named; the exit code is then 4.
    """
    from loop.cli.views.vote_files import aggregated_view
    from loop.files.aggregating_votes import aggregate_file

    with console.stderr().status("aggregating the votes"):
        done = aggregate_file(votes, gold, method, out)
    f1 = None if done.f1 is None else done.f1.as_dict()
    invocation.answer({**replace(done, f1=None).__dict__, "f1": f1, "out": out}, *aggregated_view(done, out))
    return InputError.exit_code if done.bad else 0
