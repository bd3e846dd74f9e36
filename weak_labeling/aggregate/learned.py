"""The method "learned": a linear-chain CRF over the votes and the words, which starts as the vote and learns from gold.

Lafferty et al. 2001 for the chain. The prior is the smoothed vote, weighted as the method "weighted" does; gold moves
the answers from there as far as there is evidence (MAP adaptation: Chelba and Acero 2004). Short forms in brackets vote
as two more sources, which the prior leaves out, and what votes elsewhere say of such words is a feature
(`weak_labeling.aggregate.word_evidence`). Weights of a source and of this evidence are partly shared over all types, so
that rare types profit from frequent types. Spans are decoded for the best expected F1
(`weak_labeling.aggregate.span_chances`).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any, ClassVar

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix, hstack
from threadpoolctl import threadpool_limits

from ner.arrays import BoolArray, FloatArray, IntArray
from ner.labels import LabelSet
from ner.spans import Span
from weak_labeling.aggregate.abbreviations import ELSEWHERE, HERE, Abbreviations, abbreviations
from weak_labeling.aggregate.chains import packing, posterior
from weak_labeling.aggregate.contract import Aggregated, Believed, Gold, SoftTags, VotedText
from weak_labeling.aggregate.generative import weights_of
from weak_labeling.aggregate.span_chances import LEAST_SAID, SpanChances, best_of, span_chances
from weak_labeling.aggregate.table import VoteTable, vote_table
from weak_labeling.aggregate.weighted import precision_on_gold
from weak_labeling.aggregate.word_evidence import WordEvidence, sampled, word_evidence
from weak_labeling.aggregate.word_features import feature_matrix, frequent_features, word_features
from weak_labeling.aggregate.words import spoken_also, tag_words

_CHUNK = 1000
_BIAS, _EVIDENCE, _SILENT, _HALF_VOTE = 0.3, 0.2, 0.005, 0.5
_ITERATIONS = 30
_LEAST_TRUST = 0.05
_MOST_LABELLED = 1_000


@dataclass(frozen=True)
class Learned:
    """The method."""

    name: ClassVar[str] = "learned"
    needs_gold: ClassVar[bool] = True

    def learn(
        self, texts: Sequence[VotedText], labels: LabelSet, believed: Believed, /
    ) -> Callable[[Gold], LearnedVote]:
        """Learn from the votes which sources and abbreviations there are, and which words they are about."""
        sources = tuple(sorted({vote.source for text in texts for vote in text.votes}))
        model = LearnedVote(labels, sources, abbreviations(texts), weights_of(believed))
        sample = sampled(texts)
        table = model.table(sample)
        model = replace(model, evidence=word_evidence(sample, table, model.voted_types(table), len(labels.types)))

        def taught(gold: Gold) -> LearnedVote:
            known = [text for text in texts if text.key in gold]
            trust = weights_of(precision_on_gold(known, gold, believed))
            return replace(model, trust=trust).taught(known, gold)

        return taught


@dataclass(frozen=True, eq=False)
class LearnedVote:
    """What was learned.

    trust: what a vote of a source for a type counts in the prior. evidence: what votes on other texts say of words.
    words: the columns of the features of words. weights: of the features, all in one row.
    """

    labels: LabelSet
    sources: tuple[str, ...]
    abbreviations: Abbreviations
    trust: Mapping[tuple[str, str], float]
    evidence: WordEvidence | None = None
    words: dict[str, int] = field(default_factory=dict)
    weights: FloatArray = field(default_factory=lambda: np.zeros(0))

    def __call__(self, texts: Sequence[VotedText], /) -> Iterator[Aggregated]:
        """One answer for each text, in order; memory holds a thousand texts at a time."""
        for first in range(0, len(texts), _CHUNK):
            yield from self._answers(texts[first : first + _CHUNK])

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

    def voted_types(self, table: VoteTable) -> IntArray:
        """(words,) 0 where no source votes, else the number from 1 of the type that the vote gives to the word."""
        said = self.said(table)
        by_type = said[:, 1::2] + said[:, 2::2]
        return np.where(by_type.any(axis=1), by_type.argmax(axis=1) + 1, 0)

    def taught(self, known: Sequence[VotedText], gold: Gold) -> LearnedVote:
        """The same model, which has learned from labelled texts; of very many, from some that are evenly spread."""
        known = known[:: max(1, math.ceil(len(known) / _MOST_LABELLED))]
        table = self.table(known)
        bounds = zip(table.starts[:-1].tolist(), table.starts[1:].tolist(), strict=True)
        tags = [
            tag_words(gold[text.key], table.offsets[first:stop], self.labels)
            for text, (first, stop) in zip(known, bounds, strict=True)
        ]
        model = replace(self, words=frequent_features(word_features(table)))
        return model._fitted(known, table, np.concatenate([np.zeros(0, dtype=np.int64), *tags]))

    def _fitted(self, texts: Sequence[VotedText], table: VoteTable, tags: IntArray) -> LearnedVote:
        """With the weights that the (words,) gold tags speak for: L-BFGS on the penalised likelihood."""
        chains = table.chains(np.flatnonzero((tags > 0) & (tags % 2 == 0)))
        design, packed = self._design(texts, table), packing(chains)
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

    def _answers(self, texts: Sequence[VotedText]) -> Iterator[Aggregated]:
        table = self.table(texts)
        scores, transitions = self._scores(self._design(texts, table), self.weights)
        sums = posterior(scores, _start(self.labels), transitions, packing(table.chains()))
        spans_of_texts = _spans_of_texts(span_chances(sums, transitions), table, self.labels)
        spoken = self.said(table).sum(axis=1) > 0
        bounds = zip(table.starts[:-1].tolist(), table.starts[1:].tolist(), strict=True)
        for (first, stop), possible in zip(bounds, spans_of_texts, strict=True):
            offsets = table.offsets[first:stop]
            spans = best_of(possible, LEAST_SAID)
            soft = SoftTags(offsets, sums.marginals[first:stop], spoken[first:stop])
            yield Aggregated(spans, spoken_also(soft, spans, self.labels), possible)

    def _design(self, texts: Sequence[VotedText], table: VoteTable) -> _Design:
        names, none = word_features(table), np.zeros((table.words, len(self.labels.types)))
        return _design(table, names, self.evidence(texts, table, names) if self.evidence else none, self)


@dataclass(frozen=True, eq=False)
class _Design:
    """untied: (words, columns), a weight for each tag. tied: (words * tags, columns), a weight for all tags together.

    The first column of `tied` holds the log-probabilities of the smoothed vote. Both are sparse.
    """

    untied: Any
    tied: Any


def _design(table: VoteTable, names: Sequence[str], evidence: FloatArray, model: LearnedVote) -> _Design:
    tags, sources, said = len(model.labels.tags), len(model.sources) + 2, model.said(table)
    silent = said.sum(axis=1) == 0
    bias = np.column_stack([np.ones(table.words), ~silent]) * _BIAS
    words = feature_matrix(names, model.words)
    untied = hstack([csr_matrix(bias), _vote_features(table, sources, tags), words]).tocsr()
    place = table.word * tags + table.tag, table.source * 2 + table.tag % 2
    shared = csr_matrix((np.ones(len(table.word)), place), shape=(table.words * tags, sources * 2))
    prior = csr_matrix(_prior(said).reshape(-1, 1))
    return _Design(untied, hstack([prior, shared, *_evidence(evidence * _EVIDENCE, silent, table.starts)]).tocsr())


def _evidence(odds: FloatArray, silent: BoolArray, starts: IntArray) -> Iterator[Any]:
    """Columns for B and I of (words, types) log-odds: of the word with and without a vote, and of its neighbours."""
    before, behind = np.zeros_like(odds), np.zeros_like(odds)
    before[1:], behind[:-1] = odds[:-1], odds[1:]
    first, last = starts[:-1][np.diff(starts) > 0], starts[1:][np.diff(starts) > 0] - 1
    before[first], behind[last] = 0.0, 0.0
    without = silent[:, None]
    words, types = odds.shape
    row = np.arange(words)[:, None] * (2 * types + 1) + 1 + 2 * np.arange(types)
    for values in (odds * without, odds * ~without, before * without, behind * without):
        for tag in (0, 1):
            place = (row + tag).ravel(), np.zeros(words * types, dtype=np.int64)
            yield csr_matrix((values.ravel(), place), shape=(words * (2 * types + 1), 1))


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


def _start(labels: LabelSet) -> FloatArray:
    return np.where(labels.allowed_start(), 0.0, -np.inf)


def _classes(labels: LabelSet) -> IntArray:
    """(tags, tags) which weight a transition has, the same for all types; -1: forbidden."""
    kind = np.array([0, *(1 + tag % 2 for tag in range(len(labels.tags) - 1))])
    classes = np.array([[0, 1, 0], [2, 3, 4], [5, 6, 7]])[kind[:, None], kind[None, :]]
    return np.where(labels.allowed_transitions(), classes, -1)


def _spans_of_texts(found: SpanChances, table: VoteTable, labels: LabelSet) -> Iterator[tuple[Span, ...]]:
    """For each text of the table its possible spans, in text order, overlapping; a span's score is its chance."""
    order = np.lexsort((found.stop, found.first))
    first, stop = found.first[order], found.stop[order]
    starts, ends = table.offsets[first, 0].tolist(), table.offsets[stop - 1, 1].tolist()
    named = [labels.types[kind] for kind in found.kind[order].tolist()]
    spans = list(map(Span, starts, ends, named, found.chance[order].tolist()))
    cuts = np.searchsorted(first, table.starts).tolist()
    return (tuple(spans[begin:end]) for begin, end in pairwise(cuts))
