"""What is seen of a word: the word, its affixes and shape, and its neighbours."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from weak_labeling.aggregate.table import VoteTable

_FEATURES = 12


def word_features(table: VoteTable) -> Sequence[str]:
    """The names of the features of all words, twelve of each word, one word behind the other."""
    own = {token: _own(token) for token in {"", *table.tokens}}
    names: list[str] = []
    for first, stop in zip(table.starts[:-1].tolist(), table.starts[1:].tolist(), strict=True):
        words = [own[token] for token in ("", *table.tokens[first:stop], "")]
        for before, word, behind in zip(words, words[1:], words[2:], strict=False):
            names += word
            names += (f"before {before[0]}", f"behind {behind[0]}", f"before {before[1]}", f"behind {behind[1]}")
    return names


def frequent_features(names: Sequence[str], least: int = 1) -> dict[str, int]:
    """A column for each feature that at least so many words have, in order of the names."""
    seen = Counter(names)
    return {name: number for number, name in enumerate(sorted(name for name in seen if seen[name] >= least))}


def feature_matrix(names: Sequence[str], columns: Mapping[str, int]) -> Any:
    """(words, columns), sparse: 1 where the word has the feature of the column."""
    column = np.fromiter((columns.get(name, -1) for name in names), dtype=np.int64, count=len(names))
    known = np.flatnonzero(column >= 0)
    shape = (len(names) // _FEATURES, len(columns))
    return csr_matrix((np.ones(len(known)), (known // _FEATURES, column[known])), shape=shape)


def _own(token: str) -> tuple[str, ...]:
    """Of the word itself: the word, its shape, its affixes."""
    word = token.lower()
    ends, starts = (f"end {word[-size:]}" for size in (2, 3, 4, 5)), (f"start {word[:size]}" for size in (3, 4))
    return (f"word {word}", f"shape {_shape(token)}", *ends, *starts)


def _shape(word: str) -> str:
    classes = re.sub(r"[a-z]", "a", re.sub(r"[A-Z]", "A", re.sub(r"\d", "0", word)))
    return re.sub(r"(.)\1+", r"\1", classes)[:6]
