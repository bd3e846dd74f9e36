"""A folder that Hugging Face's `datasets` loads: one table for each split, with tokens, tags and spans."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loop.files.records import Record
from loop.files.words import tokens_of
from loop.files.writing.tags import tags_of
from ner.errors import InputError
from ner.labels import LabelSet
from store.schema import SPLITS


def write_datasets(out: Path, records: Sequence[Record], labels: LabelSet) -> None:
    """Write labelled records of the store to a folder that does not exist yet, whole or not at all.

    The columns are id, text, doc, tokens, ner_tags (class labels, IOB2) and spans. Raises InputError.
    """
    if out.exists():
        raise InputError("no folder is overwritten", value=str(out), next_step="Name a folder that does not exist.")
    if not records:
        raise InputError("a datasets folder has a labelled text", value="none", next_step="Label or import some first.")
    import datasets

    datasets.disable_progress_bars()
    tables = {
        split: datasets.Dataset.from_list([_row(one) for one in records if one.split == split], _features(labels))
        for split in SPLITS
        if any(one.split == split for one in records)
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

    text = Value("string")
    span = {"start": Value("int64"), "end": Value("int64"), "label": text}
    lists = {"tokens": List(text), "ner_tags": List(ClassLabel(names=list(labels.tags))), "spans": List(span)}
    return Features({"id": text, "text": text, "doc": text, **lists})


def _row(record: Record) -> dict[str, Any]:
    spans = record.spans or ()
    tokens = tokens_of(record.text, spans)
    return {
        "id": record.external_id,
        "text": record.text,
        "doc": record.group,
        "tokens": [record.text[start:end] for start, end in tokens],
        "ner_tags": tags_of(tokens, spans),
        "spans": [{"start": span.start, "end": span.end, "label": span.label} for span in spans],
    }
