from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.errors import InputError
from ner.label_studio.label_config import OTHER_CONTROL, UNSUPPORTED_OBJECT, Control, LabelConfig, NotLearned
from ner.label_studio.offsets import OffsetUnit
from ner.label_studio.results import (
    BLANK,
    DOUBTS,
    INVERTED,
    MALFORMED,
    MAPPED_AWAY,
    NO_LABEL,
    NOT_A_SPAN,
    OTHER_LABELS,
    OUTSIDE_CONFIG,
    OUTSIDE_TEXT,
    REASONS,
    SEVERAL_LABELS,
    TEXT_AT_OFFSETS,
    TEXT_REFUSED,
    WORDS_DIFFER,
    clip_score,
    read_result,
    task_text,
    to_result,
    unit_of_result,
)
from ner.spans import OVERLAPS, Span

CONFIG = LabelConfig.parse(
    """<View>
    <Labels name="label" toName="text"><Label value="OS"/><Label value="VERSION"/></Labels>
    <Text name="text" value="$body"/>
    <Choices name="mood" toName="text"><Choice value="good"/></Choices>
    <Labels name="parts" toName="title"><Label value="OS"/></Labels>
    <Text name="title" value="$title"/>
    <HyperTextLabels name="marks" toName="page"><Label value="OS"/></HyperTextLabels>
    <HyperText name="page" value="$page"/>
    </View>"""
)
TEXT = "On  Windows 10 \U0001f600 now"


def region(start: Any = 4, end: Any = 11, *labels: Any, **fields: Any) -> dict[str, Any]:
    value = {"start": start, "end": end, "labels": list(labels) or ["OS"]}
    return {"id": "a", "from_name": "label", "to_name": "text", "type": "labels", "value": value, **fields}


def repeating(start: Any, end: Any, words: Any, label: str = "OS") -> dict[str, Any]:
    drawn = region(start, end, label)
    return {**drawn, "value": {**drawn["value"], "text": words}}


def test_regions_are_read_in_the_order_of_the_text() -> None:
    read = read_result([region(12, 14, "VERSION"), region()], TEXT, CONFIG)
    assert read.spans == (Span(4, 11, "OS"), Span(12, 14, "VERSION"))
    assert (read.set_aside, read.in_doubt, read.doubts) == ((), False, ())


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
        (region(99, 99), OUTSIDE_TEXT),
        (region(11, 4), INVERTED),
        (region(4, 11, "OS", "VERSION"), SEVERAL_LABELS),
        (region(from_name="second"), OTHER_LABELS),
        (region(to_name="other"), OTHER_LABELS),
        (region(from_name="second", type="hypertextlabels"), OTHER_LABELS),
        (region(from_name="second", type="paragraphlabels"), OTHER_LABELS),
        (region(from_name="second", type="highlights"), OTHER_LABELS),
        (region(type="hypertextlabels"), OTHER_LABELS),
        (region(from_name="second", type="ner", value={"start": 4, "end": 11, "ner": ["OS"]}), MALFORMED),
        (region(type="ner"), MALFORMED),
        (region("four", "11"), MALFORMED),
        (region("-4", "11"), MALFORMED),
        (region("9" * 5000, "9" * 5000), MALFORMED),
        (region(4.5, 11.0), MALFORMED),
        (region(float("nan"), float("inf")), MALFORMED),
        (region(False, True), MALFORMED),
        (region(None, 11), MALFORMED),
        (region(value={"labels": ["OS"]}), MALFORMED),
        (region(value=None), MALFORMED),
        (region(value=[4, 11, "OS"]), MALFORMED),
        (region(value={"start": 4, "end": 11}), NO_LABEL),
        (region(value={"start": 4, "end": 11, "labels": []}), NO_LABEL),
        (region(value={"start": 4, "end": 11, "labels": None}), NO_LABEL),
        (region(value={"start": 4, "end": 11, "labels": "OS"}), MALFORMED),
        (region(4, 11, ["OS"]), MALFORMED),
        (region(4, 11, None), MALFORMED),
        (region(type=None), MALFORMED),
        (region(from_name=None), MALFORMED),
        (region(from_name=["label"]), MALFORMED),
        ({}, MALFORMED),
        ("label", MALFORMED),
        (None, MALFORMED),
    ],
)
def test_a_region_that_is_not_understood_makes_its_annotation_doubtful(wrong: object, reason: str) -> None:
    read = read_result([region(12, 14, "VERSION"), wrong], TEXT, CONFIG)
    assert read.spans == (Span(12, 14, "VERSION"),)
    assert [(item.reason, item.payload) for item in read.set_aside] == [(reason, wrong)]
    assert read.in_doubt
    assert read.doubts == read.set_aside


