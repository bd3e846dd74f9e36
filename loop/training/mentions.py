"""Mention replacement: a mention in the gold is read as another mention of its type now and then (Dai and Adel 2020).

A few hundred texts are read twenty times, and hold few mentions of a type. A model that always reads the same ones
learns them by heart, and is sure of too much elsewhere. BENCHMARKS.md measures what the replacement is worth.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np

from loop.training.batches import FramedWindow
from ner.arrays import IntArray

_Mention = tuple[IntArray, IntArray]


class Mentions:
    """The mentions that windows hold, by type. Each is (ids, tags) of its tokens."""

    def __init__(self, windows: Sequence[FramedWindow], share: float) -> None:
        """share: the chance of each mention to be replaced, each time that its window is read."""
        self._share = share
        self._by_type: dict[int, list[_Mention]] = {}
        self._longest = max((len(window.ids) for window in windows), default=0)
        for window in windows:
            for start, end in window.mentions:
                found = window.ids[start:end], window.tags[start:end]
                self._by_type.setdefault(int(window.tags[start]), []).append(found)

    def replaced(self, window: FramedWindow, random: np.random.Generator) -> FramedWindow:
        """The window with other mentions; as it is, where it would be longer than the longest window."""
        if not self._share or not window.mentions:
            return window
        ids, tags = (np.concatenate(parts) for parts in zip(*self._parts(window, random), strict=True))
        return window if len(ids) > self._longest else replace(window, ids=ids, tags=tags, mentions=())

    def _parts(self, window: FramedWindow, random: np.random.Generator) -> Iterator[_Mention]:
        """The window from its start to its end: what stands between mentions, and the mentions."""
        at = 0
        for start, end in window.mentions:
            yield window.ids[at:start], window.tags[at:start]
            others = self._by_type[int(window.tags[start])]
            chosen = random.random() < self._share
            yield others[random.integers(len(others))] if chosen else (window.ids[start:end], window.tags[start:end])
            at = end
        yield window.ids[at:], window.tags[at:]
