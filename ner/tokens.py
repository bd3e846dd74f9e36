"""Text to tokens, the same for training and for serving: ids, trimmed offsets, special tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

from ner.alignment import carries_text, trim_offsets
from ner.arrays import BoolArray, IntArray
from ner.errors import InputError


@dataclass(frozen=True, slots=True, eq=False)
class Tokens:
    """A text's own tokens, without special tokens.

    ids: n token ids, what the encoder reads. offsets: (n, 2) int64, half-open code points of the original text,
    trimmed of whitespace. tagged: (n,), False for tokens of nothing but whitespace, which byte-level BPE has: the
    encoder reads them, but neither training nor decoding gives them a tag.
    """

    ids: list[int]
    offsets: IntArray
    tagged: BoolArray


class TextEncoder:
    """Reads texts with a `tokenizers.Tokenizer` (a transformers tokenizer's `backend_tokenizer`).

    The encoder works on a copy of the tokenizer, without truncation or padding, since `ner.windows` cuts long texts.
    `prefix` and `suffix` are the special tokens before and after a sequence, such as ([CLS],) and ([SEP],). Threads may
    share an encoder.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = Tokenizer.from_str(tokenizer.to_str())
        self._tokenizer.no_truncation()
        self._tokenizer.no_padding()
        framed = self._tokenizer.encode("a")
        special = [bool(flag) for flag in framed.special_tokens_mask]
        before = special.index(False) if False in special else len(special)
        after = special[::-1].index(False) if False in special else 0
        self.prefix: tuple[int, ...] = tuple(framed.ids[:before])
        self.suffix: tuple[int, ...] = tuple(framed.ids[len(special) - after :])

    @property
    def num_special(self) -> int:
        """How many tokens `frame` adds."""
        return len(self.prefix) + len(self.suffix)

    @property
    def largest_id(self) -> int:
        """The largest id the tokenizer can produce."""
        return max(self._tokenizer.get_vocab(with_added_tokens=True).values(), default=0)

    def encode(self, text: str) -> Tokens:
        """The text's tokens. Raises InputError for a text with lone surrogates, which tokenizers cannot read."""
        try:
            encoding = self._tokenizer.encode(text, add_special_tokens=False)
        except (UnicodeError, TypeError) as error:
            raise InputError("a text can be encoded as UTF-8", value=repr(text)) from error
        offsets = trim_offsets(encoding.offsets, text)
        return Tokens(encoding.ids, offsets, carries_text(offsets))

    def frame(self, ids: Sequence[int]) -> list[int]:
        """The ids of one window with the special tokens around them, as the encoder expects its input."""
        return [*self.prefix, *ids, *self.suffix]
