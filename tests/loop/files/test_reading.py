"""What shows only in a whole file: the controls that its labels stand under."""

from __future__ import annotations

import pytest

from loop.files.reading import Reading
from ner.errors import InputError
from ner.label_studio.results import OTHER_LABELS
from ner.spans import Span
from tests.loop.files.read import reading, record

TEXT = "Ms Bol left Riga"


def region(control: str, target: str, start: int, end: int, label: str) -> dict[str, object]:
    value = {"start": start, "end": end, "text": TEXT[start:end], "labels": [label]}
    return {"from_name": control, "to_name": target, "type": "labels", "value": value}


def export(*results: list[dict[str, object]]) -> Reading:
    tasks = [{"id": n, "data": {"text": TEXT}, "annotations": [{"id": n, "result": r}]} for n, r in enumerate(results)]
    return reading(tasks)


def spans(found: Reading) -> list[tuple[Span, ...] | None]:
    return [one.spans for item in found.records() for one in record(item).annotations]


def test_the_only_labels_control_of_a_file_is_read_and_said():
    found = export([region("ner", "doc", 3, 6, "PER")], [])
    assert spans(found) == [(Span(3, 6, "PER"),), ()]
    assert "'ner' over 'doc', the only one there" in found.said[0]


def test_all_labels_controls_of_a_file_over_one_object_are_read_and_said():
    found = export([region("people", "doc", 3, 6, "PER"), region("places", "doc", 12, 16, "LOC")], [])
    assert spans(found) == [(Span(3, 6, "PER"), Span(12, 16, "LOC")), ()]
    assert "'people' over 'doc' and 'places' over 'doc', all over one object" in found.said[0]


def test_labels_over_several_objects_are_refused_since_each_may_be_the_text():
    with pytest.raises(InputError, match="loop init DIR --config"):
        export([region("ner", "title", 3, 6, "PER"), region("ner", "body", 12, 16, "LOC")], [])


def test_beside_the_controls_of_the_project_another_control_leaves_its_texts_in_doubt():
    found = export([region("label", "text", 3, 6, "PER")], [region("ner", "doc", 12, 16, "LOC")])
    assert spans(found) == [(Span(3, 6, "PER"),), None]
    doubtful = record(list(found.records())[1]).annotations[0]
    assert [item.reason for item in doubtful.set_aside] == [OTHER_LABELS]


def test_offsets_of_another_unit_are_converted_and_said_and_the_stored_result_stays_as_it_came():
    text = "\U0001f692 Bol left Riga by train"
    told = {"start": 3, "end": 6, "text": "Bol", "labels": ["PER"]}
    silent = {"start": 12, "end": 16, "labels": ["LOC"]}  # UTF-16 units, and no words to prove them by
    result = [{"from_name": "label", "to_name": "text", "type": "labels", "value": value} for value in (told, silent)]
    found = reading([{"id": 1, "data": {"text": text}, "annotations": [{"id": 1, "result": result}]}])
    (item,) = found.records()
    (annotation,) = record(item).annotations
    assert [text[span.start : span.end] for span in annotation.spans or ()] == ["Bol", "Riga"]
    assert annotation.result == result
    assert "UTF-16" in found.said[0]