@pytest.mark.parametrize(
    ("other", "reason"),
    [
        (region(from_name="mood", type="choices", value={"choices": ["good"]}), OTHER_CONTROL),
        (region(from_name="parts", to_name="title"), OTHER_CONTROL),
        (region(from_name="marks", to_name="page", type="hypertextlabels"), UNSUPPORTED_OBJECT),
        (region(from_name="gone", type="choices", value={"choices": ["good"]}), OTHER_CONTROL),
        (region(from_name="gone", to_name="image", type="rectanglelabels", value={"x": 1}), OTHER_CONTROL),
        (region(from_name="gone", type="pins", value={"pins": 3}), OTHER_CONTROL),
        (region(type="textarea", value={"start": 4, "end": 11, "text": ["a remark"]}), NOT_A_SPAN),
        (region(type="choices", value={"start": 4, "end": 11, "choices": ["sure"]}), NOT_A_SPAN),
        ({"type": "relation", "from_id": "a", "to_id": "b", "direction": "right"}, NOT_A_SPAN),
        (region(4, 4), BLANK),
        (region(2, 4), BLANK),  # only the two spaces
        (region(4, 12), OVERLAPS),
    ],
)
def test_a_region_that_says_nothing_of_the_words_leaves_no_doubt(other: object, reason: str) -> None:
    read = read_result([region(4, 14, "VERSION"), other], TEXT, CONFIG)
    assert read.spans == (Span(4, 14, "VERSION"),)
    assert [(item.reason, item.payload) for item in read.set_aside] == [(reason, other)]
    assert not read.in_doubt
    assert read.doubts == ()


def test_a_type_is_read_in_any_case() -> None:
    assert read_result([region(type="Labels")], TEXT, CONFIG).spans == (Span(4, 11, "OS"),)


@pytest.mark.parametrize(("start", "end"), [(4.0, 11.0), ("4", "11"), (4, "11")])
def test_whole_numbers_are_offsets_however_they_are_written(start: object, end: object) -> None:
    assert read_result([region(start, end)], TEXT, CONFIG).spans == (Span(4, 11, "OS"),)


@pytest.mark.parametrize("result", [{}, "text", 3, {"result": []}])
def test_a_result_that_is_no_list_is_doubtful(result: object) -> None:
    read = read_result(result, TEXT, CONFIG)
    assert (read.spans, read.set_aside) == ((), (NotLearned(MALFORMED, result),))
    assert read.in_doubt


def test_no_result_at_all_says_nothing() -> None:
    read = read_result(None, TEXT, CONFIG)
    assert (read.spans, read.set_aside) == ((), (NotLearned(NOT_A_SPAN, None),))
    assert not read.in_doubt


def test_words_that_do_not_stand_at_the_offsets_are_shown_with_the_text_there() -> None:
    read = read_result([repeating(12, 14, "10"), repeating(3, 10, "Windows")], TEXT, CONFIG)
    assert read.spans == (Span(12, 14, "OS"),)
    (doubt,) = read.doubts
    assert doubt.reason == WORDS_DIFFER
    assert (doubt.payload["value"]["text"], doubt.payload[TEXT_AT_OFFSETS]) == ("Windows", " Window")


