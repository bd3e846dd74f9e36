"""Our own records: what they hold is read, and a bad line is named."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.files.records import Problem, Record
from loop.files.writing.jsonl import write_jsonl
from loop.files.writing.texts import StoredText
from ner.spans import Span
from tests.loop.files.read import problem, raw, reading, record, spans


def jsonl(*lines: str | bytes) -> list[Record | Problem]:
    return raw(b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines), "jsonl")


def test_a_record_without_spans_is_unlabelled_and_one_with_an_empty_list_is_labelled_as_holding_none():
    unlabelled, none = jsonl('{"text": "a"}', '{"text": "a", "spans": []}')
    assert spans(unlabelled) is None
    assert spans(none) == ()


def test_id_doc_meta_and_votes_are_read_and_unknown_keys_are_kept_in_meta():
    line = {
        "id": 7,
        "doc": "post-1",
        "text": "Excel hangs",
        "meta": {"lang": "en"},
        "annotators": {"a": 1},
        "weak": [{"start": 0, "end": 5, "label": "SOFTWARE", "source": "names"}],
    }
    read = record(jsonl(json.dumps(line))[0])
    assert (read.external_id, read.group) == ("7", "post-1")
    assert read.meta == {"lang": "en", "annotators": {"a": 1}}
    assert [(vote.source, vote.span) for vote in read.votes] == [("names", Span(0, 5, "SOFTWARE"))]


def test_a_byte_order_mark_carriage_returns_and_blank_lines_are_no_part_of_any_record():
    read = jsonl(b'\xef\xbb\xbf{"text": "a"}\r', b"", b'{"text": "b"}\r')
    assert [record(item).text for item in read] == ["a", "b"]
    assert record(read[1]).where == "line 3"


def test_a_line_separator_inside_a_text_does_not_end_the_line():
    assert record(jsonl('{"text": "a\u2028b\x85c"}')[0]).text == "a\u2028b\x85c"


@pytest.mark.parametrize(
    ("line", "rule"),
    [
        (b'{"text": "a"', "well-formed JSON"),
        (b'{"txt": "a"}', "its text under `text`"),
        (b'{"text": null}', "`text` is a string: got null"),
        (b'{"text": "a", "spans": {}}', "`spans` is a list"),
        (b'{"text": "a", "spans": [5]}', "each of `spans`"),
        (b'{"text": "a", "id": ["x"]}', "`id` is a string"),
        (b'{"text": "a", "id": "\\u0000"}', "U+0000"),
        (b'{"text": "a", "id": "\\ud800"}', "lone surrogate"),
        (b'{"text": "a", "meta": {"k": "\\u0000"}}', "U+0000"),
        (b'{"text": "a", "meta": {"k": "\\udfff"}}', "lone surrogate"),
        (b'{"text": "a", "meta": []}', "`meta` is an object"),
        (b'{"text": "a", "score": NaN}', "finite"),
        (b'{"text": "a", "score": -Infinity}', "finite"),
        (b'{"text": "a", "score": 1e999}', "finite"),
        (b'{"text": "a", "text": "b"}', "each key once"),
        (b'{"text": "a", "n": ' + b"9" * 5000 + b"}", "sane length"),
        (b'{"text": "a", "n": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", "nests"),
        (b'{"text": "\xff"}', "UTF-8"),
    ],
)
def test_a_bad_line_is_a_problem_that_names_line_and_rule_and_the_lines_around_it_are_read(line: bytes, rule: str):
    before, bad, after = jsonl('{"text": "before"}', line, '{"text": "after"}')
    assert (record(before).text, record(after).text) == ("before", "after")
    assert problem(bad).where == "line 2"
    assert rule in str(problem(bad).error)


def test_a_bad_vote_is_named_and_the_other_votes_of_the_line_are_read():
    good = {"start": 0, "end": 1, "label": "X", "source": "list"}
    (only,) = jsonl(json.dumps({"text": "a", "weak": [{"start": 0, "end": 1, "label": "X"}, good]}))
    assert [str(error).startswith("`source` is a string") for error in record(only).bad_votes] == [True]
    assert [vote.source for vote in record(only).votes or ()] == ["list"]


def test_a_line_over_32_mib_is_a_problem_and_the_next_line_is_read():
    bad, after = jsonl(b'{"text": "' + b"x" * (33 * 1024 * 1024) + b'"}', '{"text": "after"}')
    assert "32 MiB" in str(problem(bad).error)
    assert record(after).where == "line 2"


def test_records_without_id_get_one_from_their_text_so_that_a_line_put_in_on_top_moves_no_id():
    once = [record(item).external_id for item in jsonl('{"text": "a"}', '{"text": "b"}', '{"text": "a"}')]
    more = [record(item).external_id for item in jsonl('{"text": "0"}', '{"text": "a"}', '{"text": "b"}')]
    assert len(set(once)) == 3
    assert more[1:] == once[:2]


NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), min_size=1).filter(str.strip)
META = st.dictionaries(NAMES, st.integers() | NAMES | st.booleans() | st.none(), max_size=3)


@given(NAMES, NAMES, st.none() | NAMES, META)
def test_a_written_line_reads_back_as_the_same_record(external_id: str, text: str, group: str | None, meta: dict):
    trimmed = text.strip()
    gold = (Span(0, len(trimmed), "X"),)
    read = record(jsonl(*write_jsonl([StoredText(external_id, trimmed, gold, "train", group, meta)]))[0])
    assert (read.text, read.external_id, read.group, read.meta) == (trimmed, external_id, group, meta)
    assert spans(read) == gold


@pytest.mark.parametrize(
    "spans",
    [
        [{"start": 0, "end": 4, "label": "PER"}],
        [{"start_offset": 0, "end_offset": 4, "label": "PER"}],
        [[0, 4, "PER"]],
    ],
)
def test_labelled_spans_under_any_key_are_refused_by_its_name(spans: list[object]):
    (item,) = raw({"text": "Anna", "spans": [], "Comments": spans})
    assert "`Comments`" in str(problem(item).error)


@pytest.mark.parametrize("other", [[], ["a"], [[0, 4, 2]], [{"start": 0, "end": 4}], {"start": 0, "end": 4}, "x"])
def test_lists_that_label_nothing_are_metadata(other: object):
    (item,) = raw({"text": "Anna", "spans": [], "segments": other})
    assert record(item).meta == {"segments": other}


WORDS = ("text", "word", "value", "mention", "surface_form", "surface", "entity_text", "string")


@pytest.mark.parametrize("item", [{"label": "PER", key: "Ola"} for key in WORDS] + [{"entity": "Ola", "type": "PER"}])
def test_words_that_a_span_repeats_prove_its_offsets(item: dict[str, str]):
    right, wrong = reading(
        [{"text": "Pia met Ola", "spans": [{"start": start, "end": start + 3, **item}]} for start in (8, 0)]
    ).records()
    assert record(right).annotations[0].spans == (Span(8, 11, "PER"),)
    assert [one.reason for one in record(wrong).annotations[0].doubts] == ["words differ from the text at the offsets"]


@pytest.mark.parametrize(
    "item",
    [
        {"label": "PER", "value": {"text": "Ola"}},
        {"label": "PER", "value": 3.5, "text": "Pia"},
        {"label": "PER", "value": "PER"},
        {"entity": "PER", "value": "Pia"},
        {"entity": "PER", "type": "PER"},
        {"type": "PER"},
    ],
)
def test_other_values_of_a_span_are_no_words(item: dict[str, object]):
    (read,) = raw({"text": "Pia met Ola", "spans": [{"start": 0, "end": 3, **item}]})
    assert spans(read) == (Span(0, 3, "PER"),)


def test_a_type_that_the_project_does_not_have_is_the_label_of_the_words_beside_it():
    content = {"text": "Pia met Ola", "spans": [{"start": 8, "end": 11, "entity": "Ola", "type": "person"}]}
    (unknown,) = reading(content).records()
    assert [one.payload["value"]["labels"] for one in record(unknown).annotations[0].doubts] == [["person"]]
    (mapped,) = reading(content, label_map={"person": "PER"}).records()
    assert record(mapped).annotations[0].spans == (Span(8, 11, "PER"),)


@pytest.mark.parametrize("key", ["spans", "entities", "label", "marks"])
@pytest.mark.parametrize("spans", [[{"start": 0, "end": 3, "label": "PER"}], [[0, 3, "PER"]]])
def test_spans_in_a_string_are_refused_by_name(key: str, spans: list):
    (read,) = raw({"text": "Pia met Ola", key: json.dumps(spans)})
    assert f"`{key}`" in str(problem(read).error) and "a string that holds JSON" in str(problem(read).error)


@pytest.mark.parametrize("value", ["[1]", '{"a": 1}', "[{", "[x]", "[[0, 3]]"])
def test_a_string_that_holds_other_json_is_metadata(value: str):
    assert record(raw({"text": "Pia met Ola", "note": value})[0]).meta == {"note": value}


def test_what_each_person_said_beside_the_entities_of_a_record_is_metadata():
    answers = {"first": [{"start": 0, "end": 1, "label": "X"}], "second": []}
    read = record(jsonl(json.dumps({"text": "ab", "spans": [], "people": answers}))[0])
    assert (spans(read), read.meta) == ((), {"people": answers})
    assert "`people` of a record" in str(problem(jsonl(json.dumps({"text": "ab", "people": answers}))[0]).error)
