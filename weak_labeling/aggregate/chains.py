"""Linear chains over words, many at a time: forward and backward sums in plain numpy.

Lafferty et al. 2001 (conditional random fields); Rabiner 1989 (scaling). Texts of all lengths go through one loop over
places: the words are packed by their place in the text, the longest text first, so that each step is one slice.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np

from ner.arrays import FloatArray, IntArray

_SMALL = 1e-300


@dataclass(frozen=True, eq=False)
class Packing:
    """How chains lie side by side. order: (words,), the words in order of step. steps: where each step begins."""

    order: IntArray
    steps: IntArray


def packing(starts: IntArray) -> Packing:
    """Of chains that have the words `starts[c]:starts[c + 1]`."""
    lengths = np.diff(starts)
    longest_first = np.argsort(-lengths, kind="stable")
    place = np.arange(starts[-1]) - np.repeat(starts[:-1], lengths)
    rank = np.empty(len(lengths), dtype=np.int64)
    rank[longest_first] = np.arange(len(lengths))
    order = np.lexsort((np.repeat(rank, lengths), place))
    counts = np.bincount(place, minlength=int(lengths.max(initial=0)))
    return Packing(order, np.concatenate([[0], np.cumsum(counts)]).astype(np.int64))


@dataclass(frozen=True, eq=False)
class Posterior:
    """log_z: of all chains together. marginals: (words, tags). pairs: (tags, tags), expected numbers of transitions.

    The chance of tag b behind a word with tag a is `exp(transitions[a, b]) * coming[word + 1, b] / future[word, a]`;
    both are (words, tags), and `coming` is 0 where a chain begins.
    """

    log_z: float
    marginals: FloatArray
    pairs: FloatArray
    future: FloatArray
    coming: FloatArray


def posterior(scores: FloatArray, start: FloatArray, transitions: FloatArray, packed: Packing) -> Posterior:
    """Sums over all paths. scores: (words, tags); start: (tags,); transitions: (tags, tags), -inf where forbidden."""
    local = scores[packed.order]
    top = local.max(axis=1, keepdims=True, initial=-np.inf)
    local = np.exp(local - top)
    step = np.exp(transitions)
    alpha, scale = _forward(local, np.exp(start), step, packed.steps)
    beta, coming, pairs = _backward(local, alpha, scale, step, packed.steps)
    marginals, future, arriving = np.empty_like(alpha), np.empty_like(alpha), np.empty_like(alpha)
    marginals[packed.order], future[packed.order], arriving[packed.order] = alpha * beta, beta, coming
    return Posterior(float(np.log(scale).sum() + top.sum()), marginals, pairs, future, arriving)


def _forward(local: FloatArray, start: FloatArray, step: FloatArray, steps: IntArray) -> tuple[FloatArray, FloatArray]:
    alpha, scale = np.empty_like(local), np.empty(len(local))
    before = slice(0, 0)
    for first, stop in zip(steps[:-1].tolist(), steps[1:].tolist(), strict=True):
        here = slice(first, stop)
        came = alpha[before][: stop - first] @ step if first else start
        raw = local[here] * came
        scale[here] = total = np.maximum(raw.sum(axis=1), _SMALL)
        alpha[here] = raw / total[:, None]
        before = here
    return alpha, scale


def _backward(
    local: FloatArray, alpha: FloatArray, scale: FloatArray, step: FloatArray, steps: IntArray
) -> tuple[FloatArray, FloatArray, FloatArray]:
    beta, coming, pairs = np.ones_like(local), np.zeros_like(local), np.zeros_like(step)
    bounds = list(zip(steps[:-1].tolist(), steps[1:].tolist(), strict=True))
    for (first, _), (second, stop) in reversed(list(pairwise(bounds))):
        here, there = slice(second, stop), slice(first, first + stop - second)
        coming[here] = local[here] * beta[here] / scale[here, None]
        beta[there] = coming[here] @ step.T
        pairs += alpha[there].T @ coming[here]
    return beta, coming, pairs * step
