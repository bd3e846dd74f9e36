"""The method "learned": a linear-chain CRF over the votes and the words, which starts as the vote and learns from gold.

Lafferty et al. 2001 for the chain. The prior is the smoothed vote, weighted by what is learned without gold
(`weak_labeling.aggregate.generative`); gold moves the answers from there as far as there is evidence (MAP adaptation:
Chelba and Acero 2004). Short forms in brackets vote as two more sources, which the prior leaves out. Weights of a
source are partly shared over all types, so that rare types profit from frequent types. Spans are decoded for the best
expected F1 (Lipton et al. 2014): with little gold, the most probable path finds too few.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack
from threadpoolctl import threadpool_limits

from ner.arrays import FloatArray, IntArray
from ner.decoding import tags_to_spans
from ner.labels import LabelSet
from weak_labeling.aggregate.abbreviations import ELSEWHERE, HERE, Abbreviations, abbreviations
from weak_labeling.aggregate.chains import Packing, best_paths, packing, posterior
from weak_labeling.aggregate.contract import Aggregated, Believed, Gold, SoftTags, VotedText
from weak_labeling.aggregate.generative import weights_of
from weak_labeling.aggregate.table import VoteTable, vote_table
from weak_labeling.aggregate.words import tag_words

_CHUNK = 1000
_BIAS, _SILENT, _HALF_VOTE = 0.3, 0.005, 0.5
_OFFSETS = (0.0, 0.5, 1.0, 1.5, 2.0)
_ITERATIONS = 30
_LEAST_TRUST = 0.05
_LEAST_SEEN, _MOST_LABELLED = 2, 1_000


@dataclass(frozen=True)
class Learned:
    """The method."""

    name: ClassVar[str] = "learned"
    needs_gold: ClassVar[bool] = True

    def learn(
        self, texts: Sequence[VotedText], labels: LabelSet, believed: Believed, /
    ) -> Callable[[Gold], LearnedVote]:
        """Learn from the votes what the prior is, and which sources and abbreviations there are."""
        sources = tuple(sorted({vote.source for text in texts for vote in text.votes}))
        model = LearnedVote(labels, sources, abbreviations(texts), weights_of(believed))
        return lambda gold: model.taught([text for text in texts if text.key in gold], gold)


@dataclass(frozen=True, eq=False)
class LearnedVote:
    """What was learned.

    trust: what a vote of a source for a type counts in the prior. words: the columns of the features of words.
    weights: of the features, all in one row.
    """

    labels: LabelSet
    sources: tuple[str, ...]
    abbreviations: Abbreviations
    trust: Mapping[tuple[str, str], float]
    words: dict[str, int] = field(default_factory=dict)
    weights: FloatArray = field(default_factory=lambda: np.zeros(0))

    def __call__(self, texts: Sequence[VotedText], /) -> Iterator[Aggregated]:
        """One answer for each text, in order; memory holds a thousand texts at a time."""
        for first in range(0, len(texts), _CHUNK):
            yield from self._answers(self.table(texts[first : first + _CHUNK]))

    def table(self, texts: Sequence[VotedText]) -> VoteTable:
        """The votes on these texts, those on abbreviations last."""
        voted = [self.abbreviations.added(text) for text in texts]
        return vote_table(voted, (*self.sources, HERE, ELSEWHERE), self.labels)

    def said(self, table: VoteTable) -> FloatArray:
        """(words, tags) the weight of the sources that vote so; an abbreviation is no source."""
        tags, types = len(self.labels.tags), len(self.labels.types)
        trust = np.zeros((len(self.sources) + 2, types))
        for number, source in enumerate(self.sources):
            trust[number] = [max(self.trust.get((source, label), 0.0), _LEAST_TRUST) for label in self.labels.types]
        weights = trust[table.source, (table.tag - 1) // 2]
        votes = np.bincount(table.word * tags + table.tag, weights=weights, minlength=table.words * tags)
        return votes.astype(np.float64).reshape(-1, tags)

    def taught(self, known: Sequence[VotedText], gold: Gold) -> LearnedVote:
        """The same model, which has learned from labelled texts; of very many, from some that are evenly spread."""
        known = known[:: max(1, math.ceil(len(known) / _MOST_LABELLED))]
        table = self.table(known)
        bounds = zip(table.starts[:-1].tolist(), table.starts[1:].tolist(), strict=True)
        tags = [
            tag_words(gold[text.key], table.offsets[first:stop], self.labels)
            for text, (first, stop) in zip(known, bounds, strict=True)
        ]
        seen = Counter(name for names in _word_features(table) for name in names)
        words = sorted(name for name, count in seen.items() if count >= _LEAST_SEEN)
        model = replace(self, words={name: number for number, name in enumerate(words)})
        return model._fitted(table, np.concatenate([np.zeros(0, dtype=np.int64), *tags]))

    def _fitted(self, table: VoteTable, tags: IntArray) -> LearnedVote:
        """With the weights that the (words,) gold tags speak for: L-BFGS on the penalised likelihood."""
        chains = table.chains(np.flatnonzero((tags > 0) & (tags % 2 == 0)))
        design, packed = _design(table, self), packing(chains)
        classes, tag_count = _classes(self.labels), len(self.labels.tags)
        second = np.setdiff1d(np.arange(len(tags)), chains)
        moves = np.bincount(classes[tags[second - 1], tags[second]], minlength=8)
        target = np.eye(tag_count)[tags]

        def loss(weights: FloatArray) -> tuple[float, FloatArray]:
            scores, transitions = self._scores(design, weights)
            sums = posterior(scores, _start(self.labels), transitions, packed)
            right = float((scores * target).sum() + transitions[tags[second - 1], tags[second]].sum())
            rest = sums.marginals - target
            free = classes >= 0
            pairs = np.bincount(classes[free], weights=sums.pairs[free], minlength=8) - moves
            slope = [(design.untied.T @ rest).ravel(), design.tied.T @ rest.ravel(), pairs]
            return sums.log_z - right + 0.5 * float(weights @ weights), np.concatenate(slope) + weights

        start = np.zeros(design.untied.shape[1] * tag_count + design.tied.shape[1] + 8)
        options = {"maxiter": _ITERATIONS, "ftol": 1e-5}
        # Vectors this short are slower on several threads, and much slower where cores are busy.
        with threadpool_limits(1):
            return replace(self, weights=minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x)

    def _scores(self, design: _Design, weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        tags, columns = len(self.labels.tags), design.untied.shape[1]
        own, rest = weights[: columns * tags].reshape(columns, tags), weights[columns * tags :]
        tied, moves = rest[:-8], rest[-8:]
        shared: FloatArray = design.tied @ np.concatenate([1 + tied[:1], tied[1:]])
        scores: FloatArray = design.untied @ own + shared.reshape(-1, tags)
        classes = _classes(self.labels)
        return scores, np.where(classes >= 0, moves[classes], -np.inf)

    def _answers(self, table: VoteTable) -> Iterator[Aggregated]:
        scores, transitions = self._scores(_design(table, self), self.weights)
        start, chains, spoken = _start(self.labels), table.chains(), self.said(table).sum(axis=1) > 0
        packed = packing(chains)
        marginals = posterior(scores, start, transitions, packed).marginals
        tags = _best_expected_f1(scores, marginals, start, transitions, packed, chains)
        spoken |= tags > 0
        for first, stop in zip(table.starts[:-1].tolist(), table.starts[1:].tolist(), strict=True):
            offsets, probabilities = table.offsets[first:stop], marginals[first:stop]
            spans = tags_to_spans(tags[first:stop], offsets, self.labels, probabilities)
            yield Aggregated(spans, SoftTags(offsets, probabilities, spoken[first:stop]))


@dataclass(frozen=True, eq=False)
class _Design:
    """untied: (words, columns), a weight for each tag. tied: (words * tags, columns), a weight for all tags together.

    The first column of `tied` holds the log-probabilities of the smoothed vote. Both are sparse.
    """

    untied: Any
    tied: Any


def _design(table: VoteTable, model: LearnedVote) -> _Design:
    tags, sources, said = len(model.labels.tags), len(model.sources) + 2, model.said(table)
    bias = np.column_stack([np.ones(table.words), (said.sum(axis=1) > 0).astype(np.float64)]) * _BIAS
    named = ((row, model.words.get(name)) for row, names in enumerate(_word_features(table)) for name in names)
    pairs = np.array([pair for pair in named if pair[1] is not None], dtype=np.int64).reshape(-1, 2)
    words = csr_matrix((np.ones(len(pairs)), (pairs[:, 0], pairs[:, 1])), shape=(table.words, len(model.words)))
    untied = hstack([csr_matrix(bias), _vote_features(table, sources, tags), words]).tocsr()
    place = table.word * tags + table.tag, table.source * 2 + table.tag % 2
    shared = csr_matrix((np.ones(len(table.word)), place), shape=(table.words * tags, sources * 2))
    return _Design(untied, hstack([csr_matrix(_prior(said).reshape(-1, 1)), shared]).tocsr())


def _prior(said: FloatArray) -> FloatArray:
    """(words, tags) the log of the vote's shares, with half a vote for O; silence is a vote for O."""
    silent = said.sum(axis=1) == 0
    total = said.sum(axis=1, keepdims=True) + _HALF_VOTE
    shares: FloatArray = said / total + 1e-3
    shares[:, :1] = _HALF_VOTE / 2 / total + 1e-3
    shares[silent] = _SILENT / (said.shape[1] - 1)
    shares[silent, 0] = 1.0
    logs: FloatArray = np.log(shares)
    return logs


