"""The figures of a report that come from the held-out texts: scores and differences, errors, what INT8 costs.

The scores, the comparison and the agreement are those that the decision was made on: the attempt carries them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict

from loop.evaluation.errors import JudgedText, analyse, confusion_matrix, confusions, examples, per_type
from loop.evaluation.scores import PRF, Scores, score
from loop.evaluation.significance import Difference
from loop.promotion.attempt import NON_INFERIORITY, Attempt
from loop.report import facts
from ner.labels import LabelSet
from ner.spans import unscored

EXAMPLES_OF_A_KIND = 8
COSTLIEST = 12


def results(attempt: Attempt, delta: float) -> facts.Results:
    """P, R, F1 and support of both systems, by type, micro and macro, and their differences with intervals (0..1)."""
    new, comparison = attempt.candidate_scores if attempt.documents else None, attempt.comparison
    groups = len({one.group or one.name for one in attempt.documents})
    if comparison is None or new is None:
        rows = _rows(attempt, new, {}) if new else ()
        entities = new.micro.support if new else 0
        return facts.Results(len(attempt.documents), groups, entities, attempt.against, rows, delta)
    micro = comparison.micro
    return facts.Results(
        documents=len(attempt.documents),
        groups=micro.documents,
        entities=new.micro.support,
        against=attempt.against,
        rows=_rows(attempt, new, {one.name: one for one in comparison.per_type} | {facts.MICRO: micro}),
        delta=delta,
        confidence=micro.confidence,
        p_value=micro.p_value,
        better=micro.better,
        worse=micro.worse,
        permutations=comparison.permutations,
        resamples=comparison.resamples,
        seed=comparison.seed,
    )


def errors(attempt: Attempt, *, quoting: bool = True) -> facts.ErrorFacts:
    """The candidate's errors: by type, the confusion matrix, the costliest confusions, and examples if `quoting`."""
    judged = (JudgedText(one.name, one.text, unscored(one.gold), unscored(one.candidate)) for one in attempt.documents)
    return errors_of(judged, attempt.types, quoting=quoting)


def errors_of(texts: Iterable[JudgedText], types: Sequence[str], *, quoting: bool = True) -> facts.ErrorFacts:
    """The errors of any system on judged texts, whose spans have no scores."""
    analysis = analyse(texts)
    found = confusions(analysis)
    rows = per_type(analysis, types)
    matrix = facts.ConfusionMatrix(
        rows=(*types, "spurious"),
        columns=(*types, "missed"),
        counts=confusion_matrix(analysis, types),
        boundary=tuple(row.boundary for row in rows),
    )
    return facts.ErrorFacts(
        per_type=rows,
        matrix=matrix,
        costliest=found[:COSTLIEST],
        confusions=len(found),
        examples=examples(analysis, EXAMPLES_OF_A_KIND) if quoting else (),
        total=sum(one.count for one in found),
    )


def quantisation(attempt: Attempt) -> tuple[facts.QuantisationLoss, ...]:
    """F1 in FP32, F1 as served, and the loss, of micro and each type; nothing where FP32 was not run."""
    said = [one.reference for one in attempt.documents if one.reference is not None]
    served = attempt.candidate_scores
    if served is None or not said or len(said) < len(attempt.documents):
        return ()
    fp32 = score([unscored(one.gold) for one in attempt.documents], list(map(unscored, said)), LabelSet(attempt.types))
    return losses(fp32, served)


def losses(fp32: Scores, served: Scores) -> tuple[facts.QuantisationLoss, ...]:
    """Micro first, then each type."""
    pairs = [(facts.MICRO, fp32.micro, served.micro)]
    pairs += [(name, fp32.per_type[name], row) for name, row in served.per_type.items()]
    return tuple(
        facts.QuantisationLoss(name, before.f1, after.f1, before.f1 - after.f1, after.support)
        for name, before, after in pairs
    )


def agreement(attempt: Attempt) -> facts.SameSpans | None:
    """On how many of the texts the served model says what FP32 says; None where FP32 was not run."""
    found = attempt.agreement
    return facts.SameSpans(found.texts, found.texts - found.differing) if found else None


def _rows(attempt: Attempt, new: Scores, differences: Mapping[str, Difference]) -> tuple[facts.ResultRow, ...]:
    statuses = {gate.entity_type: gate.status for gate in attempt.gates if gate.kind == NON_INFERIORITY}
    old = attempt.incumbent_scores
    return tuple(
        _row(name, _of(new, name), _of(old, name) if old else None, differences.get(name), statuses.get(name))
        for name in (*attempt.types, facts.MICRO, facts.MACRO)
    )


def _row(name: str, new: PRF, old: PRF | None, found: Difference | None, status: str | None) -> facts.ResultRow:
    return facts.ResultRow(
        name=name,
        support=new.support,
        candidate=system_scores(new),
        incumbent=system_scores(old) if old else None,
        delta=new.f1 - old.f1 if old else None,
        low=found.low if found else None,
        high=found.high if found else None,
        lower=found.lower if found else None,
        standard_error=found.standard_error if found else None,
        status=status,
    )


def _of(scores: Scores, name: str) -> PRF:
    return {facts.MICRO: scores.micro, facts.MACRO: scores.macro}.get(name) or scores.per_type[name]


def system_scores(row: PRF) -> facts.SystemScores:
    """The figures of a row, for a report."""
    figures = asdict(row)
    del figures["support"]
    return facts.SystemScores(**figures)
