"""Pieces of a model's tokenizer are refused by name, and words that only look like pieces are read."""

from __future__ import annotations

import pytest

from tests.loop.files.read import problem, raw, record

PIECES = [
    ["[CLS]", "Pia", "Be", "##rg", "left", "[SEP]"],
    ["Pia", "Be", "##rg", "left"],
    ["ticket", "##1", "##2"],
    ["▁Pia", "▁Be", "rg"],
    ["Pia", "▁left"],
    ["<s>", "Pia", "left", "</s>"],
    ["<s>", "Pia", "left"],
    ["Pia", "left", "</s>"],
    ["Pia", "left", "<pad>", "<pad>"],
    ["Pia", "ĠBerg", "Ġleft"],
    ["Pia", "Ġleft", "Ġt", "urin"],
    ["Pia", "ĠBerg"],
    ["Pia</w>", "left</w>"],
    ["Be@@", "rg", "left"],
]
WORDS = [
    ["Pia", "##", "left"],
    ["ticket", "##12", "is", "open"],
    ["##", "Notes"],
    ["##rg", "is", "a", "piece"],
    ["the", "tag", "<s>", "strikes"],
    ["[MASK]", "and", "<unk>", "stay"],
    ["Ġorġ", "Borg", "telaq", "f'", "Ġunju"],
    ["Pia", "ĠUNJU", "2024"],
    ["load", "▁▂▃", "high"],
    ["user@@host", "a@b", "@@"],
]


@pytest.mark.parametrize("tokens", PIECES)
def test_pieces_of_a_tokenizer_are_refused_by_name(tokens: list[str]):
    (read,) = raw({"tokens": tokens, "ner_tags": ["B-PER"] + ["O"] * (len(tokens) - 1)})
    assert "not the pieces of a model's tokenizer" in str(problem(read).error)


@pytest.mark.parametrize("tokens", WORDS)
def test_words_that_look_like_pieces_are_words(tokens: list[str]):
    (read,) = raw({"tokens": tokens, "ner_tags": ["B-PER"] + ["O"] * (len(tokens) - 1)})
    assert record(read).text == " ".join(tokens)


def test_pieces_that_stand_in_the_text_beside_them_are_its_words():
    (read,) = raw({"text": "Be ##rg", "tokens": ["Be", "##rg"], "ner_tags": ["O", "O"]})
    assert record(read).text == "Be ##rg"
