"""Prodigy's answers: only a whole labelling that a person accepted is gold, and one text is one document."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loop.files.formats.json_shapes.prodigy import BINARY, IGNORED, NO_SPANS, OTHER_INTERFACE, UNANSWERED
from loop.files.formats.json_shapes.same_text import CONTRADICTORY, REJECTED
from loop.files.records import SEVERAL_ANNOTATIONS, Problem, Record
from ner.label_studio.offsets import OffsetUnit
from ner.label_studio.results import TEXT_AT_OFFSETS
from ner.spans import Span
from tests.loop.files.read import problem, raw, reading, record, spans

TEXT = "Pia met Ola."
PIA, OLA = {"start": 0, "end": 3, "label": "PER"}, {"start": 8, "end": 11, "label": "PER"}
TOKENS = [
    {"text": "Pia", "start": 0, "end": 3, "id": 0, "ws": True},
    {"text": "met", "start": 4, "end": 7, "id": 1, "ws": True},
    {"text": "Ola", "start": 8, "end": 11, "id": 2, "ws": False},
    {"text": ".", "start": 11, "end": 12, "id": 3, "ws": False},
]
MANUAL = {"_input_hash": 1, "_task_hash": 2, "_view_id": "ner_manual", "_is_binary": False, "tokens": TOKENS}
TEACH = {"_input_hash": 1, "_task_hash": 2, "_view_id": "ner"}


def rows(*values: dict[str, Any], **source: Any) -> list[Record | Problem]:
    return raw("\n".join(json.dumps({"text": TEXT, **value}) for value in values), **source)


@pytest.mark.parametrize(
    "row",
    [
        {**MANUAL, "answer": "accept", "spans": [{**PIA, "token_start": 0, "token_end": 0}]},
        {"answer": "accept", "spans": [PIA]},
        {**MANUAL, "_view_id": "review", "view_id": "ner_manual", "answer": "accept", "spans": [PIA], "versions": [{}]},
        {**MANUAL, "_view_id": "blocks", "answer": "accept", "spans": [PIA]},
        {**MANUAL, "answer": "accept", "spans": [{**PIA, "answer": "accept", "score": 0.5}]},
    ],
)
def test_an_accepted_labelling_is_gold(row: dict):
    (read,) = rows(row)
    assert record(read).format == "prodigy"
    assert spans(read) == (Span(0, 3, "PER"),)
    assert not record(read).aside and not record(read).meta


def test_an_accepted_text_without_marks_holds_no_entity():
    (read,) = rows({**MANUAL, "answer": "accept", "spans": []})
    assert spans(read) == ()


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({**MANUAL, "answer": "reject", "spans": [PIA]}, REJECTED),
        ({**MANUAL, "answer": "ignore", "spans": [PIA]}, IGNORED),
        ({**MANUAL, "answer": "reject", "spans": []}, REJECTED),
        ({**MANUAL, "spans": [PIA]}, UNANSWERED),
        ({**MANUAL, "answer": None, "spans": [PIA]}, UNANSWERED),
        ({**TEACH, "answer": "accept", "spans": [PIA]}, BINARY),
        ({**TEACH, "answer": "ignore", "spans": [PIA]}, IGNORED),
        ({**MANUAL, "_is_binary": True, "answer": "accept", "spans": [PIA]}, BINARY),
        ({"answer": "accept", "spans": [{**PIA, "answer": "accept"}, {**OLA, "answer": "reject"}]}, BINARY),
        ({**MANUAL, "answer": "accept", "spans": [{**PIA, "answer": "reject"}]}, BINARY),
        ({"answer": "accept", "spans": [{**PIA, "score": 0.0, "source": "en"}]}, BINARY),
        ({"answer": "accept", "spans": [PIA], "meta": {"score": 0.3}}, BINARY),
        ({"_view_id": "choice", "options": [{"id": "A"}], "accept": ["A"], "answer": "accept"}, OTHER_INTERFACE),
        ({"_view_id": "classification", "label": "NEWS", "answer": "accept", "spans": [PIA]}, OTHER_INTERFACE),
        ({"_task_hash": 1, "label": "NEWS", "answer": "accept"}, OTHER_INTERFACE),
        ({"_view_id": "blocks", "answer": "accept"}, OTHER_INTERFACE),
        ({**MANUAL, "answer": "accept"}, NO_SPANS),
        ({**MANUAL, "answer": "accept", "spans": None}, NO_SPANS),
    ],
)
def test_any_other_answer_is_counted_and_is_not_gold(row: dict, reason: str):
    (read,) = rows(row)
    assert record(read).annotations == ()
    assert [item.reason for item in record(read).aside] == [reason]


def test_an_input_that_nobody_answered_is_unlabelled():
    (read,) = rows({**MANUAL, "meta": {"source": "news"}})
    assert (record(read).annotations, record(read).aside, record(read).meta) == ((), (), {"source": "news"})


@pytest.mark.parametrize("answer", ["yes", 1, ["accept"]])
def test_an_unknown_answer_is_refused_by_name(answer: object):
    (read,) = rows({**MANUAL, "answer": answer, "spans": []})
    assert "`answer` is accept, reject or ignore" in str(problem(read).error)


def test_an_answer_outside_of_prodigy_is_refused_by_name():
    (read,) = rows({"answer": "42"})
    assert "`answer`" in str(problem(read).error)


def test_binary_rows_of_one_text_are_one_unlabelled_document():
    row = {**TEACH, "answer": "accept"}
    other, read = rows({**row, "spans": [PIA]}, {**row, "text": "else", "spans": []}, {**row, "spans": [OLA]})
    assert record(other).text == "else"
    assert (record(read).where, record(read).annotations) == ("line 1, line 3", ())
    assert [item.payload["spans"] for item in record(read).aside] == [[PIA], [OLA]]


def test_a_labelling_beside_binary_rows_of_the_same_text_is_gold_whatever_their_order():
    manual, teach = {**MANUAL, "answer": "accept", "spans": [PIA]}, {**TEACH, "answer": "accept", "spans": [OLA]}
    for order in ((manual, teach), (teach, manual)):
        (read,) = rows(*order)
        assert spans(read) == (Span(0, 3, "PER"),)
        assert [item.reason for item in record(read).aside] == [BINARY]


def test_each_annotator_of_a_text_has_an_annotation_and_the_last_one_is_known_by_its_time():
    row = {**MANUAL, "answer": "accept"}
    first = {**row, "spans": [PIA], "_session_id": "db-a", "_annotator_id": "a", "_timestamp": 1_700_000_000}
    (read,) = rows(first, {**row, "spans": [OLA], "_session_id": "db-b", "_timestamp": 1_700_000_009})
    assert [(one.source_id, one.creator) for one in record(read).annotations] == [
        ("gold:a", "a"),
        ("gold:db-b", "db-b"),
    ]
    before, after = (one.source_updated_at for one in record(read).annotations)
    assert before is not None and after is not None and (after - before).seconds == 9


def test_answers_of_one_person_that_differ_are_kept_out_and_equal_ones_are_one():
    accepted = {"answer": "accept"}
    (differing,) = rows({**accepted, "spans": [PIA]}, {**accepted, "spans": [OLA]})
    assert record(differing).annotations == ()
    assert [item.reason for item in record(differing).aside] == [CONTRADICTORY] * 2
    (equal,) = rows({**accepted, "spans": [PIA, OLA]}, {**accepted, "spans": [OLA, PIA]})
    assert spans(equal) == (Span(0, 3, "PER"), Span(8, 11, "PER"))


def test_people_whose_spans_differ_leave_the_text_unlabelled_where_no_time_says_who_was_last():
    first, second = ({**MANUAL, "answer": "accept", "_session_id": f"db-{name}"} for name in "ab")
    (differing,) = rows({**first, "spans": [PIA]}, {**second, "spans": [OLA], "_timestamp": 1_700_000_000})
    assert record(differing).annotations == ()
    assert [item.reason for item in record(differing).aside] == [SEVERAL_ANNOTATIONS]
    (equal,) = rows({**first, "spans": [PIA, OLA]}, {**second, "spans": [OLA, PIA]})
    assert (spans(equal), record(equal).aside) == ((Span(0, 3, "PER"), Span(8, 11, "PER")), ())


@pytest.mark.parametrize("answers", [("accept", "reject"), ("reject", "accept")])
def test_one_person_who_accepts_and_rejects_a_text_leaves_it_unlabelled(answers: tuple[str, str]):
    row = {**MANUAL, "spans": [PIA], "_session_id": "db-a"}
    (read,) = rows(*({**row, "answer": answer} for answer in answers))
    assert record(read).annotations == ()
    assert {item.reason for item in record(read).aside} == {REJECTED, CONTRADICTORY}
    (of_two,) = rows({**row, "answer": "accept"}, {**row, "answer": "reject", "_session_id": "db-b"})
    assert spans(of_two) == (Span(0, 3, "PER"),)


def test_rows_with_ids_of_their_own_stay_documents_of_their_own_and_made_ids_do_not_depend_on_the_rows():
    row = {**MANUAL, "answer": "accept", "spans": []}
    assert [record(item).external_id for item in rows({**row, "id": 1}, {**row, "id": 2})] == ["1", "2"]
    (alone,) = rows(row)
    (together,) = rows({**TEACH, "answer": "reject"}, row)
    assert record(alone).external_id == record(together).external_id


def test_tokens_prove_the_offsets_of_the_file():
    text = "🚒 Pia met Ola"
    tokens = [{"text": "Pia", "start": 3, "end": 6, "id": 1}, {"text": "Ola", "start": 11, "end": 14, "id": 3}]
    row = {**MANUAL, "text": text, "tokens": tokens, "answer": "accept", "spans": [{**PIA, "start": 3, "end": 6}]}
    read = reading(row)
    assert read.unit is OffsetUnit.UTF16
    assert [record(item).annotations[0].spans for item in read.records()] == [(Span(2, 5, "PER"),)]


def test_a_span_that_its_tokens_contradict_is_in_doubt():
    shifted = [{**token, "start": token["start"] + 1, "end": token["end"] + 1} for token in TOKENS]
    row = {**MANUAL, "tokens": shifted, "answer": "accept", "spans": [{"start": 1, "end": 4, "label": "PER"}]}
    (read,) = reading({"text": TEXT, **row}).records()
    assert [item.reason for item in record(read).annotations[0].doubts] == ["words differ from the text at the offsets"]


@pytest.mark.parametrize(("start", "end"), [(0, 2), (1, 3), (0, 6), (9, 11), (7, 10)])
def test_a_span_that_cuts_a_token_is_in_doubt(start: int, end: int):
    row = {**MANUAL, "text": TEXT, "answer": "accept", "spans": [{"start": start, "end": end, "label": "PER"}]}
    (read,) = reading(row).records()
    assert [item.reason for item in record(read).annotations[0].doubts] == ["words differ from the text at the offsets"]


def _numbered(start: int, end: int, first: int, last: int) -> dict[str, Any]:
    return {"start": start, "end": end, "label": "PER", "token_start": first, "token_end": last}


@pytest.mark.parametrize("more", [0, 1])  # `token_end` is the last token, or spaCy's end, the token behind
@pytest.mark.parametrize(
    ("shifted", "told"),
    [(_numbered(4, 7, 2, 2), "Ola"), (_numbered(4, 7, 2, 9), "Ola ."), (_numbered(4, 7, 7, 7), "(tokens 7 to 7)")],
)
def test_a_span_whose_token_numbers_differ_from_its_offsets_is_in_doubt_where_those_of_the_file_are_right(
    shifted: dict[str, Any], told: str, more: int
):
    good = [_numbered(0, 3, 0, 0), _numbered(8, 11, 2, 2), _numbered(4, 11, 1, 2)]
    marked = [{**span, "token_end": span["token_end"] + more} for span in (*good, shifted)]
    row = {**MANUAL, "text": TEXT, "answer": "accept"}
    read = reading("\n".join(json.dumps({**row, "spans": [span], "id": at}) for at, span in enumerate(marked)))
    *right, doubtful = [record(item).annotations[0] for item in read.records()]
    assert [one.spans for one in right] == [(Span(0, 3, "PER"),), (Span(8, 11, "PER"),), (Span(4, 11, "PER"),)]
    (doubt,) = doubtful.doubts
    assert (doubt.payload["value"]["text"], doubt.payload[TEXT_AT_OFFSETS]) == (told, "met")
    assert read.said == ()


def test_a_span_that_was_shifted_to_the_same_word_is_in_doubt():
    row = {**MANUAL, "text": "Ola Ola.", "tokens": [{**TOKENS[0], "text": "Ola"}, {**TOKENS[1], "text": "Ola"}]}
    row = {**row, "answer": "accept", "spans": [_numbered(0, 3, 0, 0), _numbered(4, 7, 1, 1), _numbered(4, 7, 0, 0)]}
    (read,) = reading(row).records()
    (doubt,) = record(read).annotations[0].doubts
    assert doubt.payload["value"]["text"] == "Ola (tokens 0 to 0)"


def test_token_numbers_that_mostly_differ_from_the_offsets_are_not_read_and_that_is_said():
    spans_of_a_program = [_numbered(0, 3, 0, 1), _numbered(8, 11, 0, 1), _numbered(0, 7, 0, 1)]
    read = reading({**MANUAL, "text": TEXT, "answer": "accept", "spans": spans_of_a_program})
    (item,) = read.records()
    assert not record(item).annotations[0].doubts
    assert any("`token_start` and `token_end` of 2 of 3 spans" in sentence for sentence in read.said)


def test_a_span_may_leave_out_the_marks_of_tokens_that_a_program_cut_at_white_space():
    tokens = [*TOKENS[:2], {**TOKENS[2], "text": "Ola.", "end": 12}]
    row = {**MANUAL, "text": TEXT, "tokens": tokens, "answer": "accept"}
    for numbers in ({}, {"token_start": 0, "token_end": 1}):
        (read,) = reading({**row, "spans": [{**OLA, **numbers}]}).records()
        assert record(read).annotations[0].spans == (Span(8, 11, "PER"),)
    spans_of_tokens = [_numbered(0, 3, 0, 0), _numbered(4, 7, 1, 1), _numbered(8, 11, 2, 2)]
    (read,) = reading({**row, "spans": spans_of_tokens}).records()
    assert record(read).annotations[0].doubts  # tokens were marked, and not characters


def test_a_span_that_touches_no_token_or_ends_in_white_space_is_as_before():
    for span, expected in (((0, 4), Span(0, 3, "PER")), ((0, 3), Span(0, 3, "PER"))):
        row = {
            **MANUAL,
            "text": TEXT,
            "answer": "accept",
            "spans": [{"start": span[0], "end": span[1], "label": "PER"}],
        }
        assert [spans(item) for item in (*rows(row), *rows({**row, "tokens": TOKENS[2:]}))] == [(expected,)] * 2


@pytest.mark.parametrize("tokens", [5, [5], [{"text": 5}], [{"text": "Pia", "start": "0", "end": []}]])
def test_tokens_of_any_kind_change_nothing_else(tokens: object):
    (read,) = rows({**MANUAL, "tokens": tokens, "answer": "accept", "spans": [PIA]})
    assert spans(read) == (Span(0, 3, "PER"),)


def test_where_only_texts_are_wanted_each_row_is_a_text():
    row = {**MANUAL, "answer": "what"}
    assert [record(item).text for item in rows(row, row, texts_only=True)] == [TEXT, TEXT]
