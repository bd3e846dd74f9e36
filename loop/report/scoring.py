"""The figures of a report that come from the held-out documents alone: scores, differences, errors, INT8's loss."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from loop.evaluation.errors import (
    ErrorAnalysis,
    JudgedText,
    analyse,
    confusion_matrix,
    confusions,
    examples,
    per_type,
)
from loop.evaluation.scores import PRF, Scores, score
from loop.evaluation.significance import Difference
from loop.judging.measured import HeldOutDocument
from loop.promotion.attempt import NON_INFERIORITY, Attempt, Gate
from ner.labels import LabelSet
from ner.spans import Span

MICRO, MACRO = "micro", "macro"
EXAMPLES_OF_A_KIND = 8
COSTLIEST = 12
Side = Callable[[HeldOutDocument], tuple[Span, ...] | None]


def results(attempt: Attempt, delta: float) -> dict[str, Any]:
    """P, R, F1 and support of both systems, per type, micro and macro, and their differences with intervals (0..1)."""
    new, old = scores_of(attempt, _candidate), scores_of(attempt, _incumbent)
    comparison = attempt.comparison
    differences = {one.name: one for one in (comparison.micro, *comparison.per_type)} if comparison else {}
    statuses = {gate.entity_type or "": gate for gate in attempt.gates if gate.kind == NON_INFERIORITY}
    rows = [_row(name, new, old, differences, statuses) for name in (*attempt.types, MICRO, MACRO)] if new else []
    return {
        "documents": len(attempt.documents),
        "groups": comparison.micro.documents if comparison else _groups(attempt),
        "entities": new.micro.support if new else 0,
        "against": attempt.against,
        "rows": rows,
        "delta": delta,
        "confidence": comparison.micro.confidence if comparison else None,
        "p_value": comparison.micro.p_value if comparison else None,
        "better": comparison.micro.better if comparison else None,
        "worse": comparison.micro.worse if comparison else None,
        "permutations": comparison.permutations if comparison else None,
        "resamples": comparison.resamples if comparison else None,
        "seed": comparison.seed if comparison else None,
    }


def _groups(attempt: Attempt) -> int:
    """What a test would count: texts of one group are one document."""
    return len({document.group or document.name for document in attempt.documents})


def scores_of(attempt: Attempt, side: Side) -> Scores | None:
    """The scores of one system; None where it was not asked about every document, or nothing was looked at."""
    said = [side(document) for document in attempt.documents]
    if not said or not attempt.types or any(spans is None for spans in said):
        return None
    gold = [_plain(document.gold) for document in attempt.documents]
    return score(gold, [_plain(spans or ()) for spans in said], LabelSet(attempt.types))


def errors(attempt: Attempt, *, quoting: bool = True) -> dict[str, Any]:
    """The candidate's errors: per type, the confusion matrix, the costliest confusions, and examples if `quoting`."""
    analysis = analyse(
        JudgedText(document.name, document.text, _plain(document.gold), _plain(document.candidate))
        for document in attempt.documents
    )
    found = confusions(analysis)
    shown = examples(analysis, EXAMPLES_OF_A_KIND) if quoting else ()
    return {
        "per_type": [asdict(row) for row in per_type(analysis, attempt.types)],
        "matrix": _matrix(analysis, attempt.types),
        "costliest": [asdict(one) for one in found[:COSTLIEST]],
        "confusions": len(found),
        "examples": [asdict(example) for example in shown],
        "total": sum(one.count for one in found),
    }


def quantisation(attempt: Attempt) -> list[dict[str, Any]]:
    """F1 in FP32, F1 as served in INT8, and the loss, per type and micro; empty where FP32 was not run."""
    reference, served = scores_of(attempt, _reference), scores_of(attempt, _candidate)
    if reference is None or served is None:
        return []
    pairs = [(MICRO, reference.micro, served.micro)]
    pairs += [(name, reference.per_type[name], served.per_type[name]) for name in attempt.types]
    return [
        {
            "name": name,
            "reference_f1": before.f1,
            "served_f1": after.f1,
            "loss": before.f1 - after.f1,
            "support": after.support,
        }
        for name, before, after in pairs
    ]


def agreement(attempt: Attempt) -> dict[str, int] | None:
    """On how many documents INT8 gives the same spans as FP32; None where FP32 was not run."""
    both = [document for document in attempt.documents if document.reference is not None]
    if not both:
        return None
    same = sum(set(_plain(one.candidate)) == set(_plain(one.reference or ())) for one in both)
    return {"documents": len(both), "same": same}


def _row(
    name: str, new: Scores, old: Scores | None, differences: dict[str, Difference], gates: dict[str, Gate]
) -> dict[str, Any]:
    mine, theirs = _of(new, name), _of(old, name) if old else None
    found = differences.get(name)
    gate = gates.get(name)
    return {
        "name": name,
        "support": mine.support,
        "candidate": _figures(mine),
        "incumbent": _figures(theirs) if theirs else None,
        "delta": mine.f1 - theirs.f1 if theirs else None,
        "low": found.low if found else None,
        "high": found.high if found else None,
        "lower": found.lower if found else None,
        "standard_error": found.standard_error if found else None,
        "status": gate.status if gate else None,
    }


def _of(scores: Scores, name: str) -> PRF:
    return {MICRO: scores.micro, MACRO: scores.macro}.get(name) or scores.per_type[name]


def _figures(row: PRF) -> dict[str, float]:
    return {
        "precision": row.precision,
        "recall": row.recall,
        "f1": row.f1,
        "predicted": row.predicted,
        "true_positives": row.true_positives,
    }


def _matrix(analysis: ErrorAnalysis, types: Sequence[str]) -> dict[str, Any]:
    return {
        "rows": [*types, "spurious"],
        "columns": [*types, "missed"],
        "counts": [list(row) for row in confusion_matrix(analysis, types)],
        "boundary": [row.boundary for row in per_type(analysis, types)],
    }


def _plain(spans: Sequence[Span]) -> tuple[Span, ...]:
    return tuple(span.without_score() for span in spans)


def _candidate(document: HeldOutDocument) -> tuple[Span, ...]:
    return document.candidate


def _incumbent(document: HeldOutDocument) -> tuple[Span, ...] | None:
    return document.incumbent


def _reference(document: HeldOutDocument) -> tuple[Span, ...] | None:
    return document.reference
