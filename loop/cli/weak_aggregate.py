"""`loop weak aggregate`: a file of votes becomes a file of spans."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from loop import console
from loop.cli.invocation import Invocation, command
from ner.errors import InputError


def register(group: typer.Typer) -> None:
    """Add this command to the group `loop weak`."""
    command(group, "aggregate", "loop weak aggregate votes.jsonl --gold gold.jsonl --out agreed.jsonl")(aggregate)


def aggregate(
    invocation: Invocation,
    votes: Annotated[Path, typer.Argument(metavar="VOTES", help="JSON Lines; gz of them; - for standard input.")],
    out: Annotated[Path, typer.Option(help="Write the spans to this file, whole or not at all.")],
    gold: Annotated[
        Path | None, typer.Option(help="Some of the texts with their right spans, in any format of `loop import`.")
    ] = None,
    method: Annotated[
        str, typer.Option(metavar="METHOD", help="auto, majority, generative, weighted or learned.")
    ] = "auto",
) -> int | None:
    """Make one answer of the votes of many sources on a text. No project is needed.

    A record of VOTES has a `text` and `weak`: [{start, end, label, source}], and may have an `id`. OUT gets a line of
    JSON for each text, in order: `{id, text, spans: [{start, end, label, score}]}`. Offsets are half-open and count
    characters (Unicode code points).

    majority: each source counts the same. generative: by how far the other sources agree with a source, type by type.
    weighted: by how right a source is on the gold. learned: a model of the votes and the words, taught by the gold.
    auto: the method that is best on the gold, the simpler one where the gold cannot tell; without gold, majority.

    With gold the answer has strict precision, recall and F1 on the labelled texts. No labelled text is answered by a
    method that saw its gold. A vote that breaks a rule is left out and named; the exit code is then 4.
    """
    from dataclasses import replace

    from loop.cli.views.weak_aggregate import view
    from loop.files.aggregating_votes import aggregate_file

    with console.stderr().status("aggregating the votes"):
        done = aggregate_file(votes, gold, method, out)
    f1 = None if done.f1 is None else done.f1.as_dict()
    invocation.answer({**replace(done, f1=None).__dict__, "f1": f1, "out": out}, *view(done, out))
    return InputError.exit_code if done.bad else 0
