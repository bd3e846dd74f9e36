"""A folder that Hugging Face's `datasets` loads: one table for each split."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from loop.files.writing.texts import IOB2, TaggedText, tag_names
from ner.errors import InputError
from ner.labels import LabelSet
from store.schema import SPLITS


def write_datasets(out: Path, texts: Sequence[TaggedText], labels: LabelSet, scheme: str = IOB2) -> None:
    """Write labelled texts to a folder that does not exist yet, whole or not at all.

    The columns are id, text, doc, meta (an object as JSON, or null), tokens, token_offsets ([start, end] of each token
    in the text), ner_tags (class labels) and spans (the exact gold). Raises InputError.
    """
    if out.exists():
        raise InputError("no folder is overwritten", value=str(out), next_step="Name a folder that does not exist.")
    if not texts:
        raise InputError("a datasets folder has a labelled text", value="none", next_step="Label or import some first.")
    import datasets

    datasets.disable_progress_bars()
    features = _features(tag_names(labels.types, scheme))
    tables = {
        split: datasets.Dataset.from_list([_row(one, scheme) for one in texts if one.source.split == split], features)
        for split in SPLITS
        if any(one.source.split == split for one in texts)
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


def _features(tags: list[str]) -> Any:
    from datasets import ClassLabel, Features, List, Value

    text, number = Value("string"), Value("int64")
    return Features(
        {
            **dict.fromkeys(("id", "text", "doc", "meta"), text),
            "tokens": List(text),
            "token_offsets": List(List(number)),
            "ner_tags": List(ClassLabel(names=tags)),
            "spans": List({"start": number, "end": number, "label": text}),
        }
    )


def _row(one: TaggedText, scheme: str) -> dict[str, Any]:
    source = one.source
    return {
        "id": source.external_id,
        "text": source.text,
        "doc": source.group,
        "meta": json.dumps(dict(source.meta), ensure_ascii=False, allow_nan=False) if source.meta else None,
        "tokens": one.words,
        "token_offsets": [list(token) for token in one.tokens],
        "ner_tags": one.aligned.tags(len(one.tokens), scheme),
        "spans": [{"start": span.start, "end": span.end, "label": span.label} for span in source.spans or ()],
    }
