"""What Label Studio lists of a task, as what the store keeps: a document with its annotations, or why there is none.

Nothing on the server validates tasks or annotations, so any part may be missing or of another type. Nothing here raises
for what people can write, and nothing is dropped without a reason. The offsets of an annotation count in the text on
which it was made; when the text was edited since, nothing can be learned from the annotation.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy.orm import Session

from loop.files.formats.label_studio.export_json import annotation_of, as_id
from loop.files.records import as_moment
from loop.label_studio.client import LabelStudioError
from ner.documents import check_text
from ner.errors import InputError
from ner.label_studio.label_config import LabelConfig, NotLearned
from ner.label_studio.offsets import CODE_POINTS, OffsetUnit
from ner.label_studio.results import TEXT_REFUSED, read_result, task_text, unit_of_result
from ner.label_studio.task_data import without_field
from store.annotations import LABEL_STUDIO, NewAnnotation, NewSetAside
from store.documents import NewDocument, read_key
from store.tasks import SeenOn, seen_elsewhere, successors

MALFORMED_ANNOTATION = "malformed annotation"
TEXT_CHANGED = "text changed after the annotation"


@dataclass(frozen=True, slots=True)
class ReadTask:
    """A task whose text can be labelled. `malformed`: entries of its annotations that are no annotations.

    `units`: what the offsets of its annotations count, of those that do not count code points.
    """

    task_id: int
    document: NewDocument
    annotations: tuple[NewAnnotation, ...]
    malformed: tuple[NotLearned, ...]
    units: tuple[OffsetUnit, ...] = ()


@dataclass(frozen=True, slots=True)
class RefusedTask:
    """A task without a text that can be labelled, whole."""

    task_id: int
    aside: NewSetAside


def read_task(
    task: Mapping[str, Any], config: LabelConfig, label_map: Mapping[str, str] | None = None
) -> ReadTask | RefusedTask:
    """A task with `id`, `data`, `annotations`, `updated_at`, `is_labeled` as the task list gives it.

    label_map: renames the labels of its annotations, as in imported files. Raises LabelStudioError for a task listed
    without its annotations: to take that for none would delete them all.
    """
    task_id = int(task["id"])
    try:
        text = check_text(task_text(dict(task), config))
    except InputError as error:
        payload = {"rule": str(error), "data": task.get("data"), "annotations": task.get("annotations")}
        return RefusedTask(task_id, NewSetAside(task_reference(task_id), TEXT_REFUSED, payload))
    listed = task.get("annotations")
    if not isinstance(listed, list):
        raise LabelStudioError(
            "a task is listed with its annotations",
            value=f"{listed!r} for task {task_id}",
            next_step="Look into Label Studio's log; nothing of this task was changed here.",
        )
    good = [entry for entry in listed if isinstance(entry, dict) and as_id(entry.get("id")) is not None]
    bad = [entry for entry in listed if entry not in good]
    units = [unit_of_result(entry.get("result"), text, config) for entry in good]
    return ReadTask(
        task_id,
        _document(task, text, config),
        tuple(_annotation(entry, text, config, label_map, unit) for entry, unit in zip(good, units, strict=True)),
        tuple(NotLearned(MALFORMED_ANNOTATION, entry) for entry in bad),
        tuple(unit for unit in units if unit is not CODE_POINTS),
    )


def task_reference(task_id: int) -> str:
    """How set-aside tasks are named in the store."""
    return f"task:{task_id}"


def task_ids(references: Iterable[str]) -> set[int]:
    """The ids in references that `task_reference` made."""
    return {int(one.removeprefix("task:")) for one in references if one.startswith("task:")}


def by_several_people(annotations: Sequence[NewAnnotation]) -> bool:
    """Whether more than one person annotated the task; skips do not count."""
    return len({annotation.creator for annotation in annotations if not annotation.skipped}) > 1


def _document(task: Mapping[str, Any], text: str, config: LabelConfig) -> NewDocument:
    data, meta = task["data"], task.get("meta")
    notes = meta if isinstance(meta, dict) else {}
    rest = without_field(data, config.data_field)
    return NewDocument(
        text=text,
        external_id=read_key((data, notes), "id", "a document's id"),
        group=read_key((data, notes), "doc", "a group"),
        meta={**notes, **rest},
        ls_task_id=int(task["id"]),
        ls_updated_at=as_moment(task.get("updated_at")),
        is_labeled=task.get("is_labeled") is True,
    )


def _annotation(
    entry: Mapping[str, Any], text: str, config: LabelConfig, label_map: Mapping[str, str] | None, unit: OffsetUnit
) -> NewAnnotation:
    """The annotation as it was understood; one in doubt has no spans, so that no part of it is taken for the whole."""
    result = entry.get("result")
    read = read_result(result, text, config, label_map, unit)
    annotation = annotation_of(entry, LABEL_STUDIO, str(entry["id"]), _creator(entry.get("completed_by")))
    regions = [region for region in annotation.result if isinstance(region, dict)]
    told = replace(annotation, result=regions, spans=None, set_aside=read.set_aside)
    return replace(told, spans=read.spans) if isinstance(result, list) and not told.doubts else told


def _creator(value: Any) -> str | None:
    """`completed_by` is a number in lists and an object in single tasks."""
    name = value.get("id") if isinstance(value, dict) else value
    return str(name) if isinstance(name, str | int) and not isinstance(name, bool) else None


def without_spans_of_earlier_texts(
    session: Session, project_id: int, listed: Mapping[int, Sequence[NewAnnotation]]
) -> dict[int, list[NewAnnotation]]:
    """The annotations by document id; nothing is learned from an annotation that was made on an earlier text.

    That is known of an annotation on a document that took the place of an edited one, when the annotation was seen on
    other texts of the task and was not updated since: nobody looked at it again. An edit between two pulls, before the
    annotation was seen for the first time, leaves no trace to tell by.
    """
    hashes = successors(session, listed)
    names = [item.source_id for document in hashes for item in listed[document]]
    elsewhere = seen_elsewhere(session, project_id, names, hashes) if names else {}
    checked = {document: list(annotations) for document, annotations in listed.items()}
    for document, content_hash in hashes.items():
        checked[document] = [
            _unlearnable(item) if _made_on_another_text(item, content_hash, elsewhere.get(item.source_id, ())) else item
            for item in listed[document]
        ]
    return checked


def _made_on_another_text(annotation: NewAnnotation, content_hash: str, seen: Iterable[SeenOn]) -> bool:
    if annotation.source_updated_at is None:
        return False
    unchanged = [one for one in seen if one.source_updated_at == annotation.source_updated_at]
    return bool(unchanged) and all(one.content_hash != content_hash for one in unchanged)


def _unlearnable(annotation: NewAnnotation) -> NewAnnotation:
    aside = NotLearned(TEXT_CHANGED, {"result": [dict(region) for region in annotation.result]})
    return replace(annotation, spans=None, set_aside=(aside,))
