"""spaCy's JSON: pairs, objects with entities or groups of spans, and the tree of spaCy 2."""

from __future__ import annotations

import json
from typing import Any

import pytest

from loop.files.formats.json_shapes.spacy_json import INCOMPLETE
from loop.files.records import Problem, Record
from ner.spans import Span
from tests.loop.files.read import problem, raw, reading, record, spans

TEXT = "Pia met Ola in Turin."
GOLD = (Span(0, 3, "PER"), Span(15, 20, "LOC"))
ENTITIES = [[0, 3, "PER"], [15, 20, "LOC"]]
ENTS = [{"start": 0, "end": 3, "label": "PER"}, {"start": 15, "end": 20, "label": "LOC"}]
PAIR = [TEXT, {"entities": ENTITIES}]


@pytest.mark.parametrize(
    "content",
    [
        [PAIR],
        PAIR,
        json.dumps(PAIR) + "\n",
        json.dumps([PAIR], indent=2),
        {"classes": ["PER", "LOC"], "annotations": [None, PAIR]},
        {"text": TEXT, "entities": ENTITIES, "cats": {}},
        {"text": TEXT, "ents": ENTS, "tokens": [{"id": 0, "start": 0, "end": 3}], "sents": []},
        {"text": TEXT, "ents": ENTS, "spans": {}},
        {"text": TEXT, "ents": ENTS, "spans": {"sc": []}},
        {"text": TEXT, "spans": {"sc": ENTS}},
        [[TEXT, {"spans": {"sc": ENTITIES}}]],
        [
            [
                TEXT,
                {
                    "words": ["Pia", "met", "Ola", "in", "Turin", "."],
                    "entities": ["U-PER", "O", "O", "O", "U-LOC", "O"],
                },
            ]
        ],
    ],
)
def test_every_shape_gives_the_same_spans(content: Any):
    (read,) = raw(content)
    assert (record(read).text, record(read).format) == (TEXT, "spacy-json")
    assert spans(read) == GOLD


def test_pairs_stand_on_lines_or_in_an_array():
    other = ["nothing", {"entities": []}]
    for content in ([PAIR, other], f"{json.dumps(PAIR)}\n{json.dumps(other)}\n"):
        assert [spans(item) for item in raw(content)] == [GOLD, ()]


@pytest.mark.parametrize(
    "content",
    [
        [[TEXT, {"cats": {"NEWS": 1.0}}]],
        {"text": TEXT, "ents": None, "cats": {"NEWS": 1.0}},
        [[TEXT, {}]],
        {"text": TEXT, "spans": {}},
    ],
)
def test_categories_of_a_text_do_not_say_that_it_holds_no_entity(content: Any):
    assert [spans(item) for item in raw(content)] == [None]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ({"text": TEXT, "spans": {"a": ENTS, "b": []}}, "one group"),
        ({"text": TEXT, "ents": ENTS, "spans": {"sc": ENTS}}, "`spans`"),
        ({"text": TEXT, "ents": [], "spans": {"sc": ENTS}}, "`spans`"),
        ({"text": TEXT, "entities": ENTITIES, "spans": ENTS}, "`spans`"),
        ({"text": TEXT, "entities": ENTITIES, "ents": ENTS}, "`ents`"),
        ([[TEXT, {"entities": ["U-PER", "O"]}]], "`words`"),
        ([[TEXT, {"entities": ["U-PER"], "words": ["Ola"]}]], "a text is its tokens"),
        ([[TEXT, {"entities": {"PER": [0, 3]}}]], "`entities` is a list"),
        ([[TEXT, {"text": "else", "entities": []}]], "a text stands before"),
        ([[TEXT, {"entities": [3]}]], "each of `entities`"),
    ],
)
def test_what_cannot_be_read_is_refused_by_name(content: Any, rule: str):
    (read,) = raw(content)
    assert rule in str(problem(read).error)


@pytest.mark.parametrize(
    ("item", "reason"),
    [
        ([0, 3], "region without a label"),
        ([0, 3, None], "region without a label"),
        ([0, 3, "PER", "LOC"], "several labels on a region"),
        (["PER", 0, 3], "malformed region"),
        ([3, 0, "PER"], "span ends before it starts"),
        ([0, 99, "PER"], "span outside the text"),
        ([0, 3, "Person"], "label outside the config"),
        ({"begin": 0, "end": 3, "label": "PER"}, "malformed region"),
        ({"start": 0, "end": 3, "label": "PER", "text": "Ola"}, "words differ from the text at the offsets"),
    ],
)
def test_an_entity_that_is_not_understood_leaves_its_text_in_doubt(item: Any, reason: str):
    (read,) = reading([[TEXT, {"entities": [item, [15, 20, "LOC"]]}]]).records()
    (annotation,) = record(read).annotations
    assert annotation.spans is None
    assert [doubt.reason for doubt in annotation.doubts] == [reason]


def tree(ner: list[str | None], raw_text: str | None = TEXT, **more: Any) -> list[Record | Problem]:
    words = ["Pia", "met", "Ola", "in", "Turin", "."]
    tokens = [
        {"id": at, "orth": word, **({"ner": tag} if tag else {})}
        for at, (word, tag) in enumerate(zip(words, ner, strict=True))
    ]
    sentences = [{"tokens": tokens[:3], "brackets": []}, {"tokens": tokens[3:]}]
    return raw([{"id": 0, "paragraphs": [{"raw": raw_text, "sentences": sentences, **more}]}])


def test_paragraphs_of_spacy_2_are_texts_in_the_group_of_their_document():
    (read,) = tree(["U-PER", "O", "O", "O", "U-LOC", "O"], cats=[{"label": "NEWS", "value": 1}])
    assert spans(read) == GOLD
    assert (record(read).where, record(read).group) == ("record 1, paragraph 1", "file:0")
    (joined,) = tree(["U-PER", "O", "O", "O", "U-LOC", "O"], raw_text=None)
    assert record(joined).text == "Pia met Ola in Turin ."
    assert spans(joined) == GOLD


@pytest.mark.parametrize(
    ("tags", "aside"), [(["-"] * 6, []), ([None] * 6, []), (["U-PER", "-", "O", "O", "O", "O"], [INCOMPLETE])]
)
def test_missing_values_are_no_whole_labelling(tags: list, aside: list[str]):
    (read,) = tree(tags)
    assert record(read).annotations == ()
    assert [item.reason for item in record(read).aside] == aside


@pytest.mark.parametrize("paragraphs", [[5], [{}], [{"sentences": [5]}], [{"sentences": [{"tokens": [5]}]}]])
def test_a_broken_tree_is_a_problem_of_its_paragraph(paragraphs: list):
    good = {"sentences": [{"tokens": [{"orth": "a", "ner": "O"}]}]}
    bad, read = raw({"paragraphs": [*paragraphs, good]})
    assert problem(bad).where == "line 1, paragraph 1"
    assert spans(read) == ()


def test_where_only_texts_are_wanted_no_shape_is_refused_for_its_entities():
    content = [[TEXT, {"entities": 5}], {"text": TEXT, "ents": [5], "spans": {"a": 1, "b": 2}}]
    assert [record(item).text for item in raw(content, texts_only=True)] == [TEXT, TEXT]
