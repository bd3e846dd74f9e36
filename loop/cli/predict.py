"""`loop predict`: a model finds the entities of texts."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from loop import console
from loop.cli.data import ColumnsOption, FileOptions, FormatOption, InputFormat, SkipBadOption
from loop.cli.invocation import Invocation, command
from loop.wording import number_of


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    command(app, "predict", "loop predict tickets.jsonl --out spans.jsonl")(predict)


def predict(
    invocation: Invocation,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Any format of `loop import`; - for standard input.")],
    out: Annotated[
        Path | None, typer.Option(help="Write to this file, whole or not at all, instead of standard output.")
    ] = None,
    version: Annotated[
        str | None, typer.Option(metavar="VERSION", help="A model's version; by default the model in service.")
    ] = None,
    file_format: FormatOption = InputFormat.AUTO,
    columns: ColumnsOption = None,
    skip_bad: SkipBadOption = False,
) -> int | None:
    """Find the entities of texts, and write a line of JSON for each text, in the order of the file.

    A line is `{id, spans: [{start, end, label, score}]}`. Offsets are half-open and count characters (Unicode code
    points). A record without an id gets the number of its line or record. A blank text has an empty answer.

    The lines are JSON with and without --json. With --json, the message about --out and a failure are JSON, too.
    """
    from loop.files.predicting import predict as predicted
    from loop.files.predicting import read_texts
    from loop.settings.whole_files import whole_file

    read = read_texts(file, FileOptions(file_format, columns).request(invocation), skip_bad=skip_bad)
    texts = read.texts
    for note in read.said:
        console.stderr().print(note, highlight=False, markup=False, soft_wrap=True)
    tagger = invocation.tagger(version)
    ticker = invocation.ticker("texts done", len(texts))
    answers = predicted(tagger, texts, ticker)
    if out is None:
        sys.stdout.writelines(answer.line() for answer in answers)
        return 0
    with whole_file(out) as written:
        written.writelines(answer.line() for answer in answers)
    invocation.answer({"out": out, "texts": len(texts)}, f"{number_of(len(texts), 'text')} by {tagger.version}: {out}")
    return 0
