"""`loop import`, `loop export-data`, `loop label`: data in, data out, and weak votes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer

from loop import console
from loop.cli.invocation import Invocation, command
from ner.errors import ConfigError


class SplitName(StrEnum):
    """Where a document stands."""

    POOL = "pool"
    TRAIN = "train"
    HOLDOUT = "holdout"


class InputFormat(StrEnum):
    """What a file to import may be."""

    AUTO = "auto"
    JSONL = "jsonl"
    LABEL_STUDIO = "label-studio"
    CONLL = "conll"


class OutputFormat(StrEnum):
    """What data is exported as."""

    JSONL = "jsonl"
    CONLL = "conll"
    DATASETS = "datasets"


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "import", "loop import train.jsonl --split train")(import_files)
    command(app, "export-data", "loop export-data gold.jsonl --split train --split holdout")(export_data)
    command(app, "label", "loop label")(label)


def import_files(
    invocation: Invocation,
    files: Annotated[list[Path], typer.Argument(metavar="FILE", help="Files to import.")],
    split: Annotated[
        SplitName,
        typer.Option(help="pool: a share of it, drawn at random by `doc`, is the holdout. train, holdout: all of it."),
    ] = SplitName.POOL,
    file_format: Annotated[
        InputFormat, typer.Option("--format", help="JSON Lines, Label Studio's JSON export, or two-column CoNLL.")
    ] = InputFormat.AUTO,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Set records that break a rule aside, with the reason, and go on.")
    ] = False,
) -> int | None:
    """Store texts, with their spans where they have some.

    A JSON Lines record has `text`, and by choice `spans` ({start, end, label}, half-open, in characters), `id`, `doc`
    (texts of one doc stay in one split), `meta` and `weak`. Without `spans` a text is unlabelled; `spans: []` says
    that it holds no entity. Labels are renamed by [label_map] of loop.toml. A file is checked whole
    before anything of it is stored, and importing it again adds nothing, or what an interrupted import left out.
    """
    from loop.files.importing import import_file

    done = []
    for path in files:
        ticker = console.Ticker(f"{path.name}: records read", quiet=invocation.as_json)
        done.append(
            import_file(
                invocation.store,
                invocation.project,
                path,
                split.value,
                file_format=file_format.value,
                label_map=invocation.settings.label_map,
                skip_bad=skip_bad,
                progress=ticker,
            )
        )
    columns = ("file", "records", "added", "known", "labelled", "pool", "train", "holdout")
    rows = [
        (one.file, one.records, one.added, one.known, one.labelled, *(one.splits.get(name, 0) for name in columns[5:]))
        for one in done
    ]
    invocation.answer({"files": done}, console.table("", columns, rows), *(note for one in done for note in notes(one)))
    return 0


def notes(one: object) -> list[str]:
    """What a person should know of an import beyond its counts."""
    from loop.files.importing import Imported

    assert isinstance(one, Imported)
    said = [f"{one.votes:,} weak votes stored."] if one.votes else []
    if one.dropped_labels:
        dropped = ", ".join(f"{label} {count:,}" for label, count in sorted(one.dropped_labels.items()))
        said.append(f"Dropped by the label map: {dropped}.")
    said += [f"Set aside: {count:,} x {reason}." for reason, count in sorted(one.set_aside.items())]
    if one.kept_elsewhere:
        said.append(f"{one.kept_elsewhere:,} known documents stand in another split and stay there.")
    if one.revived:
        said.append(f"{one.revived:,} documents whose task was deleted are back, with the labels of this file.")
    if one.not_held_out:
        said.append(f"{one.not_held_out:,} went to train: a model was trained on them, so they cannot be held out.")
    return said


def export_data(
    invocation: Invocation,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file, or for datasets the folder, to write.")],
    file_format: Annotated[
        OutputFormat, typer.Option("--format", help="datasets: tokens, ner_tags (IOB2), text and spans.")
    ] = OutputFormat.JSONL,
    split: Annotated[list[SplitName] | None, typer.Option(help="Only these splits; may be given twice.")] = None,
) -> int | None:
    """Write the texts and their gold. JSON Lines hold the unlabelled ones too, without `spans`.

    CoNLL and datasets hold the labelled ones; their tokens are cut at white space and wherever a span ends. A file
    appears whole or not at all.
    """
    from loop.files.exporting import export_data as export
    from store.schema import SPLITS

    splits = [one.value for one in split] if split else list(SPLITS)
    done = export(invocation.store, invocation.project, out, file_format.value, splits)
    said = f"{done.documents:,} texts with {done.spans:,} spans written to {done.path}"
    left_out = f", {done.unlabelled:,} unlabelled ones left out" if file_format != OutputFormat.JSONL else ""
    invocation.answer(done, said + left_out + ".")
    return 0


def label(invocation: Invocation) -> int | None:
    """Let the labelling functions vote on every text that may be trained on.

    The functions are those of the file that weak.functions of loop.toml names. `loop retrain` learns from the majority
    of their votes as long as nobody has labelled anything.
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
