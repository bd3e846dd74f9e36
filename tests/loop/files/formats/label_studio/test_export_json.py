"""Label Studio's own JSON: every annotation of a task, and what its JSON may lack."""

from __future__ import annotations

import json

import pytest

from loop.files.formats.label_studio.export_json import NOT_IN_FILE, ONLY_DRAFTS, ONLY_PREDICTIONS, SAYS_NOTHING
from loop.files.reading import LabelRule, Request, survey
from loop.files.records import Problem, Record
from ner.label_studio.label_config import Control, LabelConfig
from ner.spans import Span
from tests.loop.files.read import as_input, problem, raw, reading, record


def export(value: object) -> list[Record | Problem]:
    return raw(value, "label-studio")


def task(number: int, text: str = "Excel hangs", **more: object) -> dict[str, object]:
    return {"id": number, "data": {"text": text}, **more}


def test_tasks_and_annotations_of_an_export_are_read_with_who_when_and_whether_skipped():
    annotation = {
        "id": 5,
        "result": [],
        "completed_by": {"id": 2, "email": "a@b.c"},
        "lead_time": 3,
        "was_cancelled": True,
        "ground_truth": False,
        "created_at": "2026-11-01T00:00:00Z",
        "updated_at": "2026-11-02T00:00:00Z",
        "parent_prediction": 9,
    }
    read = record(export([task(1, annotations=[annotation])])[0])
    (one,) = read.annotations
    assert (read.external_id, read.text, read.where) == ("task:1", "Excel hangs", "record 1 (id 1)")
    assert (one.creator, one.lead_time, one.skipped, one.parent_prediction) == ("a@b.c", 3.0, True, 9)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ([5], "has a known shape"),
        ([{"data": {"body": "x"}}], "text"),
        ([task(1, annotations="no")], "`annotations` is a list"),
        ([task(1, annotations=[5])], "an annotation of an export is an object"),
    ],
)
def test_a_file_that_is_no_export_is_a_problem_that_says_why(value: object, rule: str):
    assert rule in str(problem(export(value)[0]).error)


def test_an_export_that_ends_in_the_middle_gives_its_whole_tasks_and_one_problem():
    raw = json.dumps([task(1), task(2)]).encode()[:-10]
    first, bad = export(raw)
    assert record(first).external_id == "task:1"
    assert "well-formed" in str(problem(bad).error)


def test_annotations_without_ids_get_the_same_ones_each_time_and_a_null_result_says_nothing():
    said = {"result": [], "ground_truth": False}
    for _ in range(2):
        read = record(export([task(1, annotations=[said, {**said, "id": 7}, {"result": None}])])[0])
        assert [one.source_id for one in read.annotations] == ["annotation-#1", "annotation-7", "annotation-#3"]
        assert [[item.reason for item in one.set_aside] for one in read.annotations] == [[], [], [SAYS_NOTHING]]


def test_completions_of_versions_before_1_0_are_annotations():
    old = {"id": 3, "result": [], "created_at": 1604000000, "lead_time": 4.2}
    (one,) = record(export([task(1, completions=[old])])[0]).annotations
    assert (one.source_id, one.lead_time, one.source_created_at.year) == ("annotation-3", 4.2, 2020)


def test_an_empty_export_holds_nothing():
    assert export([]) == []


LABELLED = {"from_name": "label", "to_name": "text", "type": "labels"}


def region(start: int, end: int, label: str = "X", **more: object) -> dict[str, object]:
    return {**LABELLED, "value": {"start": start, "end": end, "labels": [label]}, **more}


def test_one_task_alone_and_lines_of_tasks_are_read_as_an_array_of_tasks_is():
    one = task(1, annotations=[{"id": 5, "result": [region(0, 5)]}])
    for content in (one, [one], json.dumps(one) + "\n" + json.dumps(task(2)) + "\n"):
        (read, *_) = reading(content).records()
        assert record(read).annotations[0].spans == (Span(0, 5, "X"),)


def test_the_text_of_a_nested_field_is_found_and_a_task_of_another_kind_is_refused_with_its_fields():
    config = LabelConfig((Control("label", ("X",)),), "text", "doc.body")
    good, bad = (
        {"id": 1, "data": {"doc": {"body": "Excel hangs", "page": 4}}},
        {"id": 2, "data": {"image": "/data/upload/1/a.png"}},
    )
    read, refused = survey(as_input([good, bad]), Request(config), LabelRule(config)).records()
    assert (record(read).text, record(read).meta) == ("Excel hangs", {"doc": {"page": 4}})
    assert "image" in str(problem(refused).error)


