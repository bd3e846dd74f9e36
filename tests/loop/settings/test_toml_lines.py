"""Keys of a TOML file are set line by line, and everything else in it stays."""

from __future__ import annotations

import tomllib

from loop.settings.toml_lines import with_values

TEXT = "# about\n[a]\nx = 1  # one\n# y = 2\n\n[b]\n# x = 3\n"


def test_a_key_is_set_in_its_own_section_and_the_rest_stays():
    assert with_values(TEXT, {"a.x": 5}) == TEXT.replace("x = 1  # one", "x = 5")


def test_a_key_that_is_commented_out_becomes_the_setting():
    assert tomllib.loads(with_values(TEXT, {"a.y": "z", "b.x": 0.5})) == {"a": {"x": 1, "y": "z"}, "b": {"x": 0.5}}


def test_a_setting_wins_over_an_earlier_comment_of_the_same_key():
    assert tomllib.loads(with_values("[a]\n# x = 1\nx = 2\n", {"a.x": 3})) == {"a": {"x": 3}}


def test_a_key_or_section_that_is_missing_is_added():
    assert tomllib.loads(with_values(TEXT, {"b.new": 1, "c.new": "ä"})) == {
        "a": {"x": 1},
        "b": {"new": 1},
        "c": {"new": "ä"},
    }


def test_setting_the_same_again_changes_nothing():
    once = with_values(TEXT, {"a.y": 'quoted "here"', "c.z": 1})
    assert with_values(once, {"a.y": 'quoted "here"', "c.z": 1}) == once
