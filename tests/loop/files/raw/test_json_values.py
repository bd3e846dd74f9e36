"""JSON is read strictly."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from loop.files.raw.json_values import parse_json
from ner.errors import InputError


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(), lambda inner: st.lists(inner)))
def test_strict_json_reads_what_json_writes(value: object):
    assert parse_json(json.dumps(value)) == value


@given(st.text())
def test_any_text_is_a_value_or_an_input_error(text: str):
    try:
        parse_json(text)
    except InputError as error:
        assert error.exit_code == 4
