"""The votes on many texts as arrays, word by word: what the statistical methods compute on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ner.arrays import BoolArray, IntArray
from ner.labels import LabelSet
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.aggregate.words import cleaned, word_range, words

_SENTENCE_ENDS = frozenset(".!?")


@dataclass(frozen=True, eq=False)
class VoteTable:
    """Texts and their votes; all words of all texts in one row.

    starts: (texts + 1,), text number t has the words `starts[t]:starts[t + 1]`. offsets: (words, 2), code points of
    the text. tokens: (words,) of str. The arrays of votes have one entry for each word of each vote: word (its
    number), source (its number among the sources), tag (its id), last (whether the vote ends with the word).
    """

    starts: IntArray
    offsets: IntArray
    tokens: tuple[str, ...]
    word: IntArray
    source: IntArray
    tag: IntArray
    last: BoolArray

    @property
    def words(self) -> int:
        """How many words all texts have."""
        return len(self.offsets)

    def chains(self, inside: IntArray | None = None) -> IntArray:
        """Where chains begin, and the number of words at the end: at each text and behind each end of a sentence.

        No vote is cut in two, and no chain begins at the words `inside`. Short chains go through the sums faster, since
        more of them go side by side.
        """
        ends = np.array([token in _SENTENCE_ENDS for token in self.tokens], dtype=np.bool_)
        begins = np.concatenate([[True], ends])
        begins[self.word[self.tag % 2 == 0]] = False
        if inside is not None:
            begins[inside] = False
        begins[self.starts] = True
        return np.flatnonzero(begins)


def vote_table(texts: Sequence[VotedText], sources: Sequence[str], labels: LabelSet) -> VoteTable:
    """The table of these texts. Votes of other sources than `sources` are left out, but cut words as well."""
    numbers = {name: number for number, name in enumerate(sources)}
    starts, offsets, tokens = [0], [], []
    rows: list[tuple[int, int, int, bool]] = []
    for voted in texts:
        votes = cleaned(voted.text, voted.votes)
        found = words(voted.text, (vote.span for vote in votes))
        for vote in votes:
            first, stop = word_range(vote.span, found)
            source, tag = numbers.get(vote.source, -1), labels.begin(vote.span.label)
            rows += (
                (starts[-1] + place, source, tag + (place > first), place == stop - 1) for place in range(first, stop)
            )
        starts.append(starts[-1] + len(found))
        offsets.append(found)
        tokens += [voted.text[start:end] for start, end in found.tolist()]
    columns = np.array([row for row in rows if row[1] >= 0], dtype=np.int64).reshape(-1, 4)
    return VoteTable(
        np.array(starts),
        np.concatenate([np.zeros((0, 2), dtype=np.int64), *offsets]),
        tuple(tokens),
        columns[:, 0],
        columns[:, 1],
        columns[:, 2],
        columns[:, 3].astype(np.bool_),
    )
