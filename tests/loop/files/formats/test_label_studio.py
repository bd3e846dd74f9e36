"""Label Studio's own JSON: every annotation of a task, and what its JSON may lack."""

from __future__ import annotations

import json

import pytest

from loop.files.formats.label_studio import SAYS_NOTHING
from loop.files.records import Problem, Record
from tests.loop.files.read import problem, raw, record


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
        ([5], "one of these shapes"),
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
