"""Long texts as overlapping windows of tokens, and their logits merged back into one sequence.

Entities are decoded after merging, over the whole text, so the edge of a window neither cuts nor doubles an entity.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ner.arrays import Logits


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens `start:end` are read together; the predictions for tokens `keep_start:keep_end` come from this window.

    Both ranges are half-open, and count the text's own tokens without special tokens.
    """

    start: int
    end: int
    keep_start: int
    keep_end: int

    @property
    def kept(self) -> slice:
        """The rows to keep of this window's (end - start, t) logits."""
        return slice(self.keep_start - self.start, self.keep_end - self.start)


def windows(num_tokens: int, max_length: int, num_special: int = 2, overlap: int | None = None) -> tuple[Window, ...]:
    """Cover `num_tokens` tokens by windows of at most `max_length` tokens, the `num_special` special ones included.

    Neighbours share `overlap` tokens, by default a quarter of a window. The last two windows may share more, since the
    last window is moved back until it is full. Each token is kept from the window in which it has more context: the
    cut lies in the middle of each shared stretch. Raises ValueError unless `max_length` leaves room for a token and
    `overlap` is smaller than that room.
    """
    room = max_length - num_special
    shared = room // 4 if overlap is None else overlap
    if room < 1 or not 0 <= shared < room:
        raise ValueError(f"no room for windows: max_length {max_length}, special {num_special}, overlap {shared}")
    if num_tokens <= room:
        return (Window(0, num_tokens, 0, num_tokens),) if num_tokens else ()
    starts = [*range(0, num_tokens - room, room - shared), num_tokens - room]
    cuts = [0, *((start + before + room) // 2 for before, start in pairwise(starts)), num_tokens]
    return tuple(
        Window(start, start + room, keep_start, keep_end)
        for start, (keep_start, keep_end) in zip(starts, pairwise(cuts), strict=True)
    )


def merge(parts: Sequence[Window], logits: Sequence[Logits]) -> Logits:
    """(num_tokens, t): the kept rows of each window's (end - start, t) logits, in text order."""
    if len(parts) == 1:
        return logits[0]
    return np.concatenate([rows[part.kept] for part, rows in zip(parts, logits, strict=True)])
