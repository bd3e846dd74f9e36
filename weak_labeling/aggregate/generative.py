"""The method "generative": how far to trust each source with each type, learned from the votes alone.

A source is thought to be right with the same chance wherever it votes for a type, independently of the others given
the true tags (Dawid and Skene 1979; Ratner et al. 2016). The true tags are a chain, as spans need (Nguyen et al. 2017;
Lison et al. 2020), and silence says nothing: rules are silent on most of what they are not about. A source is judged
by what the chain says where another source votes as well, **its own vote left out** (the cavity of Opper and Winther
2000). With its own vote in, each round of expectation maximisation makes a source surer of itself; that is how such
models collapse. Two rounds are made: with many more, sources that err together confirm each other.

The votes then count by the logarithm of their odds, and a source that is thought to be wrong more often than right
does not count for that type.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ner.arrays import BoolArray, FloatArray, IntArray
from ner.labels import LabelSet
from weak_labeling.aggregate.chains import packing, posterior
from weak_labeling.aggregate.contract import Believed, Gold, VotedText
from weak_labeling.aggregate.majority import WeightedVote
from weak_labeling.aggregate.table import VoteTable, vote_table

# Learned from so many texts at most, evenly spread: memory stays flat, and more texts change the second digit.
_SAMPLED = 2_000
_ROUNDS = 2
# The precision of a source of which nothing is known, and how many votes that belief weighs.
_BELIEVED, _BELIEF = 0.7, 30.0
# How much a vote counts where no other source votes.
_ALONE = 0.25
LEAST_SURE, MOST_SURE = 0.02, 0.98
# Log-odds of a tag that no other source votes for where one votes, and of an entity where no source speaks.
_UNSAID, _SILENT = -9.0, -20.0


@dataclass(frozen=True)
class Generative:
    """The method."""

    name: ClassVar[str] = "generative"
    needs_gold: ClassVar[bool] = False

    def learn(
        self, _texts: Sequence[VotedText], labels: LabelSet, believed: Believed, /
    ) -> Callable[[Gold], WeightedVote]:
        """All is learned from the votes."""
        vote = WeightedVote(labels, weights_of(believed))
        return lambda _gold: vote


def weights_of(precision: Believed) -> dict[tuple[str, str], float]:
    """(source, label) -> the weight of a vote: 1 and the log-odds; 0 for a source that is wrong more often."""
    return {key: 1 + math.log(share / (1 - share)) if share > 0.5 else 0.0 for key, share in precision.items()}


def estimated_precision(texts: Sequence[VotedText], labels: LabelSet) -> dict[tuple[str, str], float]:
    """(source, label) -> the share (0..1) of its votes that the other sources think right, for all that vote."""
    voted = [text for text in texts if text.votes]
    sample = voted[:: max(1, math.ceil(len(voted) / _SAMPLED))]
    sources = tuple(sorted({vote.source for text in voted for vote in text.votes}))
    learned = _precision(vote_table(sample, sources, labels), len(sources), labels)
    cast = sorted({(vote.source, vote.span.label) for text in voted for vote in text.votes})
    places = {name: number for number, name in enumerate(sources)}
    return {(name, label): float(learned[places[name], labels.index(label)]) for name, label in cast}


def _precision(table: VoteTable, sources: int, labels: LabelSet) -> FloatArray:
    """(sources, types)."""
    tags, types = len(labels.tags), len(labels.types)
    place, pair = table.word * tags + table.tag, table.source * types + (table.tag - 1) // 2
    said: FloatArray = np.bincount(place, minlength=table.words * tags).reshape(-1, tags).astype(np.float64)
    accompanied = said.sum(axis=1)[table.word] > 1
    judged = np.bincount(pair[accompanied], minlength=sources * types).astype(np.float64).reshape(sources, types)
    alone = np.bincount(pair[~accompanied], minlength=sources * types).astype(np.float64).reshape(sources, types)
    chains = table.chains()
    start, transitions, packed = _start(labels), _transitions(said, chains, labels), packing(chains)
    precision: FloatArray = np.full((sources, types), _BELIEVED)
    for _ in range(_ROUNDS):
        odds = np.log(precision / (1 - precision)).ravel()[pair]
        evidence = np.bincount(place, weights=odds, minlength=table.words * tags).astype(np.float64)
        scores = np.where(
            said > 0, evidence.reshape(-1, tags), np.where(said.any(axis=1, keepdims=True), _UNSAID, _SILENT)
        )
        scores[:, 0] = 0.0
        believed = posterior(scores, start, transitions, packed).marginals
        right = _without_own(believed[table.word], table.tag, odds, said[table.word, table.tag] == 1)
        agreed = np.bincount(pair[accompanied], weights=right[accompanied], minlength=sources * types)
        precision = _smoothed(agreed.astype(np.float64).reshape(sources, types), judged, alone)
    return precision


def _without_own(believed: FloatArray, tag: IntArray, odds: FloatArray, alone: BoolArray) -> FloatArray:
    """(votes,) how likely the voted tag is for the others. believed: (votes, tags), the sums with the vote in."""
    rows = np.arange(len(tag))
    without = believed.copy()
    without[rows, tag] *= np.exp(np.where(alone, _UNSAID, 0.0) - odds)
    chances: FloatArray = without[rows, tag] / without.sum(axis=1)
    return chances


def _smoothed(agreed: FloatArray, judged: FloatArray, alone: FloatArray) -> FloatArray:
    """Towards what the source is worth with its other types, and that towards the belief.

    Votes where nobody else votes are believed as well. Sources of different things meet where they contradict each
    other; without the votes in between, a few such meetings would undo a source that is right nearly always.
    """
    agreed, judged = agreed + _BELIEVED * _ALONE * alone, judged + _ALONE * alone
    elsewhere = judged.sum(axis=1, keepdims=True) - judged
    source = (agreed.sum(axis=1, keepdims=True) - agreed + _BELIEF * _BELIEVED) / (elsewhere + _BELIEF)
    precision: FloatArray = (agreed + _BELIEF * source) / (judged + _BELIEF)
    return precision.clip(LEAST_SURE, MOST_SURE)


def _transitions(said: FloatArray, chains: IntArray, labels: LabelSet) -> FloatArray:
    """(tags, tags) log of how much more often a tag follows a tag than by chance, in the shares of the votes."""
    total = said.sum(axis=1, keepdims=True)
    shares = said / np.maximum(total, 1)
    shares[:, :1] = total == 0
    follows = np.setdiff1d(np.arange(len(said)), chains)
    pairs = shares[follows - 1].T @ shares[follows] + 1 + 1e-3 * shares.sum(axis=0)
    allowed = np.where(labels.allowed_transitions(), pairs, 0.0)
    chance = allowed / allowed.sum(axis=1, keepdims=True) / (shares.sum(axis=0) / max(len(said), 1) + 1e-6)
    logs: FloatArray = np.log(chance, out=np.full_like(chance, -np.inf), where=chance > 0)
    return logs


def _start(labels: LabelSet) -> FloatArray:
    return np.where(labels.allowed_start(), 0.0, -np.inf)
