"""What is kept of an attempt at a promotion: its figures, its risks in words, and the decision in the store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from loop.evaluation.scores import Scores
from loop.judging.evidence import Measured
from loop.promotion.attempt import FORCED, HELD, INSUFFICIENT, PROMOTED, Attempt
from store import registry
from store.database.schema import HOLDOUT, Model, Project
from store.database.session import Transaction
from store.errors import RefusedError
from store.holdout import Rotated
from store.registry import TypeScore, save_scores
from store.runs import TrackedRun


def type_scores(table: Scores) -> list[TypeScore]:
    """A table as rows of the store."""
    rows = (*table.per_type.items(), ("micro", table.micro), ("macro", table.macro))
    return [
        TypeScore(name, row.precision, row.recall, row.f1, row.support, row.true_positives, row.predicted)
        for name, row in rows
    ]


def figures_of(attempt: Attempt, scored: Mapping[str, Scores], digest: str) -> dict[str, Any]:
    """What the store keeps with the decision; the texts stay where they are."""
    comparison = attempt.comparison
    figures: dict[str, Any] = {
        "holdout": digest,
        "documents": len(attempt.documents),
        "entities": sum(len(one.gold) for one in attempt.documents),
        "against": attempt.against,
        "candidate": scored[attempt.version].as_dict(),
        "gates": [asdict(gate) for gate in attempt.gates],
        "look": asdict(attempt.look) if attempt.look else None,
        "rotation": asdict(attempt.rotation) if attempt.rotation else None,
        "because": attempt.because,
        "ruling": asdict(attempt.ruling) if attempt.ruling else None,
    }
    if attempt.incumbent is not None and attempt.incumbent in scored:
        figures["incumbent"] = scored[attempt.incumbent].as_dict()
    if comparison is not None:
        row = comparison.micro
        figures |= {
            "difference": row.delta,
            "interval": [row.low, row.high],
            "p_value": row.p_value,
            "alpha": attempt.look.alpha if attempt.look else None,
            "standard_error": row.standard_error,
            "types": {one.name: asdict(one) | {"delta": one.delta} for one in comparison.per_type},
        }
    return figures


def rotated(rotation: Rotated | None) -> str:
    """What became of a spent holdout, in a sentence with a space behind it; nothing where none was."""
    if rotation is None:
        return ""
    return (
        f"Holdout {rotation.epoch - 1} was spent: its {rotation.retired:,} documents go into training, and holdout "
        f"{rotation.epoch} was drawn ({rotation.drawn + rotation.carried:,} documents). "
    )


def risks_of(judged: Attempt, measured: Measured, incumbent: Model | None) -> tuple[str, ...]:
    """What a lead should know before relying on the decision."""
    risks = [f"{gate.name}: cannot be said ({gate.note})" for gate in judged.gates if gate.status == INSUFFICIENT]
    if incumbent is None and judged.against is None:
        risks.append("This is the first model, so it was compared with no other model.")
    if judged.look is not None and judged.look.epoch > 1:
        risks.append(
            f"Holdout {judged.look.epoch} was drawn from texts that nobody had labelled by then. The queue had already "
            "taken the texts of which the model was least sure, so this holdout may be easier than texts as they come."
        )
    if judged.ruling is not None and judged.look is None:
        risks.append(
            "The looks of this holdout are spent, so no claim of proof was made. `loop renew-holdout` draws a holdout "
            "that makes claims again."
        )
    if judged.efficiency is not None and judged.efficiency.reference_error:
        risks.append(f"INT8 was not compared with FP32: {judged.efficiency.reference_error}")
    return (*risks, *measured.problems)


def record(
    run: TrackedRun,
    project: Project,
    done: Attempt,
    incumbent: Model | None,
    scored: Mapping[str, Scores],
    figures: Mapping[str, Any],
) -> None:
    """Record scores, pointer and decision in one transaction, which locks the project's row before it checks anything.

    Raises RefusedError, with nothing recorded, when another model than `incumbent` is in service by now; RunHeldError
    when another process took `run` for dead.
    """
    with run.transaction() as tx:
        _check_still(tx, project, incumbent)
        for version, table in scored.items():
            save_scores(tx, version, HOLDOUT, type_scores(table), figures["holdout"])
        why: dict[str, Any] = {"reason": done.reason, "who": done.who, "figures": figures}
        if done.outcome in (PROMOTED, FORCED):
            registry.promote(tx, project.id, done.version, **why, force=done.outcome == FORCED)
        else:
            (registry.hold if done.outcome == HELD else registry.reject)(tx, project.id, done.version, **why)
        if done.ruling is not None and done.ruling.put_back is not None:
            _put_back(tx, project, done, done.ruling.put_back, scored, figures)
        tx.commit()


def _put_back(
    tx: Transaction,
    project: Project,
    done: Attempt,
    best: str,
    scored: Mapping[str, Scores],
    figures: Mapping[str, Any],
) -> None:
    """Put the best earlier model into the place of the model in service, as a decision of its own."""
    new, old = scored[best].micro.f1, scored[done.incumbent or ""].micro.f1
    reason = (
        f"Micro-F1 {new:.4f} against {old:.4f} of {done.incumbent} on {figures['documents']:,} held-out texts: "
        f"{best} is the best earlier model, by half a standard error or more."
    )
    kept = {
        "holdout": figures["holdout"],
        "documents": figures["documents"],
        "against": done.incumbent,
        "candidate": scored[best].as_dict(),
        "difference": new - old,
        "judged": done.version,
    }
    registry.put_back(tx, project.id, best, reason=reason, who=done.who, figures=kept)


def _check_still(tx: Transaction, project: Project, judged_against: Model | None) -> None:
    now = registry.promoted(tx.session, project.id)
    if (now and now.version) != (judged_against and judged_against.version):
        raise RefusedError(
            "a candidate is judged against the model in service",
            value=f"{now.version if now else 'none'} went into service meanwhile",
            next_step="Run `loop promote` again.",
        )
