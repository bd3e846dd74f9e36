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
from ner.arrays import FloatArray
from ner.errors import InputError
from ner.labels import LabelSet
from ner.spans import Span

PROMOTE, REJECT = "promote", "reject"
LEAST_ALPHA = 1e-5  # two million arrangements, of which a p-value this small needs 20 / alpha


@dataclass(frozen=True, slots=True)
class TypeResult:
    """An entity type of the gold: its figures, a one-sided p-value for information, and its gate."""

    row: Difference
    gate: Gate


@dataclass(frozen=True, slots=True)
class Compared:
    """System A, the candidate, against system B, the incumbent, on the same gold.

    micro: the gate of significance. records: of the gold; records with one `doc` are one document of the comparison.
    delta: F1 (0..1) that a type may lose. notes: what was left out of the files, and which labels are spurious.
    """

    comparison: Comparison
    micro: Gate
    types: tuple[TypeResult, ...]
    alpha: float
    delta: float
    records: int
    notes: tuple[str, ...]

    @property
    def blocking(self) -> list[Gate]:
        """The gates that stand in the way of A."""
        return [gate for gate in (self.micro, *(result.gate for result in self.types)) if gate.blocks]

    @property
    def unjudged(self) -> list[str]:
        """The types that too little gold leaves open."""
        return [result.row.name for result in self.types if result.gate.status == INSUFFICIENT]

    @property
    def decision(self) -> str:
        """PROMOTE where A is better than chance explains and no type is shown to be worse, else REJECT."""
        return REJECT if self.blocking else PROMOTE

    def as_json(self) -> dict[str, Any]:
        """`{f1: {a, b}, delta, interval, p_value, alpha, decision, ..., types: {type: {the same, and its gate}}}`.

        The decision on a type is the status of its gate: pass, fail, or insufficient, which is no pass.
        """
        micro = self.comparison.micro
        return {
            **_figures(micro, self.alpha, self.micro, self.decision),
            "types": {
                result.row.name: _figures(result.row, self.alpha, result.gate, result.gate.status)
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
    alpha: float = 0.05,
    delta: float = 0.03,
    resamples: int = 10_000,
    seed: int = 13,
    skip_bad: bool = False,
) -> Compared:
    """Read three files and compare A with B. InputError names the records that cannot be compared."""
    for name, share, least in (("alpha", alpha, LEAST_ALPHA), ("delta", delta, 0.0)):
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
    return Compared(comparison, micro, types, alpha, delta, len(sides.gold), notes)


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
    for kind, (row, gate) in enumerate(zip(rows, type_gates(rows, delta), strict=True)):
        ours, theirs = (_column(side, kind) for side in (new, old))
        p_value = randomisation_p_value(ours, theirs, comparison.permutations, np.random.default_rng(comparison.seed))
        results.append(TypeResult(replace(row, p_value=p_value), gate))
    return tuple(results)


def _column(counts: Counts, kind: int) -> FloatArray:
    """(n, 2): true positives, predicted + gold, of one type."""
    found = counts.predicted[:, kind] + counts.gold[:, kind]
    return np.stack([counts.true_positives[:, kind], found], axis=1).astype(np.float64)


def _figures(row: Difference, alpha: float, gate: Gate, decision: str) -> dict[str, Any]:
    return {
        "f1": {"a": row.new_f1, "b": row.old_f1},
        "delta": row.delta,
        "interval": [row.low, row.high],
        "lower_bound": row.lower,
        "p_value": row.p_value,
        "alpha": alpha,
        "decision": decision,
        "gate": asdict(gate),
        "support": row.support,
    }
