"""Tasks as Label Studio imports them without `data`: `{"body": "..."}`, where the project shows the field `body`.

Nobody labelled such a text. A record with the key `text` is read as one of our own (`json_lines`); the result is the
same.
"""

from __future__ import annotations

from typing import Any

from loop.files.formats.json_shapes.shapes import JsonShape, Place, record_of, text_of
from loop.files.records import Record
from ner.label_studio.results import task_text
from ner.label_studio.task_data import MISSING, find_field, without_field


def _record(value: dict[str, Any], place: Place) -> Record:
    config = place.source.config
    if find_field(value, config.data_field) is MISSING:
        text_of(value, "text")  # which says what is missing
    return record_of(without_field(value, config.data_field), place, (), text=task_text({"data": value}, config))


SHAPE = JsonShape(
    name="bare-tasks",
    title="a task of Label Studio without `data`: {<the project's data field>: ...}",
    claims=lambda value: isinstance(value, dict) and "text" not in value,
    record=_record,
)