def _vote_features(table: VoteTable, sources: int, tags: int) -> Any:
    """Which source votes which tag here, ends here, ended just before, begins just behind."""
    base, size = table.source * tags + table.tag, sources * tags
    begins = table.tag % 2 == 1
    rows = [table.word, table.word[table.last], table.word[table.last] + 1, table.word[begins] - 1]
    columns = [base, size + base[table.last], 2 * size + base[table.last], 3 * size + base[begins]]
    row, column = np.concatenate(rows), np.concatenate(columns)
    inside = (row >= 0) & (row < table.words)
    shape = (table.words, 4 * size)
    return csr_matrix((np.ones(int(inside.sum())), (row[inside], column[inside])), shape=shape)


def _word_features(table: VoteTable) -> Iterator[tuple[str, ...]]:
    """Names of the features of each word: the word, its affixes and shape, and its neighbours."""
    for first, stop in zip(table.starts[:-1].tolist(), table.starts[1:].tolist(), strict=True):
        words = ("", *table.tokens[first:stop], "")
        small, shapes = [word.lower() for word in words], [_shape(word) for word in words]
        for i in range(1, len(words) - 1):
            word = small[i]
            affixes = [f"end {word[-size:]}" for size in (2, 3, 4, 5)] + [f"start {word[:size]}" for size in (3, 4)]
            around = [f"before {small[i - 1]}", f"behind {small[i + 1]}"]
            looks = [f"shape {shapes[i]}", f"shape before {shapes[i - 1]}", f"shape behind {shapes[i + 1]}"]
            yield (f"word {word}", *affixes, *around, *looks)