def test_a_null_text_is_named_as_null():
    assert "null" in str(problem(export([{"id": 1, "data": {"text": None}}])[0]).error)


@pytest.mark.parametrize(
    ("more", "reason"),
    [
        ({"predictions": [{"result": [region(0, 5)]}]}, ONLY_PREDICTIONS),
        ({"annotations": [], "predictions": [17]}, ONLY_PREDICTIONS),
        ({"annotations": [], "drafts": [{"result": [region(0, 5)]}]}, ONLY_DRAFTS),
        ({"total_annotations": 2}, NOT_IN_FILE),
    ],
)
def test_a_text_without_annotations_is_unlabelled_and_what_the_task_holds_instead_is_counted(
    more: dict[str, object], reason: str
):
    read = record(export([task(1, **more)])[0])
    assert (read.annotations, [item.reason for item in read.aside]) == ((), [reason])


@pytest.mark.parametrize(
    "more",
    [
        {"annotation": [{"result": []}]},
        {"annotations_": [{"result": []}]},
        {"results": [{"result": []}]},
        {"entities": [{"start": 0, "end": 5}]},
        {"annotations": [{"id": 1, "results": []}]},
        {"annotations": [{"id": 1, "result": [], "was_canceled": True}]},
        {"annotations": [{"id": 1, "result": [], "was_cancelled": "perhaps"}]},
        {"annotations": [{"id": 1, "result": []}, {"id": 1, "result": []}]},
        {"annotations": "[]"},
        {"annotations": {"id": 1, "result": []}},
        {"annotations": ["x"]},
        {"annotations": [12]},
    ],
)
def test_a_task_whose_annotations_cannot_be_read_for_certain_is_refused(more: dict[str, object]):
    problem(export([task(1, **more)])[0])


def test_data_that_is_no_object_is_refused_where_annotations_stand_beside_it():
    assert "object `data`" in str(problem(export([{"id": 1, "data": "Excel", "annotations": []}])[0]).error)


def test_ids_and_flags_are_read_as_pandas_writes_them():
    said = {"id": 7.0, "result": [], "was_cancelled": 1.0, "ground_truth": "False", "completed_by": 2.0}
    read = record(export([{"id": 3.0, "data": {"text": "Excel hangs"}, "annotations": [said]}])[0])
    (one,) = read.annotations
    assert (read.external_id, one.source_id, one.creator) == ("task:3", "annotation-7", "2")
    assert (one.skipped, one.ground_truth) == (True, False)


def test_a_skip_and_an_annotator_that_is_no_name_leave_the_annotation_readable():
    said = [{"id": 1, "result": [], "skipped": True}, {"id": 2, "result": [], "completed_by": ["a"]}]
    first, second = record(export([task(1, annotations=said)])[0]).annotations
    assert (first.skipped, second.skipped, second.creator) == (True, False, None)


def test_notes_of_a_task_are_metadata_beside_its_further_fields():
    task = {"data": {"text": "Excel", "room": 4}, "meta": {"id": "a", "doc": "g", "year": 1999}, "annotations": []}
    (read,) = map(record, raw([task]))
    assert (read.external_id, read.group, read.meta) == ("a", "g", {"year": 1999, "room": 4})


SPAN = {"start": 0, "end": 5, "label": "X"}


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("entities", [SPAN]),
        ("Spans", [[0, 5, "X"]]),
        ("label", {"entities": [[0, 5, "X"]]}),
        ("ner_tags", ["B-X", "O"]),
        ("tags", ["O", "O"]),
        ("labels", [3, 0]),
        ("marks", [SPAN]),
        ("entities", json.dumps([SPAN])),
    ],
)
def test_entities_in_the_data_of_a_task_that_nobody_annotated_are_refused_by_name(key: str, value: object):
    refused, annotated = raw(
        [
            {"data": {"text": "Excel", key: value}},
            {"data": {"text": "Excel", key: value}, "annotations": [{"result": []}]},
        ]
    )
    assert f"{key}: " in str(problem(refused).error)
    assert record(annotated).annotations
    (wanted,) = raw([{"data": {"text": "Excel", key: value}}], texts_only=True)
    assert record(wanted).text == "Excel"


@pytest.mark.parametrize(
    ("key", "value"), [("label", "sport"), ("tags", ["sport", "news"]), ("entities", []), ("labels", None), ("n", [1])]
)
def test_other_data_of_a_task_is_metadata(key: str, value: object):
    (read,) = raw([{"data": {"text": "Excel", key: value}}])
    assert (record(read).annotations, record(read).meta) == ((), {key: value})
