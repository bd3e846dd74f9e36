"""The classes of any token classifier as spans: BIO, IO, IOB1 and BILOU tags, with or without a prefix.

Models of different makers tag differently. What they agree on is decoded: how probable a label is at each word, and
whether an entity begins there. Decoding is the project's own (`ner.decoding`), over the whole text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ner.arrays import FloatArray, IntArray
from ner.decoding import tags_to_spans, viterbi
from ner.labels import OUTSIDE, LabelSet
from ner.spans import Span
from weak_labeling.sources.words import word_goes_on

_PREFIXED = re.compile(r"([BILOUESM])[-_](.+)")
_BEGINS = frozenset("BUS")
_LESS_LIKELY = 1e-6  # nats: settles a tie, and nothing else


def labels_of_tags(tags: Iterable[str]) -> tuple[str, ...]:
    """The labels that the tags of a model name, in order, without O."""
    return tuple(dict.fromkeys(label for tag in tags if (label := _parts(tag)[1]) != OUTSIDE))


@dataclass(frozen=True, eq=False)
class TokenClasses:
    """What the columns of a model mean. sums: (t, 2k + 1), which tag of the model counts as which of `labels`.

    Several labels of a model may become one of the project's. All that does not vote counts as outside.
    """

    labels: LabelSet
    sums: FloatArray

    @staticmethod
    def of(tags: Sequence[str], voting: Mapping[str, str]) -> TokenClasses:
        """tags: the tag of each column. voting: labels of the model to labels of the project."""
        labels = LabelSet(tuple(dict.fromkeys(voting.values())))
        sums = np.zeros((len(tags), len(labels.tags)))
        for column, tag in enumerate(tags):
            begins, label = _parts(tag)
            target = voting.get(label)
            kind = labels.begin if begins else labels.inside
            sums[column, 0 if target is None else kind(target)] = 1.0
        return TokenClasses(labels, sums)

    def spans(self, text: str, probs: FloatArray, offsets: IntArray) -> tuple[Span, ...]:
        """The entities of a text, each with its score.

        probs: (n, t) of the tokens that carry text. offsets: (n, 2). A word has the tags of its first token, on which
        such models are trained (Devlin et al. 2019), and an entity never begins or ends inside a word. At a word, a
        label has the probability of all of its tags. Where the label goes on from the word before, the tags decide
        whether an entity ends there and another one begins.
        """
        first, bounds = _words(text, offsets)
        if not len(first):
            return ()
        ours = probs[first] @ self.sums
        begins, insides = ours[:, 1::2], ours[:, 2::2]
        either = begins + insides
        begun = begins > insides
        ours[:, 1::2] = either
        ours[:, 2::2] = either
        with np.errstate(divide="ignore"):
            scores = np.log(ours)
        scores[:, 1::2] -= np.where(begun, 0.0, _LESS_LIKELY)
        scores[:, 2::2] -= np.where(begun, _LESS_LIKELY, 0.0)
        return tags_to_spans(viterbi(scores, self.labels), bounds, self.labels, ours.clip(0.0, 1.0))


def _words(text: str, offsets: IntArray) -> tuple[IntArray, IntArray]:
    """(w,) the first token of each word, and (w, 2) the bounds of the words."""
    starts = [
        index
        for index, (start, _) in enumerate(offsets.tolist())
        if index == 0 or start > offsets[index - 1, 1] or not word_goes_on(text, start)
    ]
    first = np.array(starts, dtype=np.int64)
    last = np.append(first[1:], len(offsets)) - 1
    return first, np.column_stack([offsets[first, 0], offsets[last, 1]]) if starts else offsets[:0]


def _parts(tag: str) -> tuple[bool, str]:
    """(whether the tag begins an entity, its label)."""
    parts = _PREFIXED.fullmatch(tag)
    return (parts[1] in _BEGINS, parts[2]) if parts else (False, tag)