def _shape(word: str) -> str:
    classes = re.sub(r"[a-z]", "a", re.sub(r"[A-Z]", "A", re.sub(r"\d", "0", word)))
    return re.sub(r"(.)\1+", r"\1", classes)[:6]


def _start(labels: LabelSet) -> FloatArray:
    return np.where(labels.allowed_start(), 0.0, -np.inf)


def _classes(labels: LabelSet) -> IntArray:
    """(tags, tags) which weight a transition has, the same for all types; -1: forbidden."""
    kind = np.array([0, *(1 + tag % 2 for tag in range(len(labels.tags) - 1))])
    classes = np.array([[0, 1, 0], [2, 3, 4], [5, 6, 7]])[kind[:, None], kind[None, :]]
    return np.where(labels.allowed_transitions(), classes, -1)


def _best_expected_f1(
    scores: FloatArray,
    marginals: FloatArray,
    start: FloatArray,
    transitions: FloatArray,
    packed: Packing,
    starts: IntArray,
) -> IntArray:
    """(words,) of the paths with O made cheaper or dearer, the path whose spans have the best expected F1."""
    best = -1.0
    found: IntArray = np.zeros(len(scores), dtype=np.int64)
    for offset in _OFFSETS:
        moved = scores.copy()
        moved[:, 0] -= offset
        tags = best_paths(moved, start, transitions, packed)
        surety = _span_probabilities(tags, marginals, starts)
        expected = 2 * surety.sum() / (len(surety) + marginals[:, 1::2].sum() + 1e-9)
        if expected > best:
            best, found = float(expected), tags
    return found


def _span_probabilities(tags: IntArray, marginals: FloatArray, starts: IntArray) -> FloatArray:
    """(spans,) how likely each span is exactly right, as if B- and I- went on equally often."""
    if not len(tags):
        return np.zeros(0)
    inside = marginals[:, 2::2]
    goes_on = np.full((len(tags) + 1, inside.shape[1]), 1e-9)
    before = (marginals[:, 1::2] + inside)[:-1]
    goes_on[1:-1] = (inside[1:] / np.maximum(before, 1e-12)).clip(1e-9, 1 - 1e-9)
    goes_on[starts] = 1e-9
    path = np.log(goes_on).cumsum(axis=0)
    first = np.flatnonzero(tags % 2 == 1)
    ends = np.flatnonzero(np.append((tags == 0) | (tags % 2 == 1), True))
    stop = ends[np.searchsorted(ends, first + 1)]
    kind = (tags[first] - 1) // 2
    probabilities: FloatArray = marginals[first, tags[first]] * np.exp(path[stop - 1, kind] - path[first, kind])
    probabilities *= 1 - goes_on[stop, kind]
    return probabilities
