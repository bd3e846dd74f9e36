"""`loop import`, `loop export-data` and `loop label`: data in, data out, and weak votes."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loop import console
from loop.cli.invocation import Invocation, command
from loop.report.wording import number_of
from ner.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loop.files.exporting import Exported
    from loop.files.importing import Imported


class SplitName(StrEnum):
    """The split of a document."""

    POOL = "pool"
    TRAIN = "train"
    HOLDOUT = "holdout"


class InputFormat(StrEnum):
    """The format of a file to import."""

    AUTO = "auto"
    JSONL = "jsonl"
    LABEL_STUDIO = "label-studio"
    CONLL = "conll"


class OutputFormat(StrEnum):
    """The format of exported data."""

    JSONL = "jsonl"
    CONLL = "conll"
    DATASETS = "datasets"
    SPACY = "spacy"
    DOCCANO = "doccano"
    LABEL_STUDIO = "label-studio"


class TagScheme(StrEnum):
    """The scheme of the tags of exported tokens."""

    IOB2 = "iob2"
    BILOU = "bilou"


class ResultKind(StrEnum):
    """What exported gold is for Label Studio."""

    ANNOTATIONS = "annotations"
    PREDICTIONS = "predictions"


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
        typer.Option(
            help="Where the documents go. pool: a share of them, drawn at random, is held out. train or holdout: all."
        ),
    ] = SplitName.POOL,
    file_format: Annotated[
        InputFormat,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="jsonl (JSON Lines), label-studio (its JSON export) or conll (two columns); auto looks at the file.",
        ),
    ] = InputFormat.AUTO,
    skip_bad: Annotated[
        bool,
        typer.Option(
            "--skip-bad", help="Set aside the records that break a rule, each with its reason, and store the rest."
        ),
    ] = False,
) -> int | None:
    """Store the texts of files, with their spans.

    A record of JSON Lines has a `text`. It may have `spans` ({start, end, label}; offsets are half-open and count
    characters), `id`, `doc`, `meta` and `weak`. Texts of one `doc` stay in one split. A text without `spans` is
    unlabelled; `spans: []` says that the text holds no entity. [label_map] of loop.toml renames labels.

    A file is checked whole before anything of it is stored. The same import again adds nothing, or what an interrupted
    import left out.
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


def notes(one: Imported) -> list[str]:
    """What people should know of an import beyond its counts."""
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
    out: Annotated[Path, typer.Argument(metavar="OUT", help="The file to write; for `datasets`, the folder.")],
    file_format: Annotated[
        OutputFormat,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="jsonl (JSON Lines), conll (tokens and tags), datasets (a folder that the library `datasets` loads), "
            "spacy (a DocBin; needs the extra `spacy`), doccano (its JSON Lines) or label-studio (its import JSON).",
        ),
    ] = OutputFormat.JSONL,
    split: Annotated[list[SplitName] | None, typer.Option(help="Only this split; give it again for another.")] = None,
    tags: Annotated[TagScheme | None, typer.Option(help="The tags of conll and datasets.", show_default="iob2")] = None,
    plain: Annotated[
        bool, typer.Option("--plain", help="conll without comment lines, for tools that cannot read them.")
    ] = False,
    kind: Annotated[
        ResultKind | None,
        typer.Option("--as", help="What the gold is for label-studio.", show_default="annotations"),
    ] = None,
) -> int | None:
    """Write the texts of the store and their gold.

    conll and datasets hold the labelled texts; the other formats hold unlabelled texts as well. Tokens are words,
    punctuation marks, and the single characters of scripts without spaces; spans have no part in where a token ends.
    The exact text and spans are written along, so that `loop import` gets back what was exported. A file appears whole
    or not at all.
    """
    from loop.files.exporting import ExportOptions
    from loop.files.exporting import export_data as export
    from store.schema import SPLITS

    splits = [one.value for one in split] if split else list(SPLITS)
    options = ExportOptions(tags=tags, plain=plain or None, kind=kind)
    done = export(invocation.store, invocation.project, out, file_format.value, splits, options)
    invocation.answer(done, *export_notes(done))
    return 0


def export_notes(done: Exported) -> Iterator[str]:
    """What was written, and what people should know of the file."""
    texts, spans = number_of(done.documents, "text"), number_of(done.spans, "span")
    yield f"{texts} with {spans} written to {done.path}."
    if done.unlabelled:
        yield f"Unlabelled among them: {number_of(done.unlabelled, 'text')}."
    if done.left_out:
        yield f"Left out: {number_of(done.left_out, 'unlabelled text')}. {done.format} takes every text for labelled."
    if done.in_doubt:
        yield f"In doubt, and written without labels or left out: {number_of(done.in_doubt, 'text')}."
    if done.cut_spans:
        kept = "." if done.plain else ", and the exact spans are written beside the tags."
        yield f"{number_of(done.cut_spans, 'span')} cut a token: the tags cover each token that a span touches{kept}"
    if done.untagged_spans:
        yield f"{number_of(done.untagged_spans, 'span')} of these got no tag: a longer span touches the same token."
    if done.respaced:
        yield f"{number_of(done.respaced, 'text')} got other white space: plain CoNLL has one space between tokens."


def label(invocation: Invocation) -> int | None:
    """Let the labelling functions vote on every text that may be trained on.

    The setting weak.functions of loop.toml names the Python file of the functions. `loop retrain` learns from the
    majority of the votes as long as nobody has labelled anything.
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
