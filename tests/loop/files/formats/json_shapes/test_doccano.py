"""doccano's exports of every version: what they say of entities is read, and what they say of whole texts is not."""

from __future__ import annotations

import json

import pytest

from loop.files.formats.json_shapes.doccano import RELATION
from loop.files.records import SEVERAL_ANNOTATIONS, Record
from ner.spans import Span
from tests.loop.files.read import problem, raw, reading, record, spans

TEXT = "Pia met Ola in Turin."
GOLD = (Span(0, 3, "PER"), Span(15, 20, "LOC"))
TRIPLES = [[0, 3, "PER"], [15, 20, "LOC"]]
OBJECTS = [
    {"id": 4, "label": "PER", "start_offset": 0, "end_offset": 3},
    {"id": 5, "label": "LOC", "start_offset": 15, "end_offset": 20},
]


@pytest.mark.parametrize(
    "line",
    [
        {"id": 1, "text": TEXT, "label": TRIPLES, "Comments": []},
        {"id": 1, "text": TEXT, "labels": TRIPLES, "meta": {}},
        {"id": 1, "data": TEXT, "label": TRIPLES},
        {"id": 1, "text": TEXT, "entities": OBJECTS, "relations": [], "comments": []},
        {"doc_id": 1, "text": TEXT, "entities": OBJECTS, "username": "a"},
        {"id": 1, "text": TEXT, "annotations": [{**item, "user": 1} for item in OBJECTS]},
    ],
)
def test_labels_of_every_version_are_the_spans(line: dict):
    (read,) = raw(line)
    assert (record(read).format, record(read).text) == ("doccano", TEXT)
    assert spans(read) == GOLD


def test_metadata_is_kept_and_what_says_nothing_is_not():
    (read,) = raw({"id": 1, "text": TEXT, "label": [], "Comments": [], "lang": "en", "meta": {"page": {"number": 2}}})
    assert spans(read) == ()
    assert record(read).meta == {"lang": "en", "page": {"number": 2}}


def test_relations_are_counted_as_not_learned_from_and_leave_no_doubt():
    relations = [{"id": 0, "from_id": 4, "to_id": 5, "type": "was in"}]
    (read,) = raw({"id": 1, "text": TEXT, "entities": OBJECTS, "relations": relations})
    assert spans(read) == GOLD
    assert [(item.reason, item.payload) for item in record(read).aside] == [(RELATION, relations[0])]


def test_numbers_of_labels_are_labels_that_a_map_can_name():
    line = {"id": 1, "text": TEXT, "annotations": [{"label": 7, "start_offset": 0, "end_offset": 3, "user": 1}]}
    (doubtful,) = reading(line).records()
    assert record(doubtful).annotations[0].doubts[0].reason == "label outside the config"
    (mapped,) = reading(line, label_map={"7": "PER"}).records()
    assert record(mapped).annotations[0].spans == (Span(0, 3, "PER"),)


def test_users_of_an_old_export_whose_entities_differ_leave_the_text_unlabelled():
    first, second = OBJECTS
    (read,) = raw({"id": 1, "text": TEXT, "annotations": [{**first, "user": 1}, {**second, "user": 2}]})
    assert record(read).annotations == ()
    assert [item.reason for item in record(read).aside] == [SEVERAL_ANNOTATIONS]
    assert [len(result) for result in record(read).aside[0].payload["results"]] == [1, 1]


def test_users_of_an_old_export_who_say_the_same_have_one_annotation():
    items = [{**item, "user": user} for user in (1, 2) for item in OBJECTS[:: 3 - 2 * user]]
    (read,) = raw({"id": 1, "text": TEXT, "annotations": items})
    assert (spans(read), record(read).aside) == (GOLD, ())


@pytest.mark.parametrize("label", [["greeting"], "greeting", {"greeting": 1}])
def test_a_label_of_a_whole_text_is_refused_by_name(label: object):
    (read,) = raw({"id": 1, "text": TEXT, "label": label})
    assert "`label`" in str(problem(read).error)


def test_an_empty_list_in_a_file_with_labels_of_whole_texts_is_not_a_text_without_entities():
    lines = [{"text": "a", "label": []}, {"text": "b", "label": ["greeting"]}, {"text": "c", "label": [[0, 1, "PER"]]}]
    empty, whole, read = raw("\n".join(map(json.dumps, lines)))
    assert "sequence labelling" in str(problem(empty).error)
    assert problem(whole)
    assert spans(read) == (Span(0, 1, "PER"),)


def test_empty_annotations_are_a_text_without_entities_in_a_file_with_annotations_alone():
    empty, full = {"id": 1, "text": "a", "annotations": []}, {"id": 2, "text": TEXT, "annotations": OBJECTS}
    for order in ((empty, full), (full, empty)):
        assert {spans(item) for item in raw("\n".join(map(json.dumps, order)))} == {(), GOLD}
    (alone,) = raw(empty)
    assert "`annotations`" in str(problem(alone).error)
    (wanted,) = raw(empty, texts_only=True)
    assert record(wanted).text == "a"


def test_two_keys_with_annotations_are_refused_by_name():
    (read,) = raw({"text": TEXT, "label": TRIPLES, "entities": OBJECTS})
    assert "`entities`" in str(problem(read).error) and "beside `label`" in str(problem(read).error)


def test_an_id_that_names_another_text_of_the_store_is_made_anew():
    (read,) = raw({"id": 1, "text": TEXT, "label": []})
    assert (record(read).external_id, str(record(read).fallback_id)[:5]) == ("1", "file:")


def test_where_only_texts_are_wanted_nothing_is_refused_for_its_labels():
    read = raw([{"id": 1, "data": TEXT, "label": ["greeting"]}, {"text": TEXT, "label": 3}], texts_only=True)
    assert [(item.text, item.annotations) for item in read if isinstance(item, Record)] == [(TEXT, ())] * 2
