"""How large a difference in F1 a decision needs so that a wrong decision is cheap on average.

A significance test bounds how often an equal model is promoted. That is the wrong bound for the question which model
serves: to promote an equal model costs nothing, and to hold a better model back costs as much F1 as that model is
better. This module bounds the expected loss instead, whatever the true difference is (Tetenov 2012; Stoye 2009;
Manski & Tetenov 2015). The loss of a decision is the F1 by which the model that serves afterwards is worse than the
model that served before; where the new model is not worse, the loss is 0.

F1 and its differences are shares (0..1). A row of the counts is a document: see `loop.evaluation.scores.grouped`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from loop.evaluation.scores import Counts
from loop.evaluation.significance import MICRO, check_same, documents_needed
from ner.arrays import FloatArray, IntArray

_FARTHEST = 37.0  # standard errors; the normal tail beyond them is less than a float can hold
_STEPS = 60  # halvings of an interval: all digits of a float


@dataclass(frozen=True, slots=True)
class Estimate:
    """The difference in F1 of two systems on the same documents, new - old, and the standard error of the difference.

    name: the entity type, or MICRO. documents: how many rows were counted, those without entities among them. error is
    infinite where neither system nor the gold has an entity; it is never 0.
    """

    name: str
    difference: float
    error: float
    documents: int

    @property
    def standardised(self) -> float:
        """The difference in standard errors."""
        return self.difference / self.error

    @property
    def better(self) -> float:
        """The probability that the new system is better, by the normal approximation, with no prior knowledge."""
        return normal_tail(-self.standardised)


def estimate(new: Counts, old: Counts) -> Estimate:
    """The difference in micro-F1. Raises ValueError when the documents, the types or the gold differ."""
    check_same(new, old)
    sides = [(side.true_positives.sum(axis=1), (side.predicted + side.gold).sum(axis=1)) for side in (new, old)]
    return _estimate(MICRO, sides[0], sides[1])


def estimate_types(new: Counts, old: Counts) -> tuple[Estimate, ...]:
    """The difference in F1 of each entity type that the gold or one of the systems has; errors as `estimate`."""
    check_same(new, old)
    found = []
    for kind, name in enumerate(new.types):
        sides = [(side.true_positives[:, kind], side.predicted[:, kind] + side.gold[:, kind]) for side in (new, old)]
        if any(total.any() for _, total in sides):
            found.append(_estimate(name, sides[0], sides[1]))
    return tuple(found)


def influence(true_positives: IntArray, found: IntArray) -> FloatArray:
    """(n,): the change of F1 when the weight of a document grows, per share of the sample (Hampel 1974).

    true_positives, found: (n,), whole numbers; found is predicted + gold. F1 = 2 sum(tp) / sum(found), so that the
    influence of document i is (2 tp_i - F1 found_i) / mean(found). The influences of all documents add up to 0.
    """
    total = found.sum()
    if not total:
        return np.zeros(len(found))
    share = 2 * true_positives.sum() / total
    answer: FloatArray = (2 * true_positives - share * found) * (len(found) / total)
    return answer


@lru_cache(maxsize=1024)
def worst_regret(threshold: float) -> float:
    """h(t): the largest expected loss, in standard errors, of the rule "promote from t standard errors on".

    A model that is worse by L standard errors is promoted with probability Phi(-t - L), so that the expected loss is
    L Phi(-t - L); h(t) is the maximum over L > 0 (Tetenov 2012). h(0) is 0.170, and h falls with t. threshold: 0 or
    more.
    """
    # At the maximum, L is Mills' ratio at x = t + L, and so t is x minus that ratio.
    return _regret_at(_bisect(lambda x: x - _mills_ratio(x), threshold)) if threshold < _FARTHEST - 1 else 0.0


@lru_cache(maxsize=1024)
def inverse_regret(regret: float) -> float:
    """The least threshold t of at least 0 with h(t) <= regret; infinite where regret is 0.

    regret: in standard errors, 0 or more.
    """
    if regret >= worst_regret(0):
        return 0.0
    if regret <= _regret_at(_FARTHEST):
        return math.inf
    least = _bisect(lambda x: -_regret_at(x), -regret)
    return least - _mills_ratio(least)


def needed_difference(error: float, average_loss: float) -> float:
    """The observed difference in F1 from which a promotion costs at most `average_loss` F1 on average.

    error: the standard error of the difference. The answer is 0 where the error is so small that no equal or better
    candidate has to be held back.
    """
    return error * threshold if (threshold := inverse_regret(average_loss / error)) else 0.0


def documents_until_any(error: float, documents: int, average_loss: float) -> int:
    """With how many documents of the same kind `needed_difference` is 0; at least `documents`.

    error: on `documents` documents. The standard error falls with the root of their number. Raises OverflowError
    where the error is infinite.
    """
    return documents_needed(documents, error * worst_regret(0), average_loss)


def normal_tail(value: float) -> float:
    """Phi(-value): the probability that a standard normal variable is above `value`; exact far out in the tail."""
    return math.erfc(value / math.sqrt(2)) / 2


def _estimate(name: str, new: tuple[IntArray, IntArray], old: tuple[IntArray, IntArray]) -> Estimate:
    """From true positives and predicted + gold of both systems, each (n,).

    The standard error is that of the mean of the differences in influence, as if one entity more had been won and one
    lost: small samples are not trusted, and a sample in which nothing differs still has an error.
    """
    documents = len(new[1])
    totals = [int(found.sum()) for _, found in (new, old)]
    shares = [2 * int(tp.sum()) / total if total else 0.0 for (tp, _), total in zip((new, old), totals, strict=True)]
    if not sum(totals):
        return Estimate(name, 0.0, math.inf, documents)
    spread = influence(*new) - influence(*old)
    entity = (2 - sum(shares) / 2) * documents / (sum(totals) / 2)
    error = math.sqrt(float(spread @ spread) + 2 * entity**2) / documents
    return Estimate(name, shares[0] - shares[1], error, documents)


def _mills_ratio(x: float) -> float:
    """Phi(-x) / phi(x)."""
    return normal_tail(x) * math.sqrt(2 * math.pi) * math.exp(x * x / 2)


def _regret_at(x: float) -> float:
    """The expected loss L Phi(-x) where L is Mills' ratio at x; falls with x."""
    return normal_tail(x) * _mills_ratio(x)


def _bisect(rising: Callable[[float], float], value: float) -> float:
    """Where a rising function has a value, between 0 and _FARTHEST."""
    low, high = 0.0, _FARTHEST
    for _ in range(_STEPS):
        middle = (low + high) / 2
        low, high = (middle, high) if rising(middle) < value else (low, middle)
    return high
