"""JSON-MIN and the tables of Label Studio: the answers of one annotation beside the data of the task."""

from __future__ import annotations

import csv
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.files.reading import OTHER_KIND, LabelRule, Reading, Request, survey
from loop.files.records import SEVERAL_ANNOTATIONS, Problem, Record
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import NO_LABEL, OUTSIDE_CONFIG
from ner.spans import Span
from tests.loop.files.read import as_input, problem, raw, reading, record

TWO = LabelConfig.parse(
    '<View><Labels name="people" toName="body"><Label value="PER"/></Labels>'
    '<Labels name="places" toName="body"><Label value="LOC"/></Labels>'
    '<Text name="body" value="$doc.body"/><Choices name="mood" toName="body"><Choice value="a"/></Choices></View>'
)
TEXT = "Ms Bol left Riga"
PERSON = {"start": 3, "end": 6, "text": "Bol", "labels": ["PER"]}
PLACE = {"start": 12, "end": 16, "text": "Riga", "labels": ["LOC"]}


def row(number: int, **more: object) -> dict[str, object]:
    """A record as the server writes it for an annotation."""
    kept = {"annotator": 1, "annotation_id": 50 + number, "created_at": "2026-03-01T08:00:00Z", "lead_time": 2.5}
    return {"text": TEXT, "id": number, **more, **kept}


def read_two(content: object) -> Reading:
    return survey(as_input(content), Request(TWO), LabelRule(TWO))


def spans(item: Record | Problem) -> list[tuple[Span, ...] | None]:
    return [one.spans for one in record(item).annotations]


def as_table(rows: list[dict[str, object]], delimiter: str = ",") -> str:
    """As the server writes its CSV and TSV: every string quoted, answers and objects as JSON."""
    columns = sorted({key for one in rows for key in one})
    words = io.StringIO(newline="")
    writer = csv.DictWriter(words, columns, quoting=csv.QUOTE_NONNUMERIC, delimiter=delimiter)
    writer.writeheader()
    for one in rows:
        cells = {key: json.dumps(value) if isinstance(value, list | dict) else value for key, value in one.items()}
        writer.writerow({key: "" if value is None else value for key, value in cells.items()})
    return words.getvalue()


FORMS = pytest.mark.parametrize("written", [lambda rows: rows, as_table, lambda rows: as_table(rows, "\t")])


@FORMS
def test_regions_are_read_and_a_row_without_one_is_labelled_as_holding_none(written):  # type: ignore[no-untyped-def]
    found = reading(written([row(1, label=[PERSON, PLACE]), row(2), row(3, label=[])]))
    first, *empty = found.records()
    assert spans(first) == [(Span(3, 6, "PER"), Span(12, 16, "LOC"))]
    assert [spans(item) for item in empty] == [[()], [()]]
    said = record(first).annotations[0]
    assert (record(first).external_id, said.source_id, said.creator) == ("task:1", "annotation-51", "1")
    assert "ground truth" in found.said[0]


@FORMS
def test_the_answers_of_several_controls_over_a_nested_field_are_one_annotation(written):  # type: ignore[no-untyped-def]
    nested = {"doc": {"body": TEXT, "page": 3}, "id": 1, "annotator": 1, "annotation_id": 5, "mood": "a", "n": 7}
    (read,) = read_two(written([{**nested, "people": [PERSON], "places": [PLACE]}])).records()
    assert spans(read) == [(Span(3, 6, "PER"), Span(12, 16, "LOC"))]
    assert record(read).meta["doc"] == {"page": 3}
    assert "mood" not in record(read).meta


@FORMS
def test_a_task_that_nobody_annotated_is_unlabelled(written):  # type: ignore[no-untyped-def]
    nobody = {"text": "Nobody", "id": 9, "annotator": None, "annotation_id": None, "lead_time": None}
    _, read = reading(written([row(1, label=[PERSON]), nobody])).records()
    assert record(read).annotations == ()


@FORMS
def test_the_rows_of_one_task_are_its_annotations_where_they_agree_and_else_none_is_believed(written):  # type: ignore[no-untyped-def]
    def said(task: int, annotation: int, *regions: dict[str, object]) -> dict[str, object]:
        return {**row(task, label=list(regions)), "annotation_id": annotation}

    rows = [said(1, 1, PERSON), said(1, 2, PERSON), said(2, 3, PERSON), said(2, 4, PLACE), said(3, 5)]
    alike, differing, other = reading(written(rows)).records()
    assert spans(alike) == [(Span(3, 6, "PER"),), (Span(3, 6, "PER"),)]
    assert (record(differing).annotations, record(differing).aside[0].reason) == ((), SEVERAL_ANNOTATIONS)
    assert spans(other) == [()]


@FORMS
def test_a_row_that_stands_twice_is_refused(written):  # type: ignore[no-untyped-def]
    one = row(1, label=[PERSON])
    assert "stands once" in str(problem(list(reading(written([one, one])).records())[1]).error)


