"""`loop export-data`: the store's texts and gold, in a format of files or as a folder that `datasets` loads."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from loop.files.records import Record
from loop.files.writing.conll import write_conll
from loop.files.writing.datasets_folder import write_datasets
from loop.files.writing.jsonl import write_jsonl
from loop.settings.whole_files import whole_file
from ner.errors import InputError
from ner.labels import LabelSet
from store.documents import stored_documents
from store.gold import labelled
from store.schema import SPLITS, Project
from store.session import Store

JSONL, DATASETS = "jsonl", "datasets"
WRITERS: Mapping[str, Callable[[Iterable[Record]], Iterator[str]]] = {JSONL: write_jsonl, "conll": write_conll}


@dataclass(frozen=True)
class Exported:
    """What was written. `unlabelled`: texts left out of a format that cannot say that a text is unlabelled."""

    path: Path
    format: str
    documents: int
    spans: int
    unlabelled: int


def export_data(
    store: Store, project: Project, out: Path, file_format: str, splits: Collection[str] = SPLITS
) -> Exported:
    """Write the documents of these splits to `out`, whole or not at all. A file is replaced, a folder is not.

    Tokens of CoNLL and datasets are cut at white space and at the ends of spans. JSON Lines alone hold unlabelled
    texts.
    """
    if file_format not in (*WRITERS, DATASETS):
        known = ", ".join((*WRITERS, DATASETS))
        raise InputError(f"a format is one of {known}", value=file_format, next_step="Name one of them.")
    records = read_store(store, project, splits)
    kept = [one for one in records if one.spans is not None or file_format == JSONL]
    if file_format == DATASETS:
        write_datasets(out, kept, _labels(project, kept))
    elif out.is_dir():
        raise InputError("a file is written to a file", value=str(out), next_step="Name a file, such as data.jsonl.")
    else:
        with whole_file(out) as stream:
            stream.writelines(WRITERS[file_format](kept))
    unlabelled = sum(one.spans is None for one in records)
    return Exported(out, file_format, len(kept), sum(len(one.spans or ()) for one in kept), unlabelled)


def read_store(store: Store, project: Project, splits: Collection[str]) -> list[Record]:
    """The live documents of these splits, oldest first, each with its gold if there is any.

    Spans whose labels left the config are written, too: they are in doubt here, and may be right elsewhere.
    """
    with store.read() as session:
        found = labelled(session, project.id, splits)
        spans = {item.document_id: item.spans for item in found.doubtful}
        spans |= {item.document_id: item.spans for item in found.gold}
        return [
            Record(
                where=document.external_id,
                text=document.text,
                external_id=document.external_id,
                spans=spans.get(document.document_id),
                group=document.group_key if document.group_key != document.content_hash else None,
                meta=document.meta,
                split=document.split,
            )
            for document in stored_documents(session, project.id, splits)
        ]


def _labels(project: Project, records: Collection[Record]) -> LabelSet:
    """The project's labels, and then the labels that left its config and that imported gold still bears."""
    borne = {span.label for record in records for span in record.spans or ()}
    return LabelSet((*project.labels, *sorted(borne - set(project.labels))))
