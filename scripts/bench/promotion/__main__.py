"""How often a promotion is wrong, and how often it is missed: python -m scripts.bench.promotion --counts FILE.npz

The counts are real: true positives, predicted and gold spans per document and entity type, of at least two trained
models on the same gold. Where FILE is missing it is made from the holdout and the models of a project, --home HOME; for
StackOverflow-5:

    python -m scripts.bench.stackoverflow --keep HOME
    (in HOME/loop.toml under [train]: seed = 14 and passes = 8)
    loop -C HOME retrain --from-scratch
    python -m scripts.bench.promotion --home HOME --counts counts.npz

With --linear DATA the models are two linear taggers, which are trained within minutes.

Null candidates are equal by construction: a system answers each document as one of the models does, each equally
likely, drawn for every system and document anew. On any documents all systems have then the same expected counts, and
over the population the same micro-F1; and any two that were not chosen by their results are exchangeable on every
document, which is the null hypothesis of the test. Holdouts are drawn with replacement from the real documents.

A better candidate leans towards the model that does better on the document, just so far that its micro-F1 over the
population is higher by the wanted difference. A regression loses true positives of one entity type, while misses of
the others are found, just so many that micro-F1 is higher by 2 points. Candidates are judged as `loop promote` judges
them: by the test, and by the guard of the entity types.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.stats import binomtest

from loop.evaluation.scores import Counts
from loop.evaluation.significance import (
    DECREASING,
    EVEN,
    alpha_of,
    compare_counts,
    permutations_for,
    randomisation_p_value,
)
from loop.promotion.attempt import FAIL, INSUFFICIENT, PASS, Gate
from loop.promotion.gates import type_gates
from scripts.bench.promotion.systems import FloatArray, IntArray, Population, chances, f1, leaning

LOOKS, DELTA = 10, 0.03
SIZES, GAINS = (500, 1_000, 2_000, 4_000), (0.01, 0.02, 0.03)
SUPPORTS, LOSS, MICRO_GAIN = (25, 50, 100, 200, 400, 800, 1_600), 0.05, 0.02
LEAST_SUPPORT = 100  # real entities that a type needs, for its distribution to be one
# A first sample this large says which tests are worth their full number of arrangements; a p-value above SCREEN in it
# is not below .05 in any.
FIRST, SCREEN = 1_000, 0.2
RESAMPLES = 2_000


def main() -> None:
    """Read the arguments, run the three simulations, print their tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", type=Path, required=True, help="made from --home where it is missing")
    parser.add_argument("--home", type=Path, help="a project with a holdout and at least two models")
    parser.add_argument("--linear", type=Path, metavar="DATA", help="StackOverflow's folder: two quick linear taggers")
    parser.add_argument("--epochs", type=int, default=1_000, help="holdouts of 10 null candidates each")
    parser.add_argument("--entities", type=int, default=1_000, help="in the holdout of an epoch")
    parser.add_argument("--runs", type=int, default=1_000, help="candidates for each cell of the power table")
    parser.add_argument("--regressions", type=int, default=200, help="for each support and entity type")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    population = Population.load(given.counts, given.home, given.linear)
    null, power, guard = (np.random.default_rng(seed) for seed in np.random.SeedSequence(given.seed).spawn(3))
    parts: tuple[Callable[[], Iterable[str]], ...] = (
        lambda: population.told(),
        lambda: null_table(population, given.epochs, given.entities, null),
        lambda: power_table(population, given.runs, power),
        lambda: guard_table(population, given.regressions, guard),
    )
    for part in parts:
        began = time.monotonic()
        for line in part():
            print(line, flush=True)
        print(f"\n({time.monotonic() - began:.0f} s)\n", flush=True)


# Null candidates


@dataclass(frozen=True)
class Rule:
    """When a candidate is promoted at look t: p at most alpha(t); without alpha, when its F1 is higher."""

    name: str
    alpha: Callable[[int], float] | None


RULES = (
    Rule("5 % over 10 looks, even (default)", lambda look: alpha_of(EVEN, 0.05, LOOKS, look)),
    Rule("1 % over 10 looks, even", lambda look: alpha_of(EVEN, 0.01, LOOKS, look)),
    Rule("5 % over 10 looks, decreasing", lambda look: alpha_of(DECREASING, 0.05, LOOKS, look)),
    Rule("p < .05 each time", lambda _: 0.05),
    Rule("higher F1 wins", None),
)


