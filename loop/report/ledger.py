"""What was spent on the holdout that judged, and what was decided before: the ledger and the history of a report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from datetime import timedelta
from typing import Any

from sqlalchemy.orm import Session

from loop.promotion.attempt import FORCED, PROMOTED, Attempt
from loop.report.history import PastDecision, is_in_service
from store.holdout import looks_of

# A report may be written just before its decision is recorded, or just after.
_SAME = timedelta(minutes=1)


def ledger(session: Session, project_id: int, attempt: Attempt, known: Sequence[PastDecision]) -> dict[str, Any]:
    """The section: the look, alpha left, every look spent on this holdout, its rotation, and promotions by force."""
    look = attempt.look
    spent = looks_of(session, project_id, look.epoch) if look else []
    return {
        "look": asdict(look) if look else None,
        "alpha_left": max(0.0, look.total - look.spent) if look else None,
        "looks_left": max(0, look.looks - max(look.used, look.number)) if look else None,
        "spent": [
            {"number": one.number, "version": one.model, "purpose": one.purpose, "alpha": one.alpha, "at": _at(one.at)}
            for one in spent
        ],
        "rotation": asdict(attempt.rotation) if attempt.rotation else None,
        "forced": forced(known) + ([_this(attempt)] if attempt.outcome == FORCED and not own(attempt, known) else []),
    }


def forced(known: Sequence[PastDecision]) -> list[dict[str, Any]]:
    """Every promotion by force so far: which, when, by whom and why."""
    return [
        {"version": one.version, "at": _at(one.at), "who": one.who, "reason": one.because or one.reason}
        for one in known
        if one.forced
    ]


def history(attempt: Attempt, known: Sequence[PastDecision], f1: float | None) -> list[dict[str, Any]]:
    """Micro-F1 of each version that went into service, oldest first, and this attempt's at the end.

    Each was measured on the holdout of its time: where `epoch` changes, so did the documents.
    """
    recorded = own(attempt, known)
    rows = [
        _point(one.version, one.at, one.action, one.f1, one.epoch) | {"forced": one.forced}
        for one in known
        if is_in_service(one) and one is not recorded
    ]
    epoch = attempt.look.epoch if attempt.look else None
    action = "promote" if attempt.outcome in (PROMOTED, FORCED) else "reject"
    this = {"this": True, "forced": attempt.outcome == FORCED}
    return [*rows, _point(attempt.version, attempt.at, action, f1, epoch) | this]


def own(attempt: Attempt, known: Sequence[PastDecision]) -> PastDecision | None:
    """The record of this very attempt, where the store has it already."""
    last = next((one for one in reversed(known) if one.version == attempt.version), None)
    return last if last is not None and last.at >= attempt.at - _SAME else None


def _this(attempt: Attempt) -> dict[str, Any]:
    reason = attempt.because or attempt.reason
    return {"version": attempt.version, "at": _at(attempt.at), "who": attempt.who, "reason": reason}


def _point(version: str, at: Any, action: str, f1: float | None, epoch: int | None) -> dict[str, Any]:
    return {"version": version, "at": _at(at), "action": action, "f1": f1, "epoch": epoch, "this": False}


def _at(at: Any) -> str:
    return str(at.isoformat())