@pytest.mark.parametrize(
    ("drawn", "words"),
    [
        ("Nora  Falk", "Nora Falk"),  # Label Studio collapses spaces,
        ("Nora\nFalk", "Nora\\nFalk"),  # and writes a line end as two characters,
        ("Nora\r\nFalk", "Nora\\n\\nFalk"),  # of which CRLF is two.
        ("Nora \n\n Falk", "Nora\\n\\nFalk"),
        ("Nora\u00a0Falk", "Nora Falk"),
        ("Nora\u3000Falk", "Nora Falk"),
        ("Nora\u200bFalk", "NoraFalk"),
        ("Nora\u00adFalk", "Nora\u00adFalk"),
        ("\U0001f469\u200d\U0001f692", "\U0001f469\u200d\U0001f692"),
        ("e\u0301te\u0301", "\u00e9t\u00e9"),
        ("C:\\new\nfolder", "C:\\new\\nfolder"),
        ("Nora Falk", " Nora Falk "),
        ("Nora\tFalk", "Nora Falk"),
        ("Nora\tFalk", "Nora"),  # After a tab, Label Studio loses characters.
        ("word " * 20_000, "word " * 19_999 + "word"),
        ("Nora Falk", ""),
        ("Nora Falk", " "),
        ("Nora Falk", ["no string"]),
        ("Nora Falk", 3),
        ("Nora Falk", None),
    ],
)
def test_words_are_compared_as_people_see_them(drawn: str, words: object) -> None:
    text = f"met {drawn} today"
    read = read_result([repeating(4, 4 + len(drawn), words)], text, CONFIG)
    assert [text[span.start : span.end] for span in read.spans] == [drawn.strip()]
    assert not read.in_doubt


@pytest.mark.parametrize(
    ("drawn", "words"), [("Nora Fal", "Nora Falk"), ("ora Falk", "Nora Falk"), ("Nora\tFalk", "Falk"), ("a", "\u00e0")]
)
def test_words_that_lack_a_character_differ(drawn: str, words: str) -> None:
    read = read_result([repeating(4, 4 + len(drawn), words)], f"met {drawn} today", CONFIG)
    assert [item.reason for item in read.doubts] == [WORDS_DIFFER]


def test_a_blank_region_that_repeats_words_is_doubtful() -> None:
    assert [item.reason for item in read_result([repeating(4, 4, "Windows")], TEXT, CONFIG).doubts] == [WORDS_DIFFER]


def test_offsets_in_another_unit_are_converted() -> None:
    text = "\U0001f692\U0001f692 Graz and Lyon"
    read = read_result([repeating(5, 9, "Graz"), region(14, 18)], text, CONFIG, unit=OffsetUnit.UTF16)
    assert [text[span.start : span.end] for span in read.spans] == ["Graz", "Lyon"]


@pytest.mark.parametrize(("start", "end"), [(1, 4), (0, 99), (-1, 4)])
def test_an_offset_within_a_character_or_past_the_end_is_outside_in_any_unit(start: int, end: int) -> None:
    read = read_result([region(start, end)], "\U0001f692 Graz", CONFIG, unit=OffsetUnit.UTF16)
    assert [item.reason for item in read.doubts] == [OUTSIDE_TEXT]


def test_the_unit_of_an_annotation_is_proven_by_all_its_words() -> None:
    text = "\U0001f692 Graz, Lyon"
    proven = [repeating(3, 7, "Graz"), repeating(9, 13, "Lyon"), region(0, 2)]
    assert unit_of_result(proven, text, CONFIG) is OffsetUnit.UTF16
    assert unit_of_result([*proven, repeating(0, 2, "Oslo")], text, CONFIG) is OffsetUnit.CODE_POINTS
    assert unit_of_result([repeating(2, 6, "Graz")], text, CONFIG) is OffsetUnit.CODE_POINTS
    assert unit_of_result([region(3, 7)], text, CONFIG) is OffsetUnit.CODE_POINTS
    assert unit_of_result("no list", text, CONFIG) is OffsetUnit.CODE_POINTS


