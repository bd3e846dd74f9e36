"""Whether one system is better than another on the same documents, and how much chance each look may spend on it.

A paired test and intervals of the difference are computed from counts per document, so that ten thousand resamples are
a few matrix products. The document is the unit, and not the sentence or the entity: entities of one document depend on
each other.

Each look at a holdout tests one candidate at its own alpha. The alphas of all looks add up to no more than a total. By
the union bound that total is the highest chance that any candidate is promoted although it is only as good as the
incumbent. The bound holds although all candidates are judged on the same documents and often have a parent in common.
It does not hold for candidates that were made after reading the errors on the holdout.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from loop.evaluation.scores import Counts
from ner.arrays import FloatArray

MICRO = "micro"
_CHUNK = 1 << 17  # cells of one matrix of resamples at a time: what a processor's cache holds
_LEAST_STEP = 64  # products of fewer rows take longer than what they miss in the cache


@dataclass(frozen=True, slots=True)
class Difference:
    """F1 of both systems (0..1) on the same documents, and what can be said of the difference, new - old.

    low, high: the two-sided percentile interval of the paired bootstrap at `confidence`. lower: its one-sided lower
    bound, and upper its upper one, each at `confidence`. standard_error: of the difference, by the bootstrap.
    p_value: of the one-sided paired test that the new system is better; p_worse: that it is worse. Either is None where
    no such test was made. support: gold spans, in `bearing` documents.
    better, worse: documents on which the new system alone gains or loses by F1.
    """

    name: str
    new_f1: float
    old_f1: float
    low: float
    high: float
    lower: float
    upper: float
    standard_error: float
    confidence: float
    support: int
    documents: int
    better: int
    worse: int
    bearing: int = 0
    p_value: float | None = None
    p_worse: float | None = None

    @property
    def delta(self) -> float:
        """New minus old."""
        return self.new_f1 - self.old_f1


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two systems on the same documents: micro, tested for better, and each entity type, tested for worse."""

    micro: Difference
    per_type: tuple[Difference, ...]
    permutations: int
    resamples: int
    seed: int


def compare_counts(
    new: Counts,
    old: Counts,
    *,
    permutations: int = 10_000,
    resamples: int = 10_000,
    confidence: float = 0.95,
    seed: int,
) -> Comparison:
    """The tests and the intervals of micro-F1 and of the F1 of each type. Rows of both are the same documents.

    permutations: at least. The tests of the types get more where a share of `1 - confidence` for each needs more.
    Raises ValueError when the documents, the types or the gold differ.
    """
    check_same(new, old)
    rng = np.random.default_rng(seed)
    p_value = randomisation_p_value(micro_columns(new), micro_columns(old), permutations, rng)
    sampled = _bootstrap(new, old, resamples, rng)
    names = (MICRO, *new.types)
    columns = [_micro_columns(new, old), *(_type_columns(new, old, kind) for kind in range(len(new.types)))]
    rows = [
        _difference(name, column, sampled[:, index], confidence)
        for index, (name, column) in enumerate(zip(names, columns, strict=True))
    ]
    shared = permutations_for((1 - confidence) / max(1, len(new.types)), permutations)
    types = [
        replace(row, p_worse=randomisation_p_value(column[:, 2:4], column[:, :2], shared, rng))
        for row, column in zip(rows[1:], columns[1:], strict=True)
    ]
    return Comparison(replace(rows[0], p_value=p_value), tuple(types), permutations, resamples, seed)


def check_same(new: Counts, old: Counts) -> None:
    """Raise ValueError when the documents, the types or the gold of two systems differ."""
    if new.types != old.types or not np.array_equal(new.gold, old.gold):
        raise ValueError("two systems are compared on the same documents, with the same gold and the same types")


