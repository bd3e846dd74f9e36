"""Fields are found, and values are shown, as Label Studio's page does it."""

from __future__ import annotations

import json
import math
import shutil
import subprocess
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ner.errors import InputError
from ner.label_studio.task_data import MISSING, field_names, find_field, nested, shown_text, without_field

KEYS = st.from_regex(r"[A-Za-z0-9_]{1,5}", fullmatch=True)
FIELDS = st.lists(KEYS, min_size=1, max_size=5).map(".".join)
DATA = st.dictionaries(KEYS, st.recursive(st.text(max_size=5), lambda inner: st.dictionaries(KEYS, inner, max_size=3)))


@given(FIELDS, st.text())
def test_a_nested_value_is_found_and_nothing_is_left_without_it(field: str, text: str) -> None:
    data = nested(field, text)
    assert find_field(data, field) == text
    assert field_names(data) == (field,)
    assert without_field(data, field) == {}


@given(DATA, FIELDS, st.text())
def test_taking_a_field_out_leaves_every_other_field(data: dict[str, Any], field: str, text: str) -> None:
    before = json.dumps(data)
    with_text = {**data, **nested(field, text)}
    others = {name: find_field(with_text, name) for name in field_names(with_text) if name != field}
    rest = without_field(with_text, field)
    assert find_field(rest, field) is MISSING
    assert {name: find_field(rest, name) for name in field_names(rest)} == others
    assert json.dumps(data) == before


@pytest.mark.parametrize(
    ("data", "found"),
    [
        ({"a": {"b": "deep"}}, "deep"),
        ({"a.b": "flat", "a": {"b": "deep"}}, "flat"),
        ({"a.b": None, "a": {"b": "deep"}}, None),
        ({"a": {"b": None}}, None),
        ({"a": {"c": "x"}}, MISSING),
        ({"a": "text"}, MISSING),
        ({"a": None}, MISSING),
        ({"b": "x"}, MISSING),
        ({}, MISSING),
    ],
)
def test_a_flat_name_wins_over_the_path_and_null_is_not_missing(data: dict[str, Any], found: object) -> None:
    assert find_field(data, "a.b") is found


def test_a_number_in_the_path_counts_places_in_a_list_and_names_a_key_in_an_object() -> None:
    data = {"parts": ["x", {"said": "y"}], "map": {"0": "z"}}
    assert find_field(data, "parts.0") == "x"
    assert find_field(data, "parts.1.said") == "y"
    assert find_field(data, "map.0") == "z"
    assert [find_field(data, field) for field in ("parts.2", "parts.01", "parts.said")] == [MISSING] * 3


def test_a_flat_field_is_taken_out_under_its_flat_name() -> None:
    assert without_field({"a.b": "text", "a": {"b": "other"}}, "a.b") == {"a": {"b": "other"}}


def test_a_list_that_holds_the_text_is_left_whole() -> None:
    assert without_field({"parts": ["text"]}, "parts.0") == {"parts": ["text"]}


SHOWN = [
    ("a\r\nb", "a\r\nb"),
    (3, "3"),
    (3.0, "3"),
    (-3.5, "-3.5"),
    (0.1, "0.1"),
    (-0.0, "0"),
    (2**53 - 1.0, "9007199254740991"),
    (2**53 + 1, "9007199254740993"),
    (-(10**22), "-10000000000000000000000"),
    (0.000001, "0.000001"),
    (0.0000015, "0.0000015"),
    (0.00000015, "1.5e-7"),
    (True, "true"),
    (False, "false"),
    ([], ""),
    (["Paris", "in", "May"], "Paris,in,May"),
    (["a", None, 3.0, True], "a,,3,true"),
]


@pytest.mark.parametrize(("value", "shown"), SHOWN)
def test_a_value_is_shown_as_the_page_shows_it(value: object, shown: str) -> None:
    assert shown_text(value) == shown


def test_numbers_are_written_as_javascript_writes_them() -> None:
    node = shutil.which("node")
    if node is None:
        pytest.skip("node is not installed")
    numbers = doubles()
    script = "process.stdout.write(JSON.stringify(JSON.parse(require('fs').readFileSync(0)).map(String)))"
    said = subprocess.run([node, "-e", script], input=json.dumps(numbers), capture_output=True, text=True, check=True)
    assert [shown_text(number) for number in numbers] == json.loads(said.stdout)


def doubles() -> list[float]:
    """Powers of ten around the border where the exponent begins, and the doubles beside them."""
    found = [0.0, -0.0, 5e-324, 2.0**53 - 1, 1 - 2.0**53]
    for exponent in range(-30, 16):
        ten = float(f"1e{exponent}")
        found += [ten, -ten, math.nextafter(ten, 0), math.nextafter(ten, math.inf), ten * 1.2345678901234567]
    return found


@pytest.mark.parametrize(
    "value", [None, {"de": "x"}, [{"x": 1}], [["a"]], float("nan"), float("inf"), 2.0**53, 10**400]
)
def test_what_the_page_cannot_show_as_a_text_is_refused(value: object) -> None:
    with pytest.raises(InputError, match=r"a number as a text|a text is"):
        shown_text(value)
