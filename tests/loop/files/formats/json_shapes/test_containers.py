"""Files that hold their records inside another object, or a column at a time, are refused with the way to mend them."""

from __future__ import annotations

import pytest

from tests.loop.files.read import problem, raw, record

SPAN = {"start": 0, "end": 3, "label": "PER"}
ROW = {"text": "Pia left", "spans": [SPAN]}
TOKENS = {"tokens": ["Pia", "left"], "ner_tags": ["B-PER", "O"]}
ORIENT = "orient='records'"


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ({"text": {"0": "Pia left", "1": "a"}, "spans": {"0": [SPAN], "1": []}}, ORIENT),
        ({"text": {"0": "Pia left"}}, ORIENT),
        ({"0": ROW, "1": {"text": "a", "spans": []}}, ORIENT),
        ({"columns": ["text", "spans"], "index": [0], "data": [["Pia left", [SPAN]]]}, ORIENT),
        ({"schema": {"fields": [], "pandas_version": "1.4.0"}, "data": [{"index": 0, **ROW}]}, ORIENT),
        ({"text": ["Pia left", "a"], "spans": [[SPAN], []]}, "an object of lists"),
        ({"tokens": [["Pia"], ["a", "b"]], "ner_tags": [["B-PER"], ["O", "O"]]}, "an object of lists"),
        ({"data": [ROW]}, "jq -c '.data[]'"),
        ({"version": "1.0", "data": [ROW]}, "jq -c '.data[]'"),
        ({"train": [TOKENS], "test": [TOKENS]}, "jq -c '.train[]'"),
        ({"rows": [{"row_idx": 0, "row": TOKENS}], "features": [], "partial": False}, "jq -c '.rows[].row'"),
        ({"tasks": [{"id": 1, "data": {"text": "Pia left"}, "annotations": []}], "total": 1}, "jq -c '.tasks[]'"),
    ],
)
def test_a_value_that_holds_all_records_is_refused_with_the_way_to_take_them_out(value: object, said: str):
    (read,) = raw(value)
    assert said in str(problem(read).error)


@pytest.mark.parametrize(
    "value",
    [
        {"text": ["Pia", "left"]},
        {"text": "Pia left", "data": [{"text": "a"}]},
        {"text": "Pia left", "label": [[0, 3, "PER"]]},
        {"data": {"text": "Pia left"}},
        {"text": "Pia left", "data": [{"start": 0, "end": 3, "text": "Pia", "labels": ["PER"]}], "annotation_id": 1},
    ],
)
def test_a_record_is_not_taken_for_an_object_that_holds_records(value: object):
    (read,) = raw(value)
    assert record(read).text
