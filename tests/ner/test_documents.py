from __future__ import annotations

import hashlib

import pytest

from ner.documents import MAX_TEXT_CHARS, LabelledText, check_text, content_hash
from ner.errors import InputError


@pytest.mark.parametrize(
    ("text", "rule"),
    [
        (None, "a text is a string"),
        (b"bytes", "a text is a string"),
        ("", "not empty or blank"),
        (" \n\u00a0", "not empty or blank"),
        ("a\0b", r"U\+0000 at character 1"),
        ("caf\u00e9 \ud83d", r"U\+D83D at character 5"),
        ("x" * (MAX_TEXT_CHARS + 1), "1,000,001 characters"),
    ],
)
def test_a_text_nobody_can_label_is_refused_by_rule_and_value(text: object, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        check_text(text)


@pytest.mark.parametrize("text", ["x" * MAX_TEXT_CHARS, "emoji \U0001f600", "zero\u200bwidth", "a\r\nb"])
def test_other_texts_pass_unchanged(text: str) -> None:
    assert check_text(text) is text


def test_equal_hashes_mean_equal_texts_without_normalisation() -> None:
    assert content_hash("abc") == hashlib.sha256(b"abc").hexdigest()
    assert content_hash("\u00e9") != content_hash("e\u0301")


def test_any_string_has_a_hash() -> None:
    assert len(content_hash("\ud83d")) == 64


def test_a_document_is_drawn_by_its_group_else_by_its_content() -> None:
    assert LabelledText("1", "text", group="thread-7").group_key == "thread-7"
    assert LabelledText("1", "text").group_key == content_hash("text") == LabelledText("2", "text", group="").group_key