def randomisation_p_value(new: FloatArray, old: FloatArray, permutations: int, rng: np.random.Generator) -> float:
    """One-sided p of F1(new) - F1(old) by paired approximate randomisation (Noreen 1989; Yeh 2000).

    new, old: (n, 2), true positives and predicted + gold of each document. Under the null hypothesis the two systems
    are exchangeable on every document: whole documents are swapped at random, and p is the share of the arrangements,
    the one observed among them, in which the difference is at least as large: (1 + #) / (permutations + 1), which is
    exact at any number of permutations. Documents that say the same of both make no difference, and are left out of
    the product.
    """
    totals = np.stack([new.sum(axis=0), old.sum(axis=0)])
    observed = _f1(totals[0]) - _f1(totals[1])
    # Whole numbers: exact in float32, too.
    shift = (old - new)[np.any(new != old, axis=1)].astype(np.float32)
    if not len(shift):
        return 1.0
    extreme = 0
    for swaps in _coin_flips(permutations, len(shift), rng):
        moved = (swaps @ shift).astype(np.float64)
        permuted = _f1(totals[0] + moved) - _f1(totals[1] - moved)
        # Equal arrangements are equal up to rounding; they count as at least as large.
        extreme += int(np.count_nonzero(permuted >= observed - 1e-12))
    return (1 + extreme) / (permutations + 1)


def standard_error_of(counts: Counts, *, resamples: int, seed: int) -> float:
    """Of one system's micro-F1, by the bootstrap over documents."""
    zeros = np.zeros_like(counts.gold)
    nothing = Counts(counts.types, zeros, zeros, counts.gold)
    sampled = _bootstrap(counts, nothing, resamples, np.random.default_rng(seed))[:, 0]
    return float(sampled.std(ddof=1))


def detectable_difference(standard_error: float, alpha: float, power: float = 0.8) -> float:
    """The true difference that a one-sided test at `alpha` finds with `power`, by the normal approximation."""
    normal = NormalDist()
    return (normal.inv_cdf(1 - alpha) + normal.inv_cdf(power)) * standard_error


def documents_needed(documents: int, detectable: float, wanted: float) -> int:
    """How many documents of the same kind make `wanted` detectable where `documents` make `detectable` so.

    The standard error falls with the root of the number of documents.
    """
    return max(documents, math.ceil(documents * (detectable / wanted) ** 2))


def micro_columns(counts: Counts) -> FloatArray:
    """(n, 2): true positives, predicted + gold."""
    found = counts.predicted.sum(axis=1) + counts.gold.sum(axis=1)
    return np.stack([counts.true_positives.sum(axis=1), found], axis=1).astype(np.float64)


def _micro_columns(new: Counts, old: Counts) -> FloatArray:
    """(n, 5): of the new system true positives and predicted + gold, the same of the old one, and gold."""
    return np.column_stack([micro_columns(new), micro_columns(old), new.gold.sum(axis=1)])


def _type_columns(new: Counts, old: Counts, kind: int) -> FloatArray:
    sides = [[side.true_positives[:, kind], side.predicted[:, kind] + side.gold[:, kind]] for side in (new, old)]
    return np.column_stack([*sides[0], *sides[1], new.gold[:, kind]]).astype(np.float64)


def _bootstrap(new: Counts, old: Counts, resamples: int, rng: np.random.Generator) -> FloatArray:
    """(resamples, 1 + types) differences in F1, documents drawn with replacement, the same for both (Efron 1979)."""
    kinds = range(len(new.types))
    columns = [_micro_columns(new, old)[:, :4], *(_type_columns(new, old, kind)[:, :4] for kind in kinds)]
    table = np.concatenate(columns, axis=1)  # (n, 4 (1 + types))
    # Documents with nothing to count move no sum: how many of the draws fall on the others is all they decide.
    rows = table[np.any(table > 0, axis=1)].astype(np.float32)  # whole numbers: exact, and so are their sums
    if not len(rows):
        return np.zeros((resamples, len(columns)))
    drawn = [weights @ rows for weights in _draws(resamples, len(table), len(rows), rng)]
    sums = np.concatenate(drawn).astype(np.float64).reshape(resamples, len(columns), 4)
    differences: FloatArray = _f1(sums[..., :2]) - _f1(sums[..., 2:])
    return differences