class Epoch:
    """One holdout, an incumbent (system 0) and LOOKS null candidates; p-values are kept, for all rules alike."""

    def __init__(self, population: Population, documents: int, rng: np.random.Generator) -> None:
        micro = population.micro
        drawn = rng.integers(micro.shape[1], size=documents)
        answers = rng.integers(len(micro), size=(LOOKS + 1, documents))
        self._systems, self._rng = micro[answers, drawn], rng
        self.f1 = [f1(system.sum(axis=0)) for system in self._systems]
        self._p_values: dict[tuple[int, int], float] = {}

    def follow(self, rule: Rule) -> tuple[int, int]:
        """(promotions, the system in service at the end) under a rule."""
        incumbent = promotions = 0
        for look in range(1, LOOKS + 1):
            if self._beats(rule, look, incumbent):
                incumbent, promotions = look, promotions + 1
        return promotions, incumbent

    def _beats(self, rule: Rule, look: int, incumbent: int) -> bool:
        if rule.alpha is None:
            return self.f1[look] > self.f1[incumbent]
        return self._p_value(look, incumbent) <= rule.alpha(look)

    def _p_value(self, look: int, incumbent: int) -> float:
        key = look, incumbent
        if key not in self._p_values:
            least = min(rule.alpha(look) for rule in RULES if rule.alpha)
            self._p_values[key] = p_value(*self._systems[[look, incumbent]], permutations_for(least, FIRST), self._rng)
        return self._p_values[key]


def null_table(population: Population, epochs: int, entities: int, rng: np.random.Generator) -> Iterator[str]:
    """False promotions and inflation, rule by rule, on the same epochs."""
    documents = population.documents_for(entities)
    promotions = np.zeros((epochs, len(RULES)))
    inflation = np.zeros((epochs, len(RULES)))
    for row in range(epochs):
        epoch = Epoch(population, documents, rng)
        for column, rule in enumerate(RULES):
            promotions[row, column], last = epoch.follow(rule)
            # All eleven have one true F1; their mean on these documents strays from it less than any of them.
            inflation[row, column] = epoch.f1[last] - np.mean(epoch.f1)
    yield f"{epochs:,} epochs of {LOOKS} null candidates, holdouts of {entities:,} entities ({documents:,} documents)\n"
    yield "| rule | at least one false promotion | promotions an epoch | F1 inflation |"
    yield "| --- | --- | --- | --- |"
    for column, rule in enumerate(RULES):
        inflated, error = inflation[:, column].mean(), inflation[:, column].std(ddof=1) / np.sqrt(epochs)
        share = told_share(int((promotions[:, column] > 0).sum()), epochs)
        mean = promotions[:, column].mean()
        yield f"| {rule.name} | {share} | {mean:.2f} | {100 * inflated:+.2f} ± {196 * error:.2f} |"


# Better candidates


def power_table(population: Population, runs: int, rng: np.random.Generator) -> Iterator[str]:
    """How often a truly better candidate passes the test at its first look, and how often it is promoted."""
    first = [rule for rule in RULES if rule.alpha]
    yield f"Shares at the first look, {runs:,} candidates a cell; true difference as on 10^6 documents\n"
    names = (f"{rule.name.removesuffix(' each time')}, p ≤ {rule.alpha(1):.3g}" for rule in first if rule.alpha)
    yield f"| true difference | entities | promoted: default and guard | {' | '.join(names)} | higher F1 wins |"
    yield "| --- " * (len(first) + 4) + "|"
    alphas = [rule.alpha(1) for rule in first if rule.alpha]
    for gain in GAINS:
        weights = leaning(population, gain)
        new, old = (micro_columns(side).sum(axis=0) for side in pair(population, weights, 10**6, rng))
        for size in SIZES:
            shares = power(population, weights, size, alphas, runs, rng)
            cells = " | ".join(f"{share:.1%}" for share in shares)
            yield f"| {100 * (f1(new) - f1(old)):+.2f} | {size:,} | {cells} |"


def power(
    population: Population, weights: FloatArray, size: int, alphas: Sequence[float], runs: int, rng: np.random.Generator
) -> FloatArray:
    """(alphas + 2,): shares promoted at the first alpha by test and guard, at most each alpha, and of higher F1."""
    documents, passed = population.documents_for(size), np.zeros(len(alphas) + 2)
    for _ in range(runs):
        new, old = pair(population, weights, documents, rng)
        sides = micro_columns(new), micro_columns(old)
        p = p_value(*sides, permutations_for(min(alphas), FIRST), rng)
        promoted = p <= alphas[0] and not any(gate.blocks for gate in guard(new, old, rng))
        higher = f1(sides[0].sum(axis=0)) > f1(sides[1].sum(axis=0))
        passed += [promoted, *(p <= alpha for alpha in alphas), higher]
    return passed / runs