@FORMS
def test_what_is_not_understood_of_a_region_leaves_the_text_in_doubt(written):  # type: ignore[no-untyped-def]
    unlabelled = {"start": 3, "end": 6, "text": "Bol"}
    rows = [row(1, label=[PERSON, unlabelled]), row(2, label=[{**PERSON, "labels": ["Person"]}])]
    for item, reason in zip(reading(written(rows)).records(), (NO_LABEL, OUTSIDE_CONFIG), strict=True):
        (annotation,) = record(item).annotations
        assert (annotation.spans, [aside.reason for aside in annotation.set_aside]) == (None, [reason])


@FORMS
def test_a_project_of_another_kind_is_not_gold_without_entities(written):  # type: ignore[no-untyped-def]
    found = reading(written([row(1, sentiment="good"), row(2, sentiment="bad")]))
    for item in found.records():
        assert (record(item).annotations, record(item).aside[0].reason) == ((), OTHER_KIND)
    assert "asked for spans" in found.said[-1]


def test_the_same_of_the_whole_export_of_a_project_that_asks_for_a_class():
    choice = {"from_name": "mood", "to_name": "text", "type": "choices", "value": {"choices": ["good"]}}
    tasks = [{"id": 1, "data": {"text": TEXT}, "annotations": [{"id": 1, "result": [choice]}]}]
    (read,) = reading(tasks).records()
    assert (record(read).annotations, record(read).aside[0].reason) == ((), OTHER_KIND)


def test_a_choice_of_the_project_itself_shows_that_people_were_asked_for_spans():
    nested = {"doc": {"body": TEXT}, "id": 1, "annotator": 1, "annotation_id": 5, "mood": "a"}
    (read,) = read_two([nested]).records()
    assert spans(read) == [()]


@pytest.mark.parametrize("key", ["label", "labels", "entities", "ner_tags"])
def test_an_answer_under_a_name_of_annotations_that_is_no_list_of_regions_is_refused_or_in_doubt(key: str):
    (read,) = reading([row(1, **{key: "positive"})]).records()
    if isinstance(read, Record):
        assert [one.spans for one in read.annotations] in ([None], [])
    else:
        assert f"`{key}`" in str(read.error)


def test_a_text_that_a_control_of_its_name_has_overwritten_is_refused_and_in_a_table_it_is_found():
    (bad,) = reading([row(1) | {"text": [PERSON]}]).records()
    problem(bad)
    (good,) = reading(as_table([row(1) | {"text": [PERSON], "_data_text": TEXT}])).records()
    assert spans(good) == [(Span(3, 6, "PER"),)]


def test_cells_that_another_program_changed_are_refused_and_numbers_with_a_point_are_read():
    cut = as_table([row(1, label=[PERSON])]).replace('""labels"": [""PER""]}]', '""labels')
    assert "regions as JSON" in str(problem(next(iter(reading(cut).records()))).error)
    (read,) = reading(as_table([row(1, label=[PERSON]) | {"id": "1.0", "annotation_id": "51.0"}])).records()
    assert (record(read).external_id, record(read).annotations[0].source_id) == ("task:1", "annotation-51")


def test_a_row_with_other_cells_than_columns_and_quotes_that_stay_open_are_problems():
    table = "id,text,label,annotator,annotation_id\n1,a\n"
    assert "cell for each column" in str(problem(next(iter(reading(table).records()))).error)
    open_quote = table + '2,"never closed,,1,1\n'
    assert "quotes are closed" in str(problem(list(reading(open_quote).records())[-1]).error)


@given(st.text(min_size=1).filter(str.strip), st.data())
def test_any_text_comes_back_from_a_table_as_it_was(words: str, data: st.DataObject):
    text = words.replace("\0", "").encode("utf-8", "ignore").decode() + " end"
    start = data.draw(st.integers(0, len(text) - 1))
    value = {"start": start, "end": len(text), "text": text[start:], "labels": ["PER"]}
    (from_table,) = reading(as_table([{**row(1, label=[value]), "text": text}])).records()
    (from_json,) = reading([{**row(1, label=[value]), "text": text}]).records()
    assert (record(from_table).text, spans(from_table)) == (text, spans(from_json))


def test_a_table_with_a_star_for_a_word_is_no_conll():
    (one,) = reading(as_table([{**row(1), "text": " * end"}])).records()
    assert record(one).text == " * end"


def test_a_row_without_the_id_of_its_task_is_a_problem():
    (swapped,) = raw([{"id": None, "text": "Excel", "label": None, "annotator": 1, "annotation_id": 7}])
    assert "the id of its task" in str(problem(swapped).error)
    table = 'annotation_id,annotator,id,label,text\n3,1,7,"",Excel\n8,"","","",Word\n'
    good, bad = raw(table)
    assert record(good).text == "Excel"
    assert "the id of its task" in str(problem(bad).error)


@FORMS
def test_where_only_texts_are_wanted_no_answer_stands_in_the_way(written):  # type: ignore[no-untyped-def]
    (read,) = raw(written([row(1, label="positive")]), texts_only=True)
    assert (record(read).text, record(read).annotations) == (TEXT, ())


def test_a_region_of_a_table_with_a_key_twice_is_a_problem():
    region = '"[{""start"":0,""end"":2,""start"":1,""labels"":[""X""]}]"'
    table = f"annotation_id,annotator,id,label,text\n3,1,7,{region},Excel\n"
    (twice,) = raw(table)
    assert "`label` holds regions as JSON" in str(problem(twice).error)
