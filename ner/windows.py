"""Long texts as overlapping windows of tokens, and their logits merged back into one sequence.

Entities are decoded after merging, over the whole text, so a window's edge can neither cut nor double one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, slots=True)
class Window:
    """Tokens `start:end` are read together; the predictions of tokens `keep_start:keep_end` are taken from here.

    All four are half-open positions among the text's own tokens (special tokens not counted).
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

    Neighbours share `overlap` tokens (a quarter of a window unless told), the last two maybe more: the last window is
    moved back to be full. Each token is kept from the window where it has most context, counted as the tokens
    between it and the nearer edge, where the text's own ends are no edges; that cuts each shared stretch in its middle.
    Raises ValueError unless `max_length` leaves room for a token and `overlap` is smaller than that room.
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


def merge(parts: Sequence[Window], logits: Sequence[npt.NDArray[np.floating[Any]]]) -> npt.NDArray[np.floating[Any]]:
    """(num_tokens, t): the kept rows of each window's (end - start, t) logits, in text order."""
    if len(parts) == 1:
        return logits[0]
    return np.concatenate([rows[part.kept] for part, rows in zip(parts, logits, strict=True)])
