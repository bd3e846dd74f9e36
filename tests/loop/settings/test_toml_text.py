"""Keys of a loop.toml are set, and everything else in it stays."""

from __future__ import annotations

import tomllib

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from loop.settings.toml_text import new_loop_toml, with_values
from ner.errors import ConfigError

TEXT = "# about\n[a]\nx = 1  # one\n# y = 2 # two\n\n# about b\n[b]\n# x = 3\nz = [\n  1, # first\n]\n"
PLAIN = st.text(st.characters(exclude_categories=["Cs"]))
VALUES = PLAIN | st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.floats(allow_nan=False)


def test_a_key_is_set_in_its_own_section_and_the_rest_stays():
    assert with_values(TEXT, {"a.x": 5}) == TEXT.replace("x = 1 ", "x = 5 ")


def test_a_key_that_is_commented_out_becomes_the_setting_in_its_place_and_keeps_its_explanation():
    set_to = with_values(TEXT, {"a.y": "z", "b.x": 0.5})
    assert tomllib.loads(set_to) == {"a": {"x": 1, "y": "z"}, "b": {"x": 0.5, "z": [1]}}
    kept = [line for line in TEXT.splitlines() if line not in ("# y = 2 # two", "# x = 3")]
    assert [line for line in set_to.splitlines() if line in kept] == kept
    assert set_to.splitlines()[3].split() == ["y", "=", '"z"', "#", "two"]


def test_a_setting_wins_over_a_comment_of_the_same_key():
    assert tomllib.loads(with_values("[a]\n# x = 1\nx = 2\n", {"a.x": 3})) == {"a": {"x": 3}}


def test_a_key_or_section_that_is_missing_is_added():
    added = {"b.new": 1, "c.new": "ä"}
    expected = {"a": {"x": 1}, "b": {"z": [1], "new": 1}, "c": {"new": "ä"}}
    assert tomllib.loads(with_values(TEXT, added)) == tomllib.loads(with_values(TEXT.rstrip(), added)) == expected


@given(st.dictionaries(st.sampled_from(["a.x", "a.y", "b.x", "b.new", "c.new"]), VALUES))
@example({"a.y": 'quoted "here"', "c.new": "\\1 \x7f\n#"})
def test_what_was_set_is_read_and_setting_the_same_again_changes_nothing(values: dict[str, str | int | float]):
    once = with_values(TEXT, values)
    read = tomllib.loads(once)
    for name, value in values.items():
        section, key = name.split(".")
        assert read[section][key] == value
    assert with_values(once, values) == once


@given(PLAIN)
def test_a_new_file_holds_the_name_as_it_was_given(name: str):
    assert tomllib.loads(new_loop_toml(name))["project"] == {"name": name}


def test_a_text_that_is_no_toml_is_refused():
    with pytest.raises(ConfigError, match="line 1"):
        with_values("[a\n", {"a.x": 1})
