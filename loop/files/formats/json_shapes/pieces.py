"""The pieces into which a model's tokenizer cuts words: they are no words, and no text can be joined of them.

A sign that a real word could bear, such as the letter of Maltese that byte-level tokenizers write for a space, has to
stand more than once.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator, Sequence

from ner.errors import InputError

_FIRST = ("[CLS]", "<s>", "<bos>", "<|begin_of_text|>", "<|endoftext|>", "[PAD]", "<pad>")
_LAST = ("[SEP]", "</s>", "<eos>", "<|endoftext|>", "[PAD]", "<pad>")
_SPECIAL = frozenset((*_FIRST, *_LAST))
# SentencePiece; the end of a word, and a word that goes on, of older tokenizers.
_PIECE = re.compile(r"▁+\w.*|.*\w</w>|\w+@@", re.DOTALL)
_CONTINUES = "##"
_SPACE = "Ġ"


def refuse_pieces(words: Sequence[str]) -> None:
    """Raise InputError for tokens that a model's tokenizer made. `words`: the tokens of a text that are not blank."""
    found = next(_pieces(words), None)
    if found is not None:
        raise InputError(
            "tokens are words, not the pieces of a model's tokenizer",
            value=found,
            next_step="Import the words as they were before a tokenizer cut them, or give `text` beside the tokens.",
        )


def _pieces(words: Sequence[str]) -> Iterator[str]:
    """The tokens that show that a tokenizer made them; nothing for words."""
    special = [word for word in words if word in _SPECIAL]
    if special and (words[0] in _FIRST or words[-1] in _LAST or len(special) > 1):
        yield special[0]
    yield from (word for word in words if _PIECE.fullmatch(word))
    later = [word for word in words[1:] if word.startswith(_SPACE) and len(word) > 1]
    yield from (word for word in later if _is_capitalised(word[1:]))
    if len(later) > 1 and 2 * len(later) >= len(words) - 1:
        yield later[0]
    yield from _continuing(words)


def _continuing(words: Sequence[str]) -> Iterator[str]:
    """`##rg` behind the beginning of its word; what may be a number or a hash tag has to stand there twice."""
    found = [
        (before, word)
        for before, word in itertools.pairwise(words)
        if word.startswith(_CONTINUES) and word[len(_CONTINUES) :].strip("#")
    ]
    for before, word in found:
        if len(found) > 1 or (word[len(_CONTINUES)].isalpha() and before[-1].isalpha()):
            yield word


def _is_capitalised(word: str) -> bool:
    """Whether a capital and small letters follow, as within no word of Maltese; or a digit."""
    return word[0].isdigit() or (word[0].isupper() and not word.isupper())
