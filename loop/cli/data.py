"""`loop import` and `loop export-data`: data in, data out."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from loop.cli.invocation import Invocation, command
from loop.wording import number_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from loop.files.exporting import Exported
    from loop.files.reading import Request
    from loop.files.records import FileHints


class SplitName(StrEnum):
    """The split of a document."""

    POOL = "pool"
    TRAIN = "train"
    HOLDOUT = "holdout"


class InputFormat(StrEnum):
    """The format of a file to import; `auto` looks at its content."""

    AUTO = "auto"
    JSON = "json"
    CSV = "csv"
    CONLL = "conll"
    PARQUET = "parquet"
    DATASETS = "datasets"
    TEXT = "text"
    LABEL_STUDIO = "label-studio"
    JSON_MIN = "json-min"
    LABEL_STUDIO_CSV = "label-studio-csv"
    LABEL_STUDIO_CONLL = "label-studio-conll"
    BARE_TASKS = "bare-tasks"
    PRODIGY = "prodigy"
    HUGGING_FACE = "hugging-face"
    SPACY_JSON = "spacy-json"
    SPACY = "spacy"
    DOCCANO = "doccano"
    JSONL = "jsonl"


class SchemeName(StrEnum):
    """The scheme of the tags of tokens."""

    IOB1 = "iob1"
    IOB2 = "iob2"
    BIOES = "bioes"
    BILOU = "bilou"
    BARE = "bare"


class OutputFormat(StrEnum):
    """The format of exported data."""

    JSONL = "jsonl"
    CONLL = "conll"
    DATASETS = "datasets"
    SPACY = "spacy"
    DOCCANO = "doccano"
    LABEL_STUDIO = "label-studio"


class WrittenTags(StrEnum):
    """The scheme of the tags of exported tokens."""

    IOB2 = "iob2"
    BILOU = "bilou"


class ResultKind(StrEnum):
    """What exported gold is for Label Studio."""

    ANNOTATIONS = "annotations"
    PREDICTIONS = "predictions"


FormatOption = Annotated[
    InputFormat,
    typer.Option("--format", metavar="FORMAT", help="What the file is; auto looks at its content."),
]
ColumnsOption = Annotated[
    str | None,
    typer.Option(
        metavar="TEXT,LABELS",
        help="CoNLL: the numbers of the columns of token and tag (-1: the last). Tables: the names of the columns.",
    ),
]
SkipBadOption = Annotated[bool, typer.Option("--skip-bad", help="Leave out the records that break a rule, and say so.")]


@dataclass(frozen=True)
class FileOptions:
    """How a file is to be read: the options that the commands share which read files of any format."""

    file_format: FormatOption = InputFormat.AUTO
    columns: ColumnsOption = None
    tag_scheme: Annotated[
        SchemeName | None, typer.Option("--tag-scheme", help="The scheme of the tags, where the file does not show it.")
    ] = None
    label_names: Annotated[
        str | None,
        typer.Option("--label-names", metavar="O,B-X,...", help="The names of the numbers in `ner_tags`, from 0 on."),
    ] = None
    skip_bad: SkipBadOption = False

    def request(self, invocation: Invocation) -> Request:
        """How files are to be read by these options for the project of the invocation."""
        from loop.files.reading import Request
        from ner.label_studio.label_config import LabelConfig

        config = LabelConfig.parse(invocation.project.label_config)
        return Request(config, invocation.settings.label_map, self.file_format.value, self.hints())

    def hints(self) -> FileHints:
        """What these options say of a file whose content does not say it."""
        from loop.files.records import FileHints

        scheme = self.tag_scheme.value if self.tag_scheme else None
        return FileHints(_listed(self.columns), scheme, _listed(self.label_names))

    def words(self) -> list[str]:
        """These options as they stand in a command, without those that have their defaults."""
        given = {
            "--format": None if self.file_format == InputFormat.AUTO else self.file_format.value,
            "--columns": self.columns,
            "--tag-scheme": self.tag_scheme and self.tag_scheme.value,
            "--label-names": self.label_names,
        }
        words = [f"{name}={value}" for name, value in given.items() if value]
        return [*words, "--skip-bad"] if self.skip_bad else words


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "import", "loop import train.jsonl --split train")(import_files)
    command(app, "export-data", "loop export-data gold.jsonl --split train --split holdout")(export_data)


def import_files(
    invocation: Invocation,
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE", help="Files, archives, or folders of `datasets`; - for standard input."),
    ],
    split: Annotated[
        SplitName,
        typer.Option(
            help="Where the documents go. pool: a share of them, drawn at random, is held out. train or holdout: all."
        ),
    ] = SplitName.POOL,
    *,
    reading: FileOptions,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Store nothing; show what would become of the files.")
    ] = False,
) -> int | None:
    """Store the texts of files, with the entities that the files say.

    The format is found by the content: Label Studio's exports, doccano, Prodigy, spaCy, Hugging Face, CoNLL, CSV, plain
    text, and our own JSON Lines; gz and zip of them. A record of ours has a `text`. It may have `spans` ({start, end,
    label}; offsets are half-open and count characters), `id`, `doc`, `meta` and `weak`. Texts of one `doc` stay in one
    split. A text without `spans` is unlabelled; `spans: []` says that the text holds no entity.

    A text is gold only if all that the file says of it was understood. [label_map] of loop.toml renames labels, or says
    with "O" that a label is no entity here. A file is checked whole before anything of it is stored. The same import
    again adds nothing, or what an interrupted import left out.
    """
    from loop.cli.views.files import view
    from loop.files.importing import import_file

    done = []
    for path in files:
        ticker = invocation.ticker(f"{path.name}: records read")
        done += import_file(
            invocation.store,
            invocation.project,
            path,
            split.value,
            reading.request(invocation),
            skip_bad=reading.skip_bad,
            dry_run=dry_run,
            progress=ticker,
        )
    invocation.answer({"files": done}, *view(done, invocation.project.labels))
    return 0


def _listed(given: str | None) -> tuple[str, ...]:
    return tuple(part.strip() for part in given.split(",")) if given else ()


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
    split: Annotated[
        list[SplitName] | None, typer.Option(help="Only this split; may be given again. By default all.")
    ] = None,
    tags: Annotated[
        WrittenTags | None, typer.Option(help="The tags of conll and datasets.", show_default="iob2")
    ] = None,
    plain: Annotated[
        bool,
        typer.Option(
            "--plain",
            help="conll without the comment lines that hold ids and exact texts, for tools that refuse them.",
        ),
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
    from store.database.schema import SPLITS

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
        yield f"{number_of(done.respaced, 'text')} got other white space: plain CoNLL keeps tokens alone."
