"""Files are read record by record, and what breaks a rule is named with its line."""

from __future__ import annotations

import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.files.conll import read_conll
from loop.files.jsonl import read_jsonl
from loop.files.label_studio_json import read_label_studio_json
from loop.files.records import Problem, Record, Source
from loop.files.strict_json import parse_json
from loop.files.writing.conll import write_conll
from loop.files.writing.jsonl import write_jsonl
from loop.files.writing.texts import StoredText, TaggedText
from ner.errors import InputError
from ner.spans import Span


def jsonl(*lines: str | bytes) -> list[Record | Problem]:
    raw = b"\n".join(line if isinstance(line, bytes) else line.encode() for line in lines)
    return list(read_jsonl(io.BytesIO(raw), "file"))


def conll(text: str) -> list[Record | Problem]:
    return list(read_conll(io.BytesIO(text.encode()), "file"))


def export(value: object) -> list[Record | Problem]:
    raw = value if isinstance(value, bytes) else json.dumps(value).encode()
    return list(read_label_studio_json(io.BytesIO(raw), Source("file", "text")))


def record(item: Record | Problem) -> Record:
    assert isinstance(item, Record), item
    return item


def problem(item: Record | Problem) -> Problem:
    assert isinstance(item, Problem), item
    return item


# JSON Lines


def test_a_record_without_spans_is_unlabelled_and_one_with_an_empty_list_is_labelled_as_holding_none():
    unlabelled, none = jsonl('{"text": "a"}', '{"text": "a", "spans": []}')
    assert record(unlabelled).spans is None
    assert record(none).spans == ()


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
        (b"[1]", "JSON object"),
        (b'{"txt": "a"}', "`text` is a string"),
        (b'{"text": 5}', "`text` is a string"),
        (b'{"text": "a", "spans": null}', "`spans` is a list"),
        (b'{"text": "a", "spans": [5]}', "each of `spans`"),
        (b'{"text": "a", "spans": [{"start": 0.0, "end": 1, "label": "X"}]}', "`start` of a span"),
        (b'{"text": "a", "spans": [{"start": true, "end": 1, "label": "X"}]}', "`start` of a span"),
        (b'{"text": "a", "spans": [{"start": 0, "end": 1}]}', "`label` is a string"),
        (b'{"text": "a", "spans": [{"start": 0, "end": 1, "label": ""}]}', "`label` is a string"),
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
        (b'{"text": "a", "weak": [{"start": 0, "end": 1, "label": "X"}]}', "`source` is a string"),
    ],
)
def test_a_bad_line_is_a_problem_that_names_line_and_rule_and_the_lines_around_it_are_read(line: bytes, rule: str):
    before, bad, after = jsonl('{"text": "before"}', line, '{"text": "after"}')
    assert (record(before).text, record(after).text) == ("before", "after")
    assert problem(bad).where == "line 2"
    assert rule in str(problem(bad).error)


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
    spans = (Span(0, len(text), "X"),)
    (read,) = jsonl(*write_jsonl([StoredText(external_id, text, spans, "train", group, meta)]))
    assert read == Record("line 1", text, external_id, spans, group, meta)


# CoNLL


def test_iob1_and_iob2_give_the_same_spans():
    iob1 = conll("a\tI-X\nb\tI-X\nc\tB-X\nd\tI-Y\ne\tO\nf\tI-X\n")
    iob2 = conll("a\tB-X\nb\tI-X\nc\tB-X\nd\tB-Y\ne\tO\nf\tB-X\n")
    assert record(iob1[0]).spans == record(iob2[0]).spans
    assert record(iob1[0]).spans == (Span(0, 3, "X"), Span(4, 5, "X"), Span(6, 7, "Y"), Span(10, 11, "X"))


def test_a_blank_line_ends_a_text_and_docstart_begins_a_group():
    first, second, third = conll("-DOCSTART- O\n\na O\n\nb O\n\n-DOCSTART-\tO\nc\tB-X\n")
    assert [record(item).text for item in (first, second, third)] == ["a", "b", "c"]
    assert record(first).group == record(second).group == "file:doc-1"
    assert record(third).group == "file:doc-2"
    assert record(third).where == "line 8"


def test_a_token_may_hold_a_no_break_space():
    assert record(conll("10\u00a0GB B-X\nleft\tO\n")[0]).spans == (Span(0, 5, "X"),)


@pytest.mark.parametrize(
    ("line", "rule"),
    [("alone", "two columns"), ("a B-X z", "two columns"), ("a\tS-X", "B-TYPE"), ("a\tB-", "B-TYPE"), ("a X", "B-")],
)
def test_a_bad_line_makes_its_text_a_problem_and_no_other(line: str, rule: str):
    before, bad, after = conll(f"a O\n\nb O\n{line}\n\nc O\n")
    assert (record(before).text, record(after).text) == ("a", "c")
    assert problem(bad).where == "line 4"
    assert rule in str(problem(bad).error)


TOKENS = st.lists(st.text("abcé", min_size=1, max_size=4) | st.sampled_from("😀.,"), min_size=1, max_size=8)


@given(TOKENS, st.data())
def test_texts_of_joined_tokens_come_back_from_conll_with_their_spans(tokens: list[str], data: st.DataObject):
    text = " ".join(tokens)
    borders = [0]
    for token in tokens:
        borders.append(borders[-1] + len(token) + 1)
    flags = data.draw(st.lists(st.sampled_from(["", "X", "Y"]), min_size=len(tokens), max_size=len(tokens)))
    placed = zip(borders, tokens, flags, strict=False)
    spans = tuple(Span(start, start + len(token), flag) for start, token, flag in placed if flag)
    (read,) = conll("".join(write_conll([TaggedText.of(StoredText("a", text, spans, "train"))], plain=True)))
    assert (record(read).text, record(read).spans) == (text, spans)


# Label Studio's export


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
    assert (read.external_id, read.text, read.where) == ("task:1", "Excel hangs", "task 1 (id 1)")
    assert (one.creator, one.lead_time, one.skipped, one.parent_prediction) == ("a@b.c", 3.0, True, 9)


@pytest.mark.parametrize(
    ("value", "rule"),
    [
        ({"a": 1}, "array of tasks"),
        ([5], "object with `data`"),
        ([{"id": 1, "text": "min"}], "object with `data`"),
        ([{"data": {"body": "x"}}], "data.text"),
        ([task(1, annotations="no")], "`annotations` is a list"),
        ([task(1, annotations=[{"result": []}])], "with an id"),
        ([task(1, annotations=[{"id": 1, "result": None}])], "`result`"),
    ],
)
def test_a_file_that_is_no_export_is_a_problem_that_says_why(value: object, rule: str):
    assert rule in str(problem(export(value)[0]).error)


def test_an_export_that_ends_in_the_middle_gives_its_whole_tasks_and_one_problem():
    raw = json.dumps([task(1), task(2)]).encode()[:-10]
    first, bad = export(raw)
    assert record(first).external_id == "task:1"
    assert "well-formed" in str(problem(bad).error)


def test_an_empty_export_holds_nothing():
    assert export([]) == []


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_strict_json_reads_what_json_writes(value: object):
    assert parse_json(json.dumps(value)) == value


@given(st.text())
def test_any_text_is_a_value_or_an_input_error(text: str):
    try:
        parse_json(text)
    except InputError as error:
        assert error.exit_code == 4