def test_regions_of_other_controls_prove_no_unit() -> None:
    other = {**repeating(3, 7, "Graz"), "from_name": "parts"}
    assert unit_of_result([other], "\U0001f692 Graz", CONFIG) is OffsetUnit.CODE_POINTS


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
    assert (read.spans, read.set_aside) == ((Span(4, 11, "OS"),), ())


def test_labels_are_renamed_before_they_are_looked_up() -> None:
    result = [region(4, 11, "Platform"), region(12, 14, "VERSION"), region(0, 2, "Other")]
    read = read_result(result, TEXT, CONFIG, {"Platform": "OS", "Other": "MISC"})
    assert read.spans == (Span(4, 11, "OS"), Span(12, 14, "VERSION"))
    assert [item.reason for item in read.doubts] == [OUTSIDE_CONFIG]


def test_a_label_map_does_not_drop_the_labels_that_it_lacks() -> None:
    read = read_result([region(4, 11, "Platform")], TEXT, CONFIG, {"Other": "OS"})
    assert [item.reason for item in read.doubts] == [OUTSIDE_CONFIG]


def test_a_label_that_is_mapped_to_o_is_no_entity() -> None:
    result = [region(4, 11), region(0, 2, "Thing")]
    read = read_result(result, TEXT, CONFIG, {"Thing": "O"})
    assert read.spans == (Span(4, 11, "OS"),)
    assert (read.set_aside, read.in_doubt) == ((NotLearned(MAPPED_AWAY, result[1]),), False)


def test_several_labels_are_one_where_the_map_says_so() -> None:
    result = [region(4, 11, "Platform", "OS", "Important")]
    read = read_result(result, TEXT, CONFIG, {"Platform": "OS", "Important": "O"})
    assert (read.spans, read.set_aside) == ((Span(4, 11, "OS"),), ())


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
            st.sampled_from(["from_name", "to_name", "type", "value", "start", "end", "labels", "text"]),
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
    assert read.in_doubt == bool({item.reason for item in read.set_aside} & DOUBTS)
    assert len(read.spans) + len(read.set_aside) == (len(result) if isinstance(result, list) else 1)
    for span in read.spans:
        assert TEXT[span.start : span.end].strip() == TEXT[span.start : span.end] != ""


@given(st.lists(st.sampled_from(["Anna", "Lyon", "東京", "\U0001f692", "سلام", "e\u0301"]), min_size=1), st.data())
def test_white_space_around_regions_changes_nothing_that_is_read(words: list[str], data: st.DataObject) -> None:
    text, clean, spaced = "", [], []
    for word in words:
        before, after = (data.draw(st.sampled_from([" ", "\n", "\r\n", "\t ", "\u00a0", "\u3000"])) for _ in range(2))
        start = len(text) + len(before)
        text += before + word + after
        drawn = data.draw(st.integers(len(text) - len(after), len(text)))
        begin = data.draw(st.integers(start - len(before), start))
        clean.append(repeating(start, start + len(word), word))
        spaced.append(repeating(begin, drawn, data.draw(st.sampled_from([word, text[begin:drawn]]))))
    read = read_result(spaced, text, CONFIG)
    assert read.spans == read_result(clean, text, CONFIG).spans
    assert (len(read.spans), read.set_aside) == (len(words), ())


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


def test_two_labels_on_the_same_words_leave_the_text_in_doubt() -> None:
    read = read_result([region(), region(4, 12, "VERSION"), region(12, 14, "VERSION")], TEXT, CONFIG)
    assert [item.reason for item in read.doubts] == [SEVERAL_LABELS, SEVERAL_LABELS]
    assert read.spans == (Span(12, 14, "VERSION"),)
    assert not read_result([region(), region()], TEXT, CONFIG).in_doubt