def pair(
    population: Population, weights: FloatArray, documents: int, rng: np.random.Generator
) -> tuple[Counts, Counts]:
    """A candidate that answers by `weights` (models, documents), and a null incumbent."""
    drawn = rng.integers(len(population.gold), size=documents)
    ours = (rng.random(documents) > np.cumsum(weights, axis=0)[:-1, drawn]).sum(axis=0)
    theirs = rng.integers(len(weights), size=documents)
    return counts_of(population, drawn, ours), counts_of(population, drawn, theirs)


# Regressions of one entity type


def guard_table(population: Population, runs: int, rng: np.random.Generator) -> Iterator[str]:
    """What the guard says of a type that lost 5 points, and of a candidate that lost nothing."""
    change = f"One type {100 * LOSS:g} F1 points worse, micro {100 * MICRO_GAIN:g} better"
    yield f"{change}; delta {100 * DELTA:g}; {len(population.types)} types; {runs:,} candidates a row\n"
    yield "| type | gold entities of it | stopped | insufficient | passes | test alone promotes | equal candidate: " + (
        "type stopped | insufficient | passes | blocked by any type |"
    )
    yield "| --- " * 10 + "|"
    for kind, total in enumerate(population.gold.sum(axis=0)):
        for support in SUPPORTS if total >= LEAST_SUPPORT else ():
            both = (judged(population, kind, support, runs, rng, worse=worse) for worse in (True, False))
            cells = [share for shares in both for share in shares]
            yield f"| {population.types[kind]} | {support:,} | " + " | ".join(f"{share:.1%}" for share in cells) + " |"


def judged(
    population: Population, kind: int, support: int, runs: int, rng: np.random.Generator, *, worse: bool
) -> FloatArray:
    """(4,): shares of candidates whose type is stopped, insufficient, passes; and that the test alone would promote,
    or, of equal candidates, that any type blocks."""
    found = np.zeros(4)
    alpha = alpha_of(EVEN, 0.05, LOOKS, 1)
    for _ in range(runs):
        drawn = rng.integers(len(population.gold), size=population.documents_for(support, kind))
        answers = rng.integers(len(population.names), size=(2, len(drawn)))
        new, old = (counts_of(population, drawn, chosen) for chosen in answers)
        if worse:
            new = regressed(population, new, kind, rng)
        gates = guard(new, old, rng)
        last = any(gate.blocks for gate in gates)
        if worse:
            last = p_value(micro_columns(new), micro_columns(old), permutations_for(alpha, FIRST), rng) <= alpha
        found += [*(gates[kind].status == status for status in (FAIL, INSUFFICIENT, PASS)), last]
    return found / runs


def regressed(population: Population, new: Counts, kind: int, rng: np.random.Generator) -> Counts:
    """The system after it lost true positives of the type and found misses of the others."""
    lost, mended = chances(population, kind, LOSS, MICRO_GAIN)
    change = rng.binomial(new.gold - new.true_positives, mended)
    change[:, kind] = -rng.binomial(new.true_positives[:, kind], lost)
    return Counts(new.types, new.true_positives + change, new.predicted + change, new.gold)


# Shared


def counts_of(population: Population, drawn: IntArray, answers: IntArray) -> Counts:
    """The counts of a system that answers drawn document i as model answers[i] does."""
    sides = (side[answers, drawn] for side in (population.right, population.found))
    return Counts(population.types, *sides, population.gold[drawn])


def micro_columns(side: Counts) -> FloatArray:
    found = (side.predicted + side.gold).sum(axis=1)
    return np.stack([side.true_positives.sum(axis=1), found], axis=1).astype(np.float64)


def guard(new: Counts, old: Counts, rng: np.random.Generator) -> list[Gate]:
    """The gates of the entity types, as `loop promote` has them."""
    seed = int(rng.integers(2**32))
    return type_gates(compare_counts(new, old, permutations=1, resamples=RESAMPLES, seed=seed).per_type, DELTA)


def p_value(new: FloatArray, old: FloatArray, permutations: int, rng: np.random.Generator) -> float:
    """The test's, with all its permutations only where a first sample does not already say no."""
    first = randomisation_p_value(new, old, FIRST, rng)
    return first if first > SCREEN else randomisation_p_value(new, old, permutations, rng)


def told_share(times: int, of: int) -> str:
    """A share with its exact 95 % interval."""
    interval = binomtest(times, of).proportion_ci(method="exact")
    return f"{times / of:.1%} ({interval.low:.1%} to {interval.high:.1%})"


if __name__ == "__main__":
    main()
