"""How often such words are voted on in other texts: evidence for the names on which no source votes.

Most names that an aggregate misses have no vote. Their words, endings and neighbours often stand within votes
elsewhere: "nephropathy" ends as voted names do. A softmax regression learns from all texts, without gold, which type
the votes give to a word, by the word and its neighbours. Votes miss names, so the chances are too low, but their order
is right (learning from positive and unlabelled examples: Elkan and Noto 2008), and gold teaches what they are worth.
A text is judged by a regression that has not learned from it (Wolpert 1992), also when the text is seen again later.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.optimize import minimize
from threadpoolctl import threadpool_limits

from ner.arrays import FloatArray, IntArray
from weak_labeling.aggregate.contract import VotedText
from weak_labeling.aggregate.table import VoteTable
from weak_labeling.aggregate.word_features import feature_matrix, frequent_features, word_features

# Learned from so many texts at most, evenly spread.
MOST_TEXTS = 2_000
_FOLDS, _LEAST_SEEN, _ITERATIONS = 3, 3, 40
# Log-odds beyond these bounds say no more.
_LOWEST, _HIGHEST = -4.0, 6.0


@dataclass(frozen=True, eq=False)
class WordEvidence:
    """What was learned.

    columns: of the features. weights: for each fold of texts (columns, types + 1), learned from the other folds; the
    first class is no vote. offsets: (types + 1,), log shares of the classes. usual: (types,), the mean log-odds.
    """

    columns: Mapping[str, int]
    weights: tuple[FloatArray, ...]
    offsets: FloatArray
    usual: FloatArray

    def __call__(self, texts: Sequence[VotedText], table: VoteTable, names: Sequence[str]) -> FloatArray:
        """(words, types) the log-odds that votes elsewhere give to each word; 0 is usual.

        table: of these texts; names: the features of its words.
        """
        odds = self._odds(feature_matrix(names, self.columns), _fold_of_words(texts, table))
        return (odds - self.usual).clip(_LOWEST, _HIGHEST)

    def _odds(self, features: Any, folds: IntArray) -> FloatArray:
        scores: FloatArray = np.tile(self.offsets, (len(folds), 1))
        for fold, weights in enumerate(self.weights):
            scores[folds == fold] += features[folds == fold] @ weights
        return scores[:, 1:] - scores[:, :1]


def word_evidence(texts: Sequence[VotedText], table: VoteTable, classes: IntArray, types: int) -> WordEvidence:
    """Learn from the table of these texts. classes: (words,), 0 without a vote, else the number of the type from 1."""
    target = np.eye(types + 1)[classes]
    offsets = np.log((target.sum(axis=0) + 1e-3) / (len(target) + 1))
    names, folds = word_features(table), _fold_of_words(texts, table)
    columns = frequent_features(names, _LEAST_SEEN)
    features = feature_matrix(names, columns)
    weights = tuple(_fitted(features[folds != fold], target[folds != fold], offsets) for fold in range(_FOLDS))
    learned = WordEvidence(columns, weights, offsets, np.zeros(types))
    odds = learned._odds(features, folds)
    return WordEvidence(columns, weights, offsets, odds.mean(axis=0) if len(odds) else np.zeros(types))


def sampled(texts: Sequence[VotedText]) -> Sequence[VotedText]:
    """The texts that are learned from."""
    return texts[:: max(1, math.ceil(len(texts) / MOST_TEXTS))]


def _fitted(features: Any, target: FloatArray, offsets: FloatArray) -> FloatArray:
    """(columns, classes) softmax regression with a standard normal prior."""
    if not features.shape[1]:
        return np.zeros((0, len(offsets)))
    across = features.T.tocsr()

    def loss(flat: FloatArray) -> tuple[float, FloatArray]:
        weights = flat.reshape(-1, len(offsets))
        scores = features @ weights + offsets
        scores -= scores.max(axis=1, keepdims=True, initial=-np.inf)
        chances = np.exp(scores)
        total = chances.sum(axis=1, keepdims=True)
        right = float((scores * target).sum())
        slope = across @ (chances / total - target) + weights
        return float(np.log(total).sum()) - right + 0.5 * float(flat @ flat), slope.ravel()

    start = np.zeros(features.shape[1] * len(offsets))
    options = {"maxiter": _ITERATIONS, "ftol": 1e-5}
    with threadpool_limits(1):
        found: FloatArray = minimize(loss, start, jac=True, method="L-BFGS-B", options=options).x
    return found.reshape(-1, len(offsets))


def _fold_of_words(texts: Sequence[VotedText], table: VoteTable) -> IntArray:
    """(words,) by the content of the text: equal texts are in one fold."""
    folds = np.array([zlib.crc32(text.text.encode()) % _FOLDS for text in texts], dtype=np.int64)
    return np.repeat(folds, np.diff(table.starts))
