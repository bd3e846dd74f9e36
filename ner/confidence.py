"""How sure the model is of a whole text: pure functions of token probabilities, 0..1. Low scores are worth labelling.

Each function takes probs (n, t), the tag probabilities of a text's n tokens (rows sum to 1). A text without tokens has
score 1.0, since nothing in it is in doubt. To add a score, write it here and name it in CONFIDENCES.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ner.arrays import FloatArray

Confidence = Callable[[FloatArray], float]


def minimum_margin(probs: FloatArray) -> float:
    """The smallest margin between the best and second-best tag over tokens (Scheffer et al. 2001).

    The minimum over tokens, not the mean: one entity in doubt makes a long text worth opening.
    """
    if not len(probs):
        return 1.0
    top = np.partition(probs, -2, axis=1)
    return _unit(float((top[:, -1] - top[:, -2]).min()))


def mnlp(probs: FloatArray) -> float:
    """Maximum normalised log-probability (Shen et al. 2018), as a probability: the geometric mean over the best tags.

    The mean over tokens keeps long texts from being chosen for their length alone.
    """
    return 1.0 if not len(probs) else _unit(float(np.exp(_log_best(probs).mean())))


def least_confidence(probs: FloatArray) -> float:
    """The probability of the best tag sequence (Culotta and McCallum 2005); falls with a text's length."""
    return 1.0 if not len(probs) else _unit(float(np.exp(_log_best(probs).sum())))


def max_entropy(probs: FloatArray) -> float:
    """1 - the largest token entropy (Settles and Craven 2008), as a share of the greatest possible, log t."""
    return 1.0 if not len(probs) else _unit(1.0 - float(_entropies(probs).max()))


def mean_entropy(probs: FloatArray) -> float:
    """1 - the mean token entropy (Settles and Craven 2008), as a share of the greatest possible, log t."""
    return 1.0 if not len(probs) else _unit(1.0 - float(_entropies(probs).mean()))


CONFIDENCES: dict[str, Confidence] = {
    "minimum_margin": minimum_margin,
    "mnlp": mnlp,
    "least_confidence": least_confidence,
    "max_entropy": max_entropy,
    "mean_entropy": mean_entropy,
}
DEFAULT_CONFIDENCE = "minimum_margin"


def _log_best(probs: FloatArray) -> FloatArray:
    """(n,) of each token's best tag. Their sum is the best sequence's, since tokens are tagged independently."""
    with np.errstate(divide="ignore"):
        best: FloatArray = np.log(probs.max(axis=1))
    return best


def _entropies(probs: FloatArray) -> FloatArray:
    """(n,) as shares of log t; 0 log 0 counts as 0."""
    positive = np.where(probs > 0, probs, 1.0)
    entropies: FloatArray = -(probs * np.log(positive)).sum(axis=1) / np.log(probs.shape[1])
    return entropies


def _unit(value: float) -> float:
    """The value clipped into 0..1, since floating-point sums stray past either end."""
    return min(1.0, max(0.0, value))
