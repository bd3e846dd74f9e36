"""Tokens and tags: where the tokens stand, what the tags and numbers say, and what is refused."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.files.records import FileHints, Problem, Record
from loop.files.writing.texts import IOB2, StoredText, TaggedText
from ner.spans import Span
from tests.loop.files.read import problem, raw, reading, record, spans
from tests.loop.files.texts import labelled

TOKENS = ["Pia", "Berg", "left", "Turin"]
TAGS = ["B-PER", "I-PER", "O", "B-LOC"]
GOLD = (Span(0, 8, "PER"), Span(14, 19, "LOC"))
NAMES = FileHints(labels=("O", "B-PER", "I-PER", "B-LOC", "I-LOC"))


def rows(*values: dict[str, Any], **wanted: Any) -> list[Record | Problem]:
    return raw("\n".join(map(json.dumps, values)), **wanted)


@pytest.mark.parametrize("key", ["ner_tags", "tags", "labels", "ner", "label"])
@pytest.mark.parametrize("tokens", ["tokens", "words"])
def test_tokens_are_joined_by_a_space_and_their_tags_are_the_spans(tokens: str, key: str):
    (read,) = rows({tokens: TOKENS, key: TAGS})
    assert (record(read).text, record(read).format) == ("Pia Berg left Turin", "hugging-face")
    assert spans(read) == GOLD


def test_the_scheme_is_that_of_the_whole_file_and_said():
    values = [{"tokens": ["a"], "ner_tags": ["O"]}, {"tokens": TOKENS, "ner_tags": ["B-PER", "L-PER", "O", "U-LOC"]}]
    read = reading("\n".join(map(json.dumps, values)))
    assert any("BILOU" in sentence for sentence in read.said)
    assert [record(item).annotations[0].spans for item in read.records()] == [(), GOLD]


def test_a_text_beside_the_tokens_holds_them_where_it_says():
    (read,) = rows({"text": "Pia  Berg left\nTurin", "tokens": TOKENS, "ner_tags": TAGS})
    assert spans(read) == (Span(0, 9, "PER"), Span(15, 20, "LOC"))


def test_a_text_that_is_not_its_tokens_is_refused():
    (read,) = rows({"text": "Pia Berg left Rome", "tokens": TOKENS, "ner_tags": TAGS})
    assert "a text is its tokens" in str(problem(read).error)


@pytest.mark.parametrize("numbers", [[1, 2, 0, 3], [1.0, 2.0, 0.0, 3.0], ["1", "2", "0", "3"]])
def test_numbers_have_the_names_that_a_person_gives(numbers: list):
    (read,) = rows({"tokens": TOKENS, "ner_tags": numbers}, hints=NAMES)
    assert spans(read) == GOLD


@pytest.mark.parametrize(
    ("tags", "hints", "rule"),
    [
        ([1, 2, 0, 3], FileHints(), "--label-names"),
        ([1, 2, 0, -100], NAMES, "one of the 5 names"),
        ([1, 2, 0, 5], NAMES, "one of the 5 names"),
        ([1, 2, 0], NAMES, "3 tags"),
        ([1, 2, 0, True], NAMES, "a name or a number"),
        ([1, 2, 0, None], NAMES, "a name or a number"),
        ([1, 2, 0, 1.5], NAMES, "a name or a number"),
        (["B-PER", "X-PER", "O", "O"], FileHints(tag_scheme="iob2"), "a tag is O"),
    ],
)
def test_what_is_no_tag_of_a_token_is_refused_by_name(tags: list, hints: FileHints, rule: str):
    bad, good = rows({"tokens": TOKENS, "ner_tags": tags}, {"tokens": ["a"], "ner_tags": ["O"]}, hints=hints)
    assert rule in str(problem(bad).error)
    assert spans(good) == ()


@pytest.mark.parametrize("tokens", [[1, 2, 3, 4], ["a", None, "b", "c"], [["a"], "b", "c", "d"]])
def test_tokens_that_are_no_strings_are_refused(tokens: list):
    (read,) = rows({"tokens": tokens, "ner_tags": TAGS})
    assert problem(read)


def test_blank_tokens_have_no_place_in_the_text():
    (read,) = rows({"tokens": ["Pia", " ", "Berg", ""], "ner_tags": ["B-PER", "I-PER", "I-PER", "O"]})
    assert record(read).text == "Pia Berg"
    assert spans(read) == (Span(0, 8, "PER"),)
    (alone,) = rows({"tokens": ["Pia", " "], "ner_tags": ["O", "B-PER"]})
    assert "blank token" in str(problem(alone).error)


def test_tokens_without_tags_are_an_unlabelled_text_and_null_tags_are_none():
    assert [spans(item) for item in rows({"tokens": TOKENS}, {"tokens": TOKENS, "ner_tags": None})] == [None, None]


def test_other_values_of_tokens_are_dropped_and_other_keys_are_kept():
    more = {"pos_tags": ["N", "N", "V", "N"], "lang": "en", "spans": ["PER: Pia Berg", "LOC: Turin"]}
    (read,) = rows({"id": "7", "tokens": TOKENS, "ner_tags": TAGS, **more})
    assert (spans(read), record(read).meta, record(read).external_id) == (GOLD, {"lang": "en"}, "7")
    assert record(read).fallback_id


def test_a_second_key_with_annotations_is_refused_by_name():
    (read,) = rows({"tokens": TOKENS, "ner_tags": TAGS, "spans": [{"start": 0, "end": 3, "label": "PER"}]})
    assert "`spans`" in str(problem(read).error)


@pytest.mark.parametrize(("key", "tags"), [("x", TAGS), ("fine_ner_tags", [1, 2, 0, 3]), ("Entity_ids", [0, 0, 0, 0])])
def test_tokens_with_tags_under_another_key_are_not_taken_for_unlabelled(key: str, tags: list):
    refused, unlabelled = rows({"tokens": TOKENS, key: tags}, {"tokens": TOKENS, "pos_tags": [1, 1, 2, 1]})
    assert f"`{key}`" in str(problem(refused).error)
    assert spans(unlabelled) is None


def test_spans_that_count_tokens_are_refused_by_name():
    (read,) = rows({"tokens": TOKENS, "entities": [{"start": 0, "end": 2, "type": "PER"}]})
    assert "`entities`" in str(problem(read).error)


def test_numbers_need_no_names_where_only_texts_are_wanted():
    (read,) = rows({"tokens": TOKENS, "ner_tags": [1, 2, 0, 3]}, texts_only=True)
    assert record(read).text == "Pia Berg left Turin"


@given(labelled(), st.dictionaries(st.sampled_from(["a", "b"]), st.integers()))
def test_a_row_of_our_own_export_comes_back_the_same(text_and_spans: tuple[str, tuple[Span, ...]], meta: dict):
    text, gold = text_and_spans
    tagged = TaggedText.of(StoredText("x1", text, gold, "train", "g", meta))
    row = {
        "id": "x1",
        "text": text,
        "doc": "g",
        "meta": json.dumps(meta) if meta else None,
        "tokens": tagged.words,
        "token_offsets": [list(token) for token in tagged.tokens],
        "ner_tags": tagged.aligned.tags(len(tagged.tokens), IOB2),
        "spans": [{"start": span.start, "end": span.end, "label": span.label} for span in gold],
    }
    (read,) = rows(row)
    assert (record(read).text, record(read).external_id, record(read).group) == (text, "x1", "g")
    assert record(read).meta == meta
    assert [
        (item["value"]["start"], item["value"]["end"], item["value"]["labels"])
        for item in record(read).annotations[0].result
    ] == [(span.start, span.end, [span.label]) for span in gold]


def test_tokens_of_scripts_without_spaces_are_joined_without_spaces():
    value = {"tokens": ["北", "京", "很", "大"], "ner_tags": ["B-LOC", "I-LOC", "O", "O"]}
    read = reading(json.dumps(value))
    (one,) = read.records()
    assert record(one).text == "北京很大"
    assert record(one).annotations[0].spans == (Span(0, 2, "LOC"),)
    assert "joined without a space" in " ".join(read.said)
    assert "joined" not in " ".join(reading(json.dumps({**value, "text": "北 京 很 大"})).said)
