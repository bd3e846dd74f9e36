"""`loop compare`: the decision of `loop promote` on files with the answers of any two systems, without a project.

Three files hold the gold, the answers of A and the answers of B, record by record. The entity types are the labels of
the gold. A predicted span of another label is spurious: it counts against its system in the micro average, and has no
row of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from loop.evaluation.regret import Estimate, documents_until_any, estimate, estimate_types
from loop.evaluation.scores import Counts, count, grouped
from loop.evaluation.significance import (
    Comparison,
    Difference,
    compare_counts,
    permutations_for,
    randomisation_p_value,
)
from loop.promotion.attempt import INSUFFICIENT, Gate
from loop.promotion.compared_files import SYSTEMS, Sides, read_sides, some
from loop.promotion.gates import significance_gate, type_gates
from loop.promotion.policies import BOUNDED, POLICIES, CandidateFacts, Decision, PolicyLimits, decide
from ner.arrays import FloatArray
from ner.errors import InputError
from ner.labels import LabelSet
from ner.spans import Span

LEAST_ALPHA = 1e-5  # two million arrangements, of which a p-value this small needs 20 / alpha


@dataclass(frozen=True, slots=True)
class TypeResult:
    """An entity type of the gold: its figures, a one-sided p-value for information, its gate, and its estimate."""

    row: Difference
    gate: Gate
    estimate: Estimate


@dataclass(frozen=True, slots=True)
class Compared:
    """System A, the candidate, against system B, the incumbent, on the same gold.

    micro: the gate of significance. records: of the gold; records with one `doc` are one document of the comparison.
    delta: F1 (0..1) that a type may lose. decision: of a policy; average_loss: the F1 (0..1) that a wrong promotion may
    cost on average. notes: what was left out of the files, and which labels are spurious.
    """

    comparison: Comparison
    micro: Gate
    types: tuple[TypeResult, ...]
    decision: Decision
    alpha: float
    delta: float
    average_loss: float
    records: int
    notes: tuple[str, ...]

    @property
    def unjudged(self) -> list[str]:
        """The types that too little gold leaves open."""
        return [result.row.name for result in self.types if result.gate.status == INSUFFICIENT]

    @property
    def documents_until_any(self) -> int:
        """With how many documents every difference of at least 0 is enough for "bounded"."""
        served = self.decision.served
        return documents_until_any(served.error, served.documents, self.average_loss)

    def as_json(self) -> dict[str, Any]:
        """`{f1: {a, b}, delta, interval, p_value, alpha, decision, ..., types: {type: {the same, and its gate}}}`.

        decision: promote, hold or reject. The decision on a type is the status of its gate: pass, fail, or
        insufficient, which is no pass; `blocks` says whether the policy counts the type as worse.
        """
        micro, decision = self.comparison.micro, self.decision
        return {
            **_figures(micro, self.alpha, self.micro, decision.verdict, decision.served),
            "policy": decision.policy,
            "word": decision.word,
            "needed": decision.needed,
            "reasons": list(decision.reasons),
            "blocking_types": list(decision.types),
            "average_loss": self.average_loss,
            "documents_until_any": self.documents_until_any,
            "types": {
                result.row.name: _figures(result.row, self.alpha, result.gate, result.gate.status, result.estimate)
                | {"blocks": result.row.name in decision.types}
                for result in self.types
            },
            "documents": micro.documents,
            "records": self.records,
            "confidence": micro.confidence,
            "allowed_loss": self.delta,
            "permutations": self.comparison.permutations,
            "resamples": self.comparison.resamples,
            "seed": self.comparison.seed,
            "notes": list(self.notes),
        }


def compare_files(
    candidate: Path,
    incumbent: Path,
    gold: Path,
    *,
    policy: str = BOUNDED,
    average_loss: float = PolicyLimits().average_loss,
    alpha: float = 0.05,
    delta: float = 0.03,
    resamples: int = 10_000,
    seed: int = 13,
    skip_bad: bool = False,
) -> Compared:
    """Read three files, compare A with B, and decide by a policy, a key of `loop.promotion.policies.POLICIES`.

    InputError names a policy that is not known, a share out of bounds, or the records that cannot be compared.
    """
    if policy not in POLICIES:
        raise InputError("a policy is known", value=policy, next_step=f"Take --policy {'|'.join(POLICIES)}.")
    for name, share, least in (
        ("alpha", alpha, LEAST_ALPHA),
        ("delta", delta, 0.0),
        ("average-loss", average_loss, 0.0),
    ):
        if not least <= share < 1 or not share:
            raise InputError(f"{name} lies between {least:g} and 1", value=share, next_step=f"Correct --{name}.")
    sides = read_sides(candidate, incumbent, gold, skip_bad=skip_bad)
    known = _labels(sides.gold)
    if not known:
        raise InputError("systems are compared by gold entities", value="none", next_step=f"Check {gold}.")
    strays = sorted(set(_labels(*sides.systems)) - set(known))
    notes = (*sides.notes, *_spurious_labels(sides, strays))
    labels = LabelSet((*known, *strays))
    new, old = (grouped(count(sides.gold, side, labels), sides.documents) for side in sides.systems)
    permutations = permutations_for(alpha, resamples)
    comparison = compare_counts(new, old, permutations=permutations, resamples=resamples, seed=seed)
    types = _type_results(new, old, comparison, len(known), delta)
    micro = significance_gate(comparison.micro, alpha, "B")
    facts = CandidateFacts(
        estimate(new, old),
        types=tuple(result.estimate for result in types),
        p_value=comparison.micro.p_value,
        alpha=alpha,
        worse_types=tuple(result.row.name for result in types if result.gate.blocks),
    )
    decision = decide(policy, facts, PolicyLimits(average_loss))
    return Compared(comparison, micro, types, decision, alpha, delta, average_loss, len(sides.gold), notes)


def _labels(*sides: Sequence[Sequence[Span]]) -> list[str]:
    return sorted({span.label for side in sides for spans in side for span in spans})


def _spurious_labels(sides: Sides, strays: list[str]) -> Iterator[str]:
    for name, side in zip(SYSTEMS, sides.systems, strict=True):
        found = [span.label for spans in side for span in spans if span.label in strays]
        if found:
            labels, spans = some(sorted(set(found))), "span" if len(found) == 1 else "spans"
            yield f"{name}: {len(found):,} {spans} of labels that the gold does not have, counted as spurious: {labels}"


def _type_results(new: Counts, old: Counts, comparison: Comparison, known: int, delta: float) -> tuple[TypeResult, ...]:
    """The results of the first `known` types, which are the gold's."""
    results = []
    rows = comparison.per_type[:known]
    estimates = {row.name: row for row in estimate_types(new, old)}
    for kind, (row, gate) in enumerate(zip(rows, type_gates(rows, delta), strict=True)):
        ours, theirs = (_column(side, kind) for side in (new, old))
        p_value = randomisation_p_value(ours, theirs, comparison.permutations, np.random.default_rng(comparison.seed))
        results.append(TypeResult(replace(row, p_value=p_value), gate, estimates[row.name]))
    return tuple(results)


def _column(counts: Counts, kind: int) -> FloatArray:
    """(n, 2): true positives, predicted + gold, of one type."""
    found = counts.predicted[:, kind] + counts.gold[:, kind]
    return np.stack([counts.true_positives[:, kind], found], axis=1).astype(np.float64)


def _figures(row: Difference, alpha: float, gate: Gate, decision: str, found: Estimate) -> dict[str, Any]:
    return {
        "f1": {"a": row.new_f1, "b": row.old_f1},
        "delta": row.delta,
        "interval": [row.low, row.high],
        "lower_bound": row.lower,
        "standard_error": found.error,
        "better": found.better,
        "p_value": row.p_value,
        "alpha": alpha,
        "decision": decision,
        "gate": asdict(gate),
        "support": row.support,
    }
