from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.errors import InputError
from ner.label_config import Control, LabelConfig
from ner.label_studio import (
    INVERTED,
    NOT_A_SPAN,
    OTHER_CONTROL,
    OUTSIDE_CONFIG,
    OUTSIDE_TEXT,
    REASONS,
    SEVERAL_LABELS,
    TEXT_REFUSED,
    UNSUPPORTED_OBJECT,
    clip_score,
    read_result,
    task_text,
    to_result,
)
from ner.spans import OVERLAPS, Span

CONFIG = LabelConfig((Control("label", ("OS", "VERSION")),), "text", "body")
TEXT = "On  Windows 10 \U0001f600 now"


def region(start: Any = 4, end: Any = 11, *labels: Any, **fields: Any) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": "not to be trusted", "labels": list(labels) or ["OS"]}
    return {"id": "a", "from_name": "label", "to_name": "text", "type": "labels", "value": value, **fields}


def reasons(result: object, text: str = TEXT) -> list[str]:
    read = read_result(result, text, CONFIG)
    assert read.spans == ()
    return [item.reason for item in read.set_aside]


def test_offsets_are_trusted_and_the_text_in_the_region_is_not() -> None:
    read = read_result([region(12, 14, "VERSION"), region()], TEXT, CONFIG)
    assert read.spans == (Span(4, 11, "OS"), Span(12, 14, "VERSION"))
    assert (read.set_aside, read.trimmed) == ((), ())


def test_offsets_count_code_points() -> None:
    (span,) = read_result([region(15, 16)], TEXT, CONFIG).spans
    assert TEXT[span.start : span.end] == "\U0001f600"


def test_each_label_is_read_and_written_with_its_own_control() -> None:
    config = LabelConfig((Control("systems", ("OS",)), Control("numbers", ("VERSION", "OS"))), "text", "body")
    spans = (Span(4, 11, "OS"), Span(12, 14, "VERSION"))
    result = to_result(spans, TEXT, config)
    assert [region["from_name"] for region in result] == ["systems", "numbers"]
    assert read_result(result, TEXT, config).spans == spans
    assert read_result([{**result[0], "from_name": "numbers"}], TEXT, config).spans == spans[:1]


def test_an_empty_result_is_an_annotation_without_entities() -> None:
    assert read_result([], TEXT, CONFIG).set_aside == ()


def test_a_score_of_the_model_does_not_become_a_persons() -> None:
    assert read_result([region(score=0.3)], TEXT, CONFIG).spans == (Span(4, 11, "OS", None),)


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        (region(4, 11, "HARDWARE"), OUTSIDE_CONFIG),
        (region(4, len(TEXT) + 1), OUTSIDE_TEXT),
        (region(-1, 3), OUTSIDE_TEXT),
        (region(11, 4), INVERTED),
        (region(4, 4), INVERTED),
        (region(2, 4), INVERTED),  # only the two spaces
        (region(4, 11, "OS", "VERSION"), SEVERAL_LABELS),
        (region(from_name="mood", type="choices", value={"choices": ["good"]}), OTHER_CONTROL),
        (region(from_name="second"), OTHER_CONTROL),
        (region(to_name="title"), OTHER_CONTROL),
        ({"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}, NOT_A_SPAN),
        (region(type="hypertextlabels", from_name="h"), UNSUPPORTED_OBJECT),
        (region(type="paragraphlabels"), UNSUPPORTED_OBJECT),
        (region(from_name="h", value={"start": "/p[1]", "startOffset": 0}), UNSUPPORTED_OBJECT),
        (region("4", "11"), NOT_A_SPAN),
        (region(4.0, 11.0), NOT_A_SPAN),
        (region(False, True), NOT_A_SPAN),
        (region(None, 11), NOT_A_SPAN),
        (region(value=None), NOT_A_SPAN),
        (region(value={"start": 4, "end": 11}), NOT_A_SPAN),
        (region(value={"start": 4, "end": 11, "labels": []}), NOT_A_SPAN),
        (region(value={"start": 4, "end": 11, "labels": "OS"}), NOT_A_SPAN),
        (region(4, 11, ["OS"]), NOT_A_SPAN),
        (region(4, 11, None), NOT_A_SPAN),
        (region(value={"labels": ["OS"]}), NOT_A_SPAN),
        (region(type=None), NOT_A_SPAN),
        (region(type="choices"), NOT_A_SPAN),
        (region(from_name=None), NOT_A_SPAN),
        (region(from_name=["label"]), NOT_A_SPAN),
        ({}, NOT_A_SPAN),
        ("label", NOT_A_SPAN),
        (None, NOT_A_SPAN),
    ],
)
def test_a_region_that_cannot_be_learned_from_is_set_aside_with_its_reason(wrong: object, reason: str) -> None:
    read = read_result([region(12, 14, "VERSION"), wrong], TEXT, CONFIG)
    assert read.spans == (Span(12, 14, "VERSION"),)
    assert [(item.reason, item.payload) for item in read.set_aside] == [(reason, wrong)]


@pytest.mark.parametrize("result", [None, {}, "text", 3, {"result": []}])
def test_a_result_that_is_no_list_is_set_aside_whole(result: object) -> None:
    assert reasons(result) == [NOT_A_SPAN]


def test_the_longest_of_overlapping_regions_is_kept_and_the_other_set_aside_as_drawn() -> None:
    short, long = region(4, 11, id="short"), region(4, 14, "VERSION", id="long")
    read = read_result([short, long], TEXT, CONFIG)
    assert read.spans == (Span(4, 14, "VERSION"),)
    assert [(item.reason, item.payload["id"]) for item in read.set_aside] == [(OVERLAPS, "short")]


