"""Label Studio's import JSON: an array of tasks that its import takes as it is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import Any

from loop.files.writing.texts import StoredText
from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import to_result
from ner.label_studio.task_data import nested

ANNOTATIONS, PREDICTIONS = "annotations", "predictions"
_MODEL_VERSION = "gold"


def write_label_studio(texts: Iterable[StoredText], config: LabelConfig, kind: str = ANNOTATIONS) -> Iterator[str]:
    """The tasks under the project's data field and control names. kind: what the gold is written as.

    An unlabelled text is a task without annotations. Ids, groups and further fields stand in the `meta` of a task.
    Raises InputError for a label that the config lacks: Label Studio drops such predictions without a word.
    """
    before = "[\n"
    for one in texts:
        yield before + json.dumps(_task(one, config, kind), ensure_ascii=False, allow_nan=False)
        before = ",\n"
    yield "[]\n" if before == "[\n" else "\n]\n"


def _task(one: StoredText, config: LabelConfig, kind: str) -> dict[str, Any]:
    group = {} if one.group is None else {"doc": one.group}
    task: dict[str, Any] = {
        "data": nested(config.data_field, one.text),
        "meta": {**one.meta, **group, "id": one.external_id},
    }
    if one.spans is not None:
        result = _regions(one, config)
        said = {"result": result} if kind == ANNOTATIONS else {"result": result, "model_version": _MODEL_VERSION}
        task[kind] = [said]
    return task


def _regions(one: StoredText, config: LabelConfig) -> list[dict[str, Any]]:
    unknown = sorted({span.label for span in one.spans or ()} - set(config.labels))
    if unknown:
        raise InputError(
            "Label Studio's import takes the labels of the label config",
            value=f"{', '.join(unknown)} in {one.external_id}",
            next_step="Add the label to the label config, or export with --format jsonl.",
        )
    return to_result(one.spans or (), one.text, config)
