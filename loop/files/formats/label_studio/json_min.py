"""Label Studio's JSON-MIN: the data of a task, and beside it the answers of one annotation, each under its control.

`{"text": ..., "id": 1, "label": [{start, end, text, labels}], "annotator": 1, "annotation_id": 5, ...}`. A task with
several annotations stands there once for each, and a task without an annotation has the `annotation_id` null. The rows
of Label Studio's CSV hold the same.

Some of a project is not in these files: skipped annotations, the regions of controls that the label config no longer
has, and which annotation is ground truth. Source: `label_studio_sdk.converter`, version 2.1.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from loop.files.formats.json_shapes.shapes import JsonShape, Place
from loop.files.formats.label_studio.export_json import EXPORT_AS_JSON, task_record
from loop.files.records import ANNOTATION_KEYS, SEVERAL_ANNOTATIONS, Problem, Record
from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig, NotLearned

NAME, TABLE = "json-min", "label-studio-csv"
ROWS = (NAME, TABLE)
NOTE = (
    "Label Studio's JSON-MIN and CSV leave out skipped annotations, regions of controls that its label config no "
    "longer has, and which annotation is ground truth. Its JSON export holds all of these."
)
_ANNOTATION = {"annotation_id": "id", "annotator": "completed_by"}
_TIMES = ("created_at", "updated_at", "lead_time")
_BOOKKEEPING = frozenset({"id", *_ANNOTATION, *_TIMES, "agreement", "history"})
# How the server renames a data field that bears the name of a control, in a CSV.
RENAMED = "_data_"
_ANSWERS = ("choices", "taxonomy", "rating", "number", "datetime", "pairwise", "ranker")


def claims(value: Any) -> bool:
    """Whether a value is a record of JSON-MIN: by the keys of its annotation, or by a list of labelled regions."""
    if not isinstance(value, dict) or isinstance(value.get("data"), dict):
        return False
    return "annotation_id" in value or any(key != "spans" and _has_labels(answer) for key, answer in value.items())


def record(value: Mapping[str, Any], place: Place) -> Record:
    """The record of one row; `joined` puts the rows of one task together.

    Raises InputError for an annotation without the id of its task: a row whose ids were swapped would be taken for one
    that somebody annotated.
    """
    if value.get("id", 0) is None and value.get("annotation_id") is not None:
        step = "Export the project again, as JSON."
        raise InputError("a row has the id of its task", value="null under `id`", next_step=step)
    task = task_of(value, place.source.config)
    if not place.source.texts_only:
        _refuse_other_answers(task["data"])
    return task_record(task, place)


SHAPE = JsonShape(
    name=NAME,
    title="JSON-MIN of Label Studio: {text, <control>: [{start, end, labels}], annotation_id}",
    claims=claims,
    record=record,
    note=NOTE,
)


def task_of(value: Mapping[str, Any], config: LabelConfig) -> dict[str, Any]:
    """The task that a row was made of, with one annotation, or with none where nobody annotated."""
    targets = {control.name: config.to_name for control in config.controls}
    targets |= {control.name: control.to_names[0] for control in config.others if control.name not in targets}
    data: dict[str, Any] = {}
    regions: list[dict[str, Any]] = []
    for key, held in value.items():
        if key in _BOOKKEEPING or (held is None and (key in targets or key in ANNOTATION_KEYS)):
            continue
        if key in targets or _is_regions(held):
            regions += _regions(key, targets.get(key, config.to_name), held)
        else:
            data[_own_name(key, value)] = held
    task = {"id": value.get("id"), "data": data}
    if value.get("annotation_id") is None and not regions:
        return task
    about = {name: value.get(key) for key, name in _ANNOTATION.items()} | {key: value.get(key) for key in _TIMES}
    return {**task, "annotations": [{**about, "result": regions}]}


def joined(records: Iterable[Record | Problem]) -> Iterator[Record | Problem]:
    """The records of a file, with one record for each task of JSON-MIN: the rows of a task follow one another.

    A task whose annotations differ stays without any: ground truth decides between annotations, and the rows do not
    say which annotation is ground truth. A row that stands there twice is left, since its id stands there twice.
    """
    rows: list[Record] = []
    for item in records:
        if rows and not _continues(rows, item):
            yield _together(rows)
            rows = []
        if isinstance(item, Record) and item.format in ROWS:
            rows.append(item)
        else:
            yield item
    if rows:
        yield _together(rows)


def _continues(rows: list[Record], item: Record | Problem) -> bool:
    first = rows[0]
    if isinstance(item, Problem) or (item.format, item.external_id, item.text) != (
        first.format,
        first.external_id,
        first.text,
    ):
        return False
    names = {one.source_id for row in rows for one in row.annotations}
    return bool(item.annotations) and not any(one.source_id in names for one in item.annotations)


def _together(rows: list[Record]) -> Record:
    first = rows[0]
    annotations = tuple(one for row in rows for one in row.annotations)
    if len({_labelled(one.result) for one in annotations}) <= 1:
        return replace(first, annotations=annotations)
    results = [list(one.result) for one in annotations]
    return replace(first, annotations=(), aside=(NotLearned(SEVERAL_ANNOTATIONS, {"results": results}),))


def _labelled(result: Iterable[Mapping[str, Any]]) -> str:
    """What an annotation says about spans, for comparing."""
    values = [region["value"] for region in result if region["type"].endswith("labels")]
    return "\n".join(sorted(json.dumps(value, sort_keys=True, default=str) for value in values))


def _refuse_other_answers(data: Mapping[str, Any]) -> None:
    for key in ANNOTATION_KEYS:
        if key in data:
            raise InputError(
                f"`{key}` of JSON-MIN is a list of regions, or it is not there",
                value=json.dumps(data[key], ensure_ascii=False)[:80],
                next_step=f"{EXPORT_AS_JSON} A project of another kind holds no entities.",
            )


def _regions(key: str, to_name: str, held: Any) -> list[dict[str, Any]]:
    """The answers under a control as regions of a result; what is wrong with them is seen when they are read."""
    items = held if isinstance(held, list) else [held]
    names = {"from_name": key, "to_name": to_name}
    return [{"id": f"{key}-{number}", **names, "type": _type(item), "value": item} for number, item in enumerate(items)]


def _type(item: Any) -> str:
    """The type of a region, by the keys of its value; one string is an answer of <Choices> or <TextArea>."""
    if not isinstance(item, dict):
        return "choices"
    named = next((key for key in item if key.endswith("labels") or key in _ANSWERS), None)
    return named or ("textarea" if isinstance(item.get("text"), list) else "labels")


def _is_regions(held: Any) -> bool:
    """Whether a value is a list of regions or of other answers, rather than data of the task."""
    return (
        isinstance(held, list)
        and bool(held)
        and all(isinstance(item, dict) for item in held)
        and any(_type(item) != "labels" or "labels" in item or {"start", "end"} <= set(item) for item in held)
    )


def _has_labels(held: Any) -> bool:
    return isinstance(held, list) and any(
        isinstance(item, dict) and isinstance(item.get("labels"), list) and {"start", "end"} <= set(item)
        for item in held
    )


def _own_name(key: str, value: Mapping[str, Any]) -> str:
    own = key.removeprefix(RENAMED)
    return own if own in value else key
