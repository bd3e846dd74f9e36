"""A folder that Hugging Face's `datasets` loads: one table for each split."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from loop.files.writing.texts import IOB2, TaggedText, tag_names
from ner.errors import InputError
from ner.labels import LabelSet
from store.database.schema import SPLITS


def write_datasets(out: Path, texts: Iterable[TaggedText], labels: LabelSet, scheme: str = IOB2) -> None:
    """Write labelled texts to a folder that does not exist yet, whole or not at all; in flat memory.

    The columns are id, text, doc, meta (an object as JSON, or null), tokens, token_offsets ([start, end] of each token
    in the text), ner_tags (class labels) and spans (the exact gold). Raises InputError.
    """
    if out.exists():
        raise InputError("no folder is overwritten", value=str(out), next_step="Name a folder that does not exist.")
    try:
        with TemporaryDirectory(prefix=f".{out.name}.", suffix=".part", dir=out.absolute().parent) as draft:
            _write(Path(draft), texts, labels, scheme).replace(out)
    except OSError as error:
        raise InputError(f"{out} can be written", value=str(error), next_step="Choose another place.") from error


def _write(draft: Path, texts: Iterable[TaggedText], labels: LabelSet, scheme: str) -> Path:
    """The finished folder in `draft`, beside the tables that it was made from."""
    import datasets
    from datasets.arrow_writer import ArrowWriter

    datasets.disable_progress_bars()
    features = _features(tag_names(labels.types, scheme))
    writers: dict[str, Any] = {}
    for one in texts:
        split = one.source.split
        if split not in writers:
            writers[split] = ArrowWriter(features=features, path=str(draft / f"{split}.arrow"))
        writers[split].write(features.encode_example(_row(one, scheme)))
    if not writers:
        raise InputError("a datasets folder has a labelled text", value="none", next_step="Label or import some first.")
    for writer in writers.values():
        writer.finalize()
    tables = {split: datasets.Dataset.from_file(str(draft / f"{split}.arrow")) for split in SPLITS if split in writers}
    datasets.DatasetDict(tables).save_to_disk(str(draft / "folder"))
    return draft / "folder"


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
