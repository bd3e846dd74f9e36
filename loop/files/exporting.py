"""`loop export-data`: the store's texts and gold as JSON Lines, CoNLL, or a folder that `datasets` loads."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loop.files.conll import DOCSTART, conll_lines, tags_of, tokens_of
from loop.files.jsonl import jsonl_line
from loop.settings.whole_files import whole_file
from ner.errors import InputError
from ner.labels import LabelSet
from ner.spans import Span
from store.documents import stored_documents
from store.gold import gold
from store.schema import SPLITS, Project
from store.session import Store

JSONL, CONLL, DATASETS = "jsonl", "conll", "datasets"
FORMATS = (JSONL, CONLL, DATASETS)


@dataclass(frozen=True)
class Row:
    """One live document; `spans` is its gold, None when nobody labelled it, `group` None when it stands alone."""

    external_id: str
    text: str
    spans: tuple[Span, ...] | None
    group: str | None
    split: str
    meta: dict[str, Any]


@dataclass(frozen=True)
class Exported:
    """What was written. `unlabelled` texts are left out of CoNLL and datasets, which have no way to say so."""

    path: Path
    format: str
    documents: int
    spans: int
    unlabelled: int


def export_data(
    store: Store, project: Project, out: Path, file_format: str, splits: Collection[str] = SPLITS
) -> Exported:
    """Write the documents of these splits to `out`, whole or not at all. A file is replaced, a folder is not.

    `datasets`: one table for each split that has rows, with id, text, doc, tokens, ner_tags (class labels, IOB2) and
    spans. Tokens are cut at white space and at the ends of spans, there and in CoNLL.
    """
    if file_format not in FORMATS:
        raise InputError(f"a format is one of {', '.join(FORMATS)}", value=file_format, next_step="Name one of them.")
    rows = read_rows(store, project, splits)
    kept = rows if file_format == JSONL else [row for row in rows if row.spans is not None]
    writers: dict[str, Callable[[], None]] = {
        JSONL: lambda: _write_lines(out, map(_jsonl, kept)),
        CONLL: lambda: _write_lines(out, _conll(kept)),
        DATASETS: lambda: _write_datasets(out, kept, _labels(project, kept)),
    }
    writers[file_format]()
    unlabelled = sum(row.spans is None for row in rows)
    return Exported(out, file_format, len(kept), sum(len(row.spans or ()) for row in kept), unlabelled)


def _labels(project: Project, rows: Iterable[Row]) -> LabelSet:
    """The project's labels; behind them those that left its config, and that imported gold still bears."""
    borne = {span.label for row in rows for span in row.spans or ()}
    return LabelSet((*project.labels, *sorted(borne - set(project.labels))))


def read_rows(store: Store, project: Project, splits: Collection[str]) -> list[Row]:
    """The live documents of these splits, oldest first, each with its gold if it has any."""
    with store.read() as session:
        spans = {item.document_id: item.spans for item in gold(session, project.id, splits)}
        return [
            Row(
                document.external_id,
                document.text,
                spans.get(document.document_id),
                document.group_key if document.group_key != document.content_hash else None,
                document.split,
                dict(document.meta),
            )
            for document in stored_documents(session, project.id, splits)
        ]


def _jsonl(row: Row) -> str:
    return jsonl_line(row.external_id, row.text, row.spans, row.group, row.meta)


def _conll(rows: Iterable[Row]) -> Iterator[str]:
    """Texts as lines; from the first that has a group on, -DOCSTART- parts groups and texts that stand alone."""
    group, grouped = None, False
    for row in rows:
        grouped = grouped or row.group is not None
        if grouped and (row.group is None or row.group != group):
            yield f"{DOCSTART}\tO\n\n"
        group = row.group
        yield conll_lines(row.text, row.spans or ())


def _write_lines(out: Path, lines: Iterable[str]) -> None:
    if out.is_dir():
        raise InputError("a file is written to a file", value=str(out), next_step="Name a file, such as data.jsonl.")
    with whole_file(out) as stream:
        stream.writelines(lines)


def _write_datasets(out: Path, rows: list[Row], labels: LabelSet) -> None:
    if out.exists():
        raise InputError("no folder is overwritten", value=str(out), next_step="Name a folder that does not exist.")
    if not rows:
        raise InputError("a datasets folder has a labelled text", value="none", next_step="Label or import some first.")
    import datasets

    datasets.disable_progress_bars()
    tables = {
        split: datasets.Dataset.from_list([_row(row) for row in rows if row.split == split], _features(labels))
        for split in SPLITS
        if any(row.split == split for row in rows)
    }
    draft = out.absolute().with_name(f".{out.name}.part")
    shutil.rmtree(draft, ignore_errors=True)
    try:
        datasets.DatasetDict(tables).save_to_disk(str(draft))
        draft.replace(out)
    except OSError as error:
        raise InputError(f"{out} can be written", value=str(error), next_step="Choose another place.") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _features(labels: LabelSet) -> Any:
    from datasets import ClassLabel, Features, List, Value

    span = {"start": Value("int64"), "end": Value("int64"), "label": Value("string")}
    return Features(
        {
            "id": Value("string"),
            "text": Value("string"),
            "doc": Value("string"),
            "tokens": List(Value("string")),
            "ner_tags": List(ClassLabel(names=list(labels.tags))),
            "spans": List(span),
        }
    )


def _row(row: Row) -> dict[str, Any]:
    spans = row.spans or ()
    tokens = tokens_of(row.text, spans)
    return {
        "id": row.external_id,
        "text": row.text,
        "doc": row.group,
        "tokens": [row.text[start:end] for start, end in tokens],
        "ner_tags": tags_of(tokens, spans),
        "spans": [{"start": span.start, "end": span.end, "label": span.label} for span in spans],
    }
