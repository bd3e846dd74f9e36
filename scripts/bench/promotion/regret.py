"""What a decision by bounded regret costs on average, at known true differences.

    python -m scripts.bench.promotion.regret

Documents are drawn one by one, with their entities; the standard error of the decision is not used. A document has a
number of gold entities, 0 among them, more spread than Poisson's, and is easy or hard. Each entity is found or missed,
each document has spurious predictions, and the two systems agree on most of what they find. The recall that gives a
wanted F1 is known exactly, so that the true difference is, too. `loop.promotion.policies.decide` decides.

Loss: what a promotion costs, max(0, -true difference) times the share of promotions. This is what the policy bounds.
Gain missed: max(0, true difference) times the share of candidates that are not promoted, which no rule can bound on a
few documents. All in F1 points.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from loop.evaluation.regret import estimate, estimate_types
from loop.evaluation.scores import Counts
from loop.promotion.policies import BOUNDED, PROMOTE, CandidateFacts, PolicyLimits, decide
from ner.arrays import IntArray

SIZES = (20, 60, 200, 1_000)
POINTS = (-5, -4, -3, -2, -1.5, -1, -0.5, 0, 0.5, 1, 2, 3, 5)


@dataclass(frozen=True, slots=True)
class Corpus:
    """entities: gold entities of a document, on average. f1: of the model in service, over all documents.

    spurious: predictions of a document that are wrong, on average, for each gold entity. agreement: the share of the
    entities of which both systems say the same by construction. hardness: how much recall is lower on hard documents.
    """

    entities: float
    f1: float
    spurious: float = 0.25
    agreement: float = 0.6
    hardness: float = 0.15

    def recall(self, f1: float) -> float:
        """The recall at which F1 over all documents is `f1`: 2 recall / (recall + spurious + 1).

        Raises ValueError where hard or easy documents would need a recall outside of 0..1.
        """
        recall = f1 * (1 + self.spurious) / (2 - f1)
        if not self.hardness <= recall <= 1 - self.hardness:
            raise ValueError(f"recall {recall:.3f} of F1 {f1:.3f} leaves no room for a hardness of {self.hardness}")
        return recall

    def draw(self, documents: int, f1s: Sequence[float], rng: np.random.Generator) -> list[Counts]:
        """The counts of a system for each F1, on the same documents of one entity type."""
        # Gamma-distributed means make the numbers of entities more spread than Poisson's.
        gold = rng.poisson(self.entities * rng.gamma(1.0, 1.0, documents))
        document = np.repeat(np.arange(documents), gold)
        shift = np.where(rng.random(documents) < 0.5, -self.hardness, self.hardness)[document]
        common, shared = rng.random(len(document)), rng.random(len(document)) < self.agreement
        same = rng.poisson(self.spurious * self.entities * self.agreement, documents)
        systems = []
        for f1 in f1s:
            chance = np.where(shared, common, rng.random(len(document)))
            right = np.bincount(document[chance < self.recall(f1) + shift], minlength=documents)
            own = rng.poisson(self.spurious * self.entities * (1 - self.agreement), documents)
            systems.append(_counts(gold, right, same + own))
        return systems


CORPORA = (
    Corpus(1.0, 0.5),
    Corpus(1.0, 0.7),
    Corpus(2.4, 0.6),
    Corpus(2.4, 0.85, spurious=0.1, agreement=0.8, hardness=0.08),
)


@dataclass(frozen=True, slots=True)
class ExpectedLoss:
    """At one true difference: the shares (0..1) and what they cost, in F1 (0..1)."""

    difference: float
    promoted: float
    loss: float
    missed: float
    error: float


def expected_losses(
    corpus: Corpus, documents: int, differences: Sequence[float], *, average_loss: float, runs: int, seed: int
) -> list[ExpectedLoss]:
    """A row for each true difference in F1 (0..1), each from `runs` decisions."""
    rng = np.random.default_rng(seed)
    limits, rows = PolicyLimits(average_loss), []
    for difference in differences:
        promoted, error = 0, 0.0
        for _ in range(runs):
            old, new = corpus.draw(documents, (corpus.f1, corpus.f1 + difference), rng)
            served = estimate(new, old)
            promoted += (
                decide(BOUNDED, CandidateFacts(served, types=estimate_types(new, old)), limits).verdict == PROMOTE
            )
            error += min(served.error, 1.0)  # infinite where nothing was drawn
        share = promoted / runs
        costs = max(0.0, -difference) * share, max(0.0, difference) * (1 - share)
        rows.append(ExpectedLoss(difference, share, *costs, error / runs))
    return rows


def main() -> None:
    """Print a table for each corpus, and the highest loss of each size."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=10_000, help="decisions at each true difference")
    parser.add_argument("--average-loss", type=float, default=0.005, help="F1 that a wrong decision may cost (0 to 1)")
    parser.add_argument("--seed", type=int, default=1)
    given = parser.parse_args()
    for corpus in CORPORA:
        for line in _table(corpus, given.average_loss, given.runs, given.seed):
            print(line, flush=True)


def _table(corpus: Corpus, average_loss: float, runs: int, seed: int) -> Iterator[str]:
    yield (
        f"\n{corpus.entities:g} entities a document, F1 {100 * corpus.f1:g} in service, {corpus.agreement:.0%} in "
        f"common; {runs:,} decisions a cell; eps {100 * average_loss:g}; cells: loss below 0, gain missed above 0\n"
    )
    yield "| documents (mean s) | " + " | ".join(f"{point:+g}" for point in POINTS) + " | highest loss |"
    yield "| --- " * (len(POINTS) + 2) + "|"
    for documents in SIZES:
        differences = [point / 100 for point in POINTS]
        rows = expected_losses(corpus, documents, differences, average_loss=average_loss, runs=runs, seed=seed)
        cells = [f"{100 * (row.loss or row.missed):.2f}" for row in rows]
        highest = max(row.loss for row in rows)
        yield (
            f"| {documents:,} ({100 * rows[0].error:.1f}) | "
            f"{' | '.join(cells)} | {100 * highest:.2f} = {highest / average_loss:.2f} eps |"
        )


def _counts(gold: IntArray, right: IntArray, spurious: IntArray) -> Counts:
    right, gold = right[:, None], gold[:, None]
    return Counts(("ENTITY",), right, right + spurious[:, None], gold)


if __name__ == "__main__":
    main()
