"""The texts of the adapter at which trainings start are marked as their module says, and each stands there once."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from scripts.prefinetuning.marked_texts import TYPES, read_texts


def test_every_text_is_marked_by_the_rules_and_stands_there_once() -> None:
    texts = list(read_texts())
    assert not [text.source for text in texts for span in text.spans if text.text[span.start : span.end].strip() == ""]
    assert [text for text, times in Counter(one.text.casefold() for one in texts).items() if times > 1] == []
    assert {span.label for text in texts for span in text.spans} == set(TYPES)
    assert any(not text.spans for text in texts)


def test_marks_become_spans_of_the_text_without_marks(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("[[Go|PROGRAMMING_LANGUAGE]] is not [[go|FAULT]]!\n\nnothing\n", encoding="utf-8")
    first, second = read_texts(tmp_path)
    assert (first.text, second.text, second.source) == ("Go is not go!", "nothing", "a.txt:3")
    assert [(first.text[span.start : span.end], span.label) for span in first.spans] == [
        ("Go", "PROGRAMMING_LANGUAGE"),
        ("go", "FAULT"),
    ]


@pytest.mark.parametrize("line", ["[[Go|TONGUE]]", "[[Go PROGRAMMING_LANGUAGE]]", "[[Go|PERSON", "Go]]"])
def test_a_broken_mark_is_named_with_file_and_line(tmp_path: Path, line: str) -> None:
    (tmp_path / "a.txt").write_text(f"fine\n{line}\n", encoding="utf-8")
    with pytest.raises(ValueError, match=r"a\.txt:2"):
        list(read_texts(tmp_path))
