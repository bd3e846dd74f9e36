"""`loop export-data`: the store's texts and gold, in a format of files or as a folder that `datasets` loads.

Texts are read and written one after another; only `spacy` holds all of them in memory.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy.orm import Session

from loop.files.words import joined_tokens
from loop.files.writing.conll import write_conll
from loop.files.writing.datasets_folder import write_datasets
from loop.files.writing.docbin import docbin_bytes
from loop.files.writing.jsonl import write_doccano, write_jsonl
from loop.files.writing.label_studio import ANNOTATIONS, write_label_studio
from loop.files.writing.texts import IOB2, StoredText, TaggedText
from loop.settings.whole_files import whole_file
from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig
from ner.labels import LabelSet
from store.database.schema import SPLITS, Project
from store.database.session import Store
from store.documents import each_document
from store.gold import each_labelled

JSONL, CONLL, DATASETS, SPACY, DOCCANO, LABEL_STUDIO = "jsonl", "conll", "datasets", "spacy", "doccano", "label-studio"
OUTPUTS = (JSONL, CONLL, DATASETS, SPACY, DOCCANO, LABEL_STUDIO)
# A trainer takes a text of these formats for one that was labelled.
_ONLY_LABELLED = (CONLL, DATASETS)
_OPTIONS = {"tags": ("--tags", (CONLL, DATASETS)), "plain": ("--plain", (CONLL,)), "kind": ("--as", (LABEL_STUDIO,))}


@dataclass(frozen=True)
class ExportOptions:
    """How a format is written. None is the format's default, and all that a format without such a choice takes.

    tags: the tag scheme of conll and datasets. plain: conll without comment lines. kind: whether label-studio holds the
    gold as annotations or as predictions.
    """

    tags: str | None = None
    plain: bool | None = None
    kind: str | None = None


@dataclass(frozen=True)
class Exported:
    """What was written.

    unlabelled: how many of the documents are written without gold. left_out: unlabelled texts that are not written,
    since the format cannot say that a text is unlabelled. in_doubt: how many of these two have an annotation of which
    something was not understood. cut_spans: spans that begin or end inside a token; tags cover
    the whole tokens that they touch. untagged_spans: those of them without a tag, since a longer span has the token.
    respaced: texts that plain CoNLL holds with other white space. plain: whether the file holds tokens and tags alone.
    """

    path: Path
    format: str
    documents: int = 0
    spans: int = 0
    unlabelled: int = 0
    left_out: int = 0
    in_doubt: int = 0
    cut_spans: int = 0
    untagged_spans: int = 0
    respaced: int = 0
    plain: bool = False


def export_data(
    store: Store,
    project: Project,
    out: Path,
    file_format: str,
    splits: Collection[str] = SPLITS,
    options: ExportOptions | None = None,
) -> Exported:
    """Write the documents of these splits to `out`, whole or not at all. A file is replaced, a folder is not.

    Raises InputError for an unknown format, for an option that the format does not take, and for a place that cannot be
    written.
    """
    chosen = options or ExportOptions()
    _check(file_format, out, chosen)
    counts: Counter[str] = Counter()
    with store.read() as session:
        texts = _counted(stored_texts(session, project, splits), counts, labelled_only=file_format in _ONLY_LABELLED)
        if file_format == DATASETS:
            labels = _labels(session, project, splits)
            write_datasets(out, _tagged(texts, counts), labels, chosen.tags or IOB2)
        elif file_format == SPACY:
            content = docbin_bytes(_tagged(texts, counts))
            with whole_file(out) as stream:
                stream.buffer.write(content)
        else:
            with whole_file(out) as stream:
                stream.writelines(_lines(file_format, project, texts, counts, chosen))
    return Exported(out, file_format, plain=chosen.plain is True, **counts)


def stored_texts(session: Session, project: Project, splits: Collection[str]) -> Iterator[StoredText]:
    """The live documents of these splits, oldest first, each with its gold if there is any; in flat memory.

    Spans whose labels left the config are written, too: they are in doubt here, and may be right elsewhere.
    """
    labelled = each_labelled(session, project.id, splits)
    following = next(labelled, None)
    for document in each_document(session, project.id, splits):
        spans, in_doubt = None, False
        if following is not None and following.document_id == document.document_id:
            spans, in_doubt = following.spans, following.spans is None
            following = next(labelled, None)
        yield StoredText(
            external_id=document.external_id,
            text=document.text,
            spans=spans,
            split=document.split,
            group=document.group_key if document.group_key != document.content_hash else None,
            meta=document.meta,
            in_doubt=in_doubt,
        )


def _lines(
    file_format: str, project: Project, texts: Iterator[StoredText], counts: Counter[str], options: ExportOptions
) -> Iterator[str]:
    if file_format == CONLL:
        tagged = _tagged(texts, counts, plain=options.plain is True)
        return write_conll(tagged, options.tags or IOB2, plain=options.plain is True)
    if file_format == LABEL_STUDIO:
        return write_label_studio(texts, LabelConfig.parse(project.label_config), options.kind or ANNOTATIONS)
    return write_doccano(texts) if file_format == DOCCANO else write_jsonl(texts)


def _check(file_format: str, out: Path, options: ExportOptions) -> None:
    if file_format not in OUTPUTS:
        raise InputError(f"a format is one of {', '.join(OUTPUTS)}", value=file_format, next_step="Name one of them.")
    for name, (option, formats) in _OPTIONS.items():
        if getattr(options, name) is not None and file_format not in formats:
            raise InputError(
                f"{option} goes with --format {' or '.join(formats)}",
                value=f"--format {file_format}",
                next_step=f"Leave {option} out, or choose another format.",
            )
    if file_format != DATASETS and out.is_dir():
        raise InputError("a file is written to a file", value=str(out), next_step="Name a file, such as data.jsonl.")


def _counted(texts: Iterable[StoredText], counts: Counter[str], *, labelled_only: bool) -> Iterator[StoredText]:
    for one in texts:
        counts["in_doubt"] += one.in_doubt
        if one.spans is None and labelled_only:
            counts["left_out"] += 1
            continue
        counts["documents"] += 1
        counts["unlabelled"] += one.spans is None
        counts["spans"] += len(one.spans or ())
        yield one


def _tagged(texts: Iterable[StoredText], counts: Counter[str], *, plain: bool = False) -> Iterator[TaggedText]:
    for one in map(TaggedText.of, texts):
        counts["cut_spans"] += one.aligned.cut
        counts["untagged_spans"] += one.aligned.untagged
        counts["respaced"] += plain and joined_tokens(one.words)[0] != one.source.text
        yield one


def _labels(session: Session, project: Project, splits: Collection[str]) -> LabelSet:
    """The project's labels, and then the labels that left its config and that labelled texts still bear."""
    labelled = each_labelled(session, project.id, splits)
    borne = {span.label for one in labelled for span in one.spans or ()}
    return LabelSet((*project.labels, *sorted(borne - set(project.labels))))