def test_a_region_drawn_twice_counts_once() -> None:
    read = read_result([region(id="first"), region(id="second")], TEXT, CONFIG)
    assert read.spans == (Span(4, 11, "OS"),)
    assert [item.payload["id"] for item in read.set_aside] == ["second"]


def test_one_label_written_twice_is_one_label() -> None:
    assert read_result([region(4, 11, "OS", "OS")], TEXT, CONFIG).spans == (Span(4, 11, "OS"),)


def test_whitespace_at_the_ends_of_a_region_is_not_part_of_its_span() -> None:
    read = read_result([region(2, 12)], TEXT, CONFIG)
    assert (read.spans, read.trimmed) == ((Span(4, 11, "OS"),), (Span(2, 12, "OS"),))


def test_labels_are_renamed_before_they_are_looked_up() -> None:
    result = [region(4, 11, "Platform"), region(12, 14, "VERSION"), region(0, 2, "Other")]
    read = read_result(result, TEXT, CONFIG, {"Platform": "OS", "Other": "MISC"})
    assert read.spans == (Span(4, 11, "OS"), Span(12, 14, "VERSION"))
    assert [item.reason for item in read.set_aside] == [OUTSIDE_CONFIG]


@pytest.mark.parametrize("text", ["", "  ", "a\0b", "\ud83d"])
def test_a_refused_text_sets_its_result_aside_whole(text: str) -> None:
    read = read_result([region()], text, CONFIG)
    assert [item.reason for item in read.set_aside] == [TEXT_REFUSED]
    assert read.set_aside[0].payload["result"] == [region()]


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 30)
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["label", "text"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["from_name", "to_name", "type", "value", "start", "end", "labels"]),
            inner,
            max_size=6,
        )
    ),
    max_leaves=30,
)
loose_regions = st.builds(
    region, json_values, json_values, st.sampled_from(["OS", "VERSION", "X"]) | json_values
) | st.builds(region, st.integers(-2, 24), st.integers(-2, 24), st.sampled_from(["OS", "X"]))


@given(st.lists(loose_regions | json_values, max_size=8) | json_values)
def test_no_json_crashes_the_reader_and_no_region_is_lost(result: Any) -> None:
    read = read_result(result, TEXT, CONFIG)
    assert {item.reason for item in read.set_aside} <= set(REASONS)
    assert len(read.spans) + len(read.set_aside) == (len(result) if isinstance(result, list) else 1)
    for span in read.spans:
        assert TEXT[span.start : span.end].strip() == TEXT[span.start : span.end] != ""


def test_spans_come_back_from_the_regions_they_became() -> None:
    spans = (Span(4, 11, "OS", 0.9), Span(12, 14, "VERSION", 0.5))
    result = json.loads(json.dumps(to_result(spans, TEXT, CONFIG)))
    assert [item["score"] for item in result] == [0.9, 0.5]
    assert [item["value"]["text"] for item in result] == ["Windows", "10"]
    assert read_result(result, TEXT, CONFIG).spans == tuple(span.without_score() for span in spans)


def test_every_region_has_its_own_id_even_for_equal_spans() -> None:
    result = to_result([Span(0, 2, "OS"), Span(0, 2, "OS"), Span(4, 11, "OS")], TEXT, CONFIG)
    assert len({item["id"] for item in result}) == 3


def test_a_span_without_a_score_becomes_a_region_without_one() -> None:
    assert "score" not in to_result([Span(0, 2, "OS")], TEXT, CONFIG)[0]


@pytest.mark.parametrize(
    ("score", "shown"), [(1.0000001, 1.0), (-0.1, 0.0), (float("nan"), 0.0), (float("inf"), 1.0), (0.25, 0.25)]
)
def test_scores_are_clipped_for_the_server(score: float, shown: float) -> None:
    assert clip_score(score) == shown
    assert to_result([Span(0, 2, "OS", score)], TEXT, CONFIG)[0]["score"] == shown


@pytest.mark.parametrize("span", [Span(0, 99, "OS"), Span(3, 3, "OS"), Span(0, 2, "HARDWARE")])
def test_a_span_the_server_would_mistreat_is_refused(span: Span) -> None:
    with pytest.raises(InputError):
        to_result([span], TEXT, CONFIG)


def test_the_text_of_a_task_is_under_the_configs_field() -> None:
    assert task_text({"id": 1, "data": {"body": TEXT, "text": "other"}}, CONFIG) == TEXT


def test_the_only_field_of_a_task_imported_as_plain_text_is_the_text() -> None:
    assert task_text({"data": {"$undefined$": TEXT}}, CONFIG) == TEXT


@pytest.mark.parametrize(
    ("task", "named"),
    [
        ({"data": {"text": "x"}}, "'body'.*'text'"),
        ({"data": {"title": {"body": "x"}}}, "'body'.*'title.body'"),
        ({"data": {"body": None}}, "'body'.*got null"),
        ({"data": {"body": {"de": "x"}}}, "'body'.*'de'"),
        ({"data": "x"}, "`data`"),
        ({}, "`data`"),
        (None, "`data`"),
        ([], "`data`"),
    ],
)
def test_a_task_without_its_text_is_refused_with_the_fields_it_has(task: object, named: str) -> None:
    with pytest.raises(InputError, match=named):
        task_text(task, CONFIG)
