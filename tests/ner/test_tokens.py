from __future__ import annotations

import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors

from ner.errors import InputError
from ner.tokens import TextEncoder


def word_level() -> Tokenizer:
    vocabulary = {"[PAD]": 0, "[UNK]": 1, "[CLS]": 2, "[SEP]": 3, "a": 4, "windows": 5}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        "[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)]
    )
    return tokenizer


def byte_level(*, trim: bool) -> Tokenizer:
    """Bytes of the alphabet that RoBERTa uses, with no merges but the space before a word."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {symbol: index for index, symbol in enumerate([*alphabet, "Ġx", "<s>", "</s>"])}
    tokenizer = Tokenizer(models.BPE(vocabulary, [("Ġ", "x")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.post_processor = processors.RobertaProcessing(
        ("</s>", vocabulary["</s>"]), ("<s>", vocabulary["<s>"]), trim_offsets=trim, add_prefix_space=False
    )
    return tokenizer


def test_special_tokens_are_framed_around_a_window_and_not_among_its_tokens() -> None:
    encoder = TextEncoder(word_level())
    tokens = encoder.encode("A Windows")
    assert tokens.ids == [4, 5]
    assert tokens.offsets.tolist() == [[0, 1], [2, 9]]
    assert encoder.frame(tokens.ids) == [2, 4, 5, 3] == word_level().encode("A Windows").ids
    assert encoder.num_special == 2


def test_a_tokenizer_that_truncates_or_pads_is_read_whole_and_left_as_it_was() -> None:
    tokenizer = word_level()
    tokenizer.enable_truncation(3)
    tokenizer.enable_padding(length=10)
    assert TextEncoder(tokenizer).encode("a a a a a").ids == [4] * 5
    assert (tokenizer.truncation or {})["max_length"] == 3


def test_a_tokenizer_without_special_tokens_frames_nothing() -> None:
    tokenizer = word_level()
    tokenizer.post_processor = processors.ByteLevel()
    encoder = TextEncoder(tokenizer)
    assert encoder.frame([4]) == [4]


@pytest.mark.parametrize("trim", [True, False])
def test_the_space_before_a_byte_level_word_is_not_part_of_its_offsets(trim: bool) -> None:
    tokens = TextEncoder(byte_level(trim=trim)).encode("y  x")
    assert tokens.offsets[tokens.tagged].tolist() == [[0, 1], [3, 4]]
    assert len(tokens.ids) == 3, "the whitespace token stays: it is context"


def test_offsets_are_code_points_of_the_original_text() -> None:
    assert TextEncoder(word_level()).encode("\U0001f600 windows").offsets.tolist() == [[0, 1], [2, 9]]


def test_the_bytes_of_one_character_share_its_offsets() -> None:
    assert TextEncoder(byte_level(trim=True)).encode("\u00e9").offsets.tolist() == [[0, 1], [0, 1]]


def test_a_blank_text_has_no_tokens() -> None:
    tokens = TextEncoder(word_level()).encode(" ")
    assert (tokens.ids, tokens.offsets.shape, len(tokens.tagged)) == ([], (0, 2), 0)


def test_a_lone_surrogate_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="UTF-8"):
        TextEncoder(word_level()).encode("a \ud83d")


def test_the_largest_id_is_the_last_of_the_vocabulary() -> None:
    assert TextEncoder(word_level()).largest_id == 5
