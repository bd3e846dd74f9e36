"""Containers of JSON: lines, arrays, objects one behind the other; and keys that may not pass as metadata."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loop.files.formats.json_shapes.shapes import says_entities
from loop.files.records import Problem, Record
from ner.errors import InputError
from tests.loop.files.read import problem, raw, reading, record

A, B = '{"text": "a", "spans": []}', '{"text": "b", "spans": []}'
PRETTY = json.dumps({"text": "a", "meta": {"k": [1, {"x": 2}]}, "spans": []}, indent=2)


@pytest.mark.parametrize(
    "content",
    [
        f"{A}\n{B}",
        f"{A}\r\n{B}\r\n",
        f"\ufeff{A}\n\n{B}\n",
        f"[{A},{B}]",
        f"[\n{A},\n{B}\n]\n",
        f"[{A},\n {B},\n]",
        f"\ufeff[\r\n{A},\r\n{B}]\r\n",
        f"{PRETTY}\n{PRETTY.replace('a', 'b', 1)}",
        f"{PRETTY}{B}",
        f"{PRETTY}\n\n{B}\n",
    ],
)
def test_records_stand_on_lines_in_an_array_or_one_behind_the_other(content: str):
    assert [record(item).annotations != () for item in raw(content)] == [True, True]


def test_one_object_over_several_lines_is_one_record():
    (read,) = raw(PRETTY)
    assert (record(read).text, record(read).where) == ("a", "record 1")


@pytest.mark.parametrize(
    ("content", "good", "rule"),
    [
        (f"[{A},{B}", 2, "ends with ]"),
        (f"[{A},", 1, "ends with ]"),
        (f'[{A},{{"text": "b', 1, "well-formed"),
        (f"[{A} {B}]", 1, "parted by commas"),
        (f"[{A}] {B}", 1, "nothing stands behind"),
        (f"{A},\n{B},\n", 0, "well-formed"),
        (f"{PRETTY},\n{PRETTY}", 1, "stand in an array"),
        (PRETTY[:-2], 0, "well-formed"),
        (f'{A}\n{{"text": "b"', 1, "well-formed"),
    ],
)
def test_a_fault_in_the_json_is_a_problem_behind_the_records_that_were_read(content: str, good: int, rule: str):
    read = raw(content)
    assert [record(item).text for item in read[:good]] == ["a", "b"][:good]
    assert rule in str(problem(read[good]).error)


def test_an_array_is_read_piece_by_piece_and_a_record_over_32_mib_is_named():
    many = ",".join(json.dumps({"text": f"{number} " + "x" * 1000}) for number in range(3000))
    assert len(raw(f"[{many}]")) == 3000
    (bad,) = raw('{\n"text": "' + "x" * (70 * 1024 * 1024) + '"}')
    assert "32 MiB" in str(problem(bad).error)


LIKE_ANNOTATION = (
    *("label", "Labels", "LABEL", "entities", "Entity", "ents", "annotation", "Annotations", "NER_tags", "ner-tags"),
    *("tag", "ner", "spans ", "Spans", "completions", "prediction", "answer", "Named Entities"),
)


@pytest.mark.parametrize("key", LIKE_ANNOTATION)
def test_a_key_that_looks_like_annotation_is_refused_by_name_and_a_null_under_it_says_nothing(key: str):
    refused, unlabelled = raw([{"text": "a b", key: {"x": "y"}}, {"text": "a b", key: None}])
    assert f"`{key}`" in str(problem(refused).error)
    assert (record(unlabelled).annotations, record(unlabelled).meta) == ((), {})


SPAN = {"start": 0, "end": 1, "label": "X"}


@pytest.mark.parametrize(
    "value",
    [[[0, 1, "X"]], [SPAN], [{"start_offset": 0, "end_offset": 1, "type": "X"}], [[SPAN]], {"a": [{"value": [SPAN]}]}],
)
def test_a_list_of_spans_under_any_key_is_refused_by_name(value: object):
    (read,) = raw({"text": "a b", "marks": value})
    assert "`marks`" in str(problem(read).error)


@pytest.mark.parametrize(
    "value", [[[0, 1]], [[0, 1, 2]], [{"start": 0, "end": 1}], [{"label": "X"}], [], "0", {"a": 1}]
)
def test_a_value_that_is_no_list_of_spans_is_metadata(value: object):
    assert record(raw({"text": "a b", "marks": value})[0]).meta == {"marks": value}


@pytest.mark.parametrize("key", ["title", "language", "tagline", "span_count", "labeller", "class", "news"])
def test_other_keys_are_metadata(key: str):
    assert not says_entities(key)
    assert record(raw({"text": "a", key: "x"})[0]).meta == {key: "x"}


def test_spans_as_lists_and_numbers_as_pandas_writes_them_are_read():
    content = {"id": 3.0, "text": "Pia met Ola", "spans": [[0, 3, "PER"], {"start": 8.0, "end": "11", "label": "PER"}]}
    (read,) = map(record, reading(content).records())
    assert read.external_id == "3"
    assert [(span.start, span.end) for span in read.annotations[0].spans or ()] == [(0, 3), (8, 11)]


@pytest.mark.parametrize(("text", "shown"), [(5, "5"), (3.0, "3"), (["a", None, 2], "a,,2"), (True, "true")])
def test_a_number_or_a_list_is_the_text_that_label_studio_shows(text: Any, shown: str):
    assert record(raw({"text": text})[0]).text == shown


# Whatever stands in a file

SHAPES: tuple[Any, ...] = (
    {"text": "Pia met Ola", "spans": [{"start": 0, "end": 3, "label": "PER"}]},
    {"id": 1, "text": "Pia met Ola", "label": [[0, 3, "PER"]], "Comments": []},
    {
        "id": 1,
        "text": "Pia met Ola",
        "entities": [{"label": "PER", "start_offset": 0, "end_offset": 3}],
        "relations": [],
    },
    {
        "text": "Pia met Ola",
        "answer": "accept",
        "_view_id": "ner_manual",
        "spans": [{"start": 0, "end": 3, "label": "PER"}],
    },
    {"tokens": ["Pia", "met", "Ola"], "ner_tags": ["B-PER", "O", "O"]},
    {"text": "Pia met Ola", "ents": [{"start": 0, "end": 3, "label": "PER"}]},
    ["Pia met Ola", {"entities": [[0, 3, "PER"]]}],
    {"id": 0, "paragraphs": [{"raw": None, "sentences": [{"tokens": [{"orth": "Pia", "ner": "U-PER"}]}]}]},
    {"data": {"text": "Pia met Ola"}, "annotations": [{"result": []}]},
)
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-3, 20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["text", "spans", "start", "label", "data", "tokens", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)


@st.composite
def mutated(draw: st.DrawFn) -> Any:
    """A valid record of some shape with one value, anywhere in it, replaced, removed or renamed."""
    value = json.loads(json.dumps(draw(st.sampled_from(SHAPES))))
    inner, way = value, draw(st.integers(0, 3))
    for _ in range(way):
        children = [
            one for one in (inner.values() if isinstance(inner, dict) else inner) if isinstance(one, dict | list)
        ]
        if not (children := [one for one in children if one]):
            break
        inner = draw(st.sampled_from(children))
    key = draw(st.sampled_from(list(inner) if isinstance(inner, dict) else list(range(len(inner)))))
    what = draw(st.sampled_from(["replace", "remove", "rename"]))
    old = inner.pop(key)
    if what == "replace" or (what == "rename" and not isinstance(inner, dict)):
        inner.insert(key, draw(JSON)) if isinstance(inner, list) else inner.update({key: draw(JSON)})
    elif what == "rename":
        inner[draw(st.sampled_from(["Label", "x", "labels", "begin", "tags", "entities", "Text", "spans"]))] = old
    return value


@given(st.lists(mutated() | JSON, min_size=1, max_size=3), st.booleans())
def test_any_json_gives_records_and_problems_and_no_other_error(values: list[Any], in_array: bool):
    content = json.dumps(values) if in_array else "\n".join(map(json.dumps, values))
    try:
        read = list(reading(content).records())
    except InputError:
        return
    assert all(isinstance(item, Record | Problem) for item in read)
    list(raw(content, texts_only=True))


@given(mutated(), st.integers(0, 200))
def test_a_file_that_was_cut_off_gives_the_same_records_problems_or_an_error(value: Any, cut: int):
    whole = json.dumps([value, value])
    try:
        read = list(reading(whole[: max(1, len(whole) - cut)]).records())
    except InputError:
        return
    if cut:
        assert any(isinstance(item, Problem) for item in read)