def _draws(resamples: int, documents: int, rows: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.float32]]:
    """Chunks of (resamples, rows): how often each of `rows` of the documents comes up in `documents` draws of them."""
    step = max(_LEAST_STEP, _CHUNK // rows)
    for begin in range(0, resamples, step):
        size = min(step, resamples - begin)
        hits = rng.binomial(documents, rows / documents, size=size)
        cells = np.repeat(np.arange(size) * rows, hits) + rng.integers(rows, size=int(hits.sum()), dtype=np.int32)
        yield np.bincount(cells, minlength=size * rows).reshape(size, rows).astype(np.float32)


def _coin_flips(permutations: int, documents: int, rng: np.random.Generator) -> Iterator[npt.NDArray[np.float32]]:
    """Chunks of (permutations, documents) of 0 and 1: one random bit each."""
    width = -(-documents // 8)
    step = max(_LEAST_STEP, _CHUNK // max(1, documents))
    for begin in range(0, permutations, step):
        size = min(step, permutations - begin)
        packed = np.frombuffer(rng.bytes(size * width), dtype=np.uint8).reshape(size, width)
        yield np.unpackbits(packed, axis=1, count=documents).astype(np.float32)


def _f1(sums: FloatArray) -> FloatArray:
    """2 TP / (predicted + gold) over the last axis (2); 0 where there is neither."""
    found = sums[..., 1]
    return np.divide(2 * sums[..., 0], found, out=np.zeros_like(found), where=found > 0)


def _difference(name: str, columns: FloatArray, sampled: FloatArray, confidence: float) -> Difference:
    sums = columns.sum(axis=0)
    rest = 1 - confidence
    low, high = np.quantile(sampled, [rest / 2, 1 - rest / 2])
    lower, upper = np.quantile(sampled, [rest, confidence])
    gain = _f1(columns[:, :2]) - _f1(columns[:, 2:4])
    return Difference(
        name=name,
        new_f1=float(_f1(sums[:2])),
        old_f1=float(_f1(sums[2:4])),
        low=float(low),
        high=float(high),
        lower=float(lower),
        upper=float(upper),
        standard_error=float(sampled.std(ddof=1)) if len(sampled) > 1 else 0.0,
        confidence=confidence,
        support=int(sums[4]),
        documents=len(columns),
        better=int(np.count_nonzero(gain > 0)),
        worse=int(np.count_nonzero(gain < 0)),
        bearing=int(np.count_nonzero(columns[:, 4])),
    )


_MOST = 1_000_000
EVEN, DECREASING = "even", "decreasing"


def even(total: float, looks: int, number: int) -> float:
    """The same for each of the looks (Bonferroni 1936)."""
    del number
    return total / looks


def decreasing(total: float, looks: int, number: int) -> float:
    """In proportion to 1 / number^2, so that the first looks find more: 65 % of the total for the first of ten."""
    return total / number**2 / sum(1 / other**2 for other in range(1, looks + 1))


SCHEDULES: dict[str, Callable[[float, int, int], float]] = {EVEN: even, DECREASING: decreasing}


def alpha_of(schedule: str, total: float, looks: int, number: int) -> float:
    """What look `number` (from 1) of `looks` may spend; 0 from the last one on, when nothing is left."""
    return SCHEDULES[schedule](total, looks, number) if number <= looks else 0.0


def spent_after(schedule: str, total: float, looks: int, number: int) -> float:
    """What `number` looks have spent together; never more than `total`."""
    return min(total, sum(alpha_of(schedule, total, looks, one) for one in range(1, number + 1)))


def permutations_for(alpha: float, at_least: int) -> int:
    """How many permutations tell p-values apart around `alpha`: 20 / alpha, and a million at most."""
    return max(at_least, min(_MOST, math.ceil(20 / alpha))) if alpha > 0 else at_least
