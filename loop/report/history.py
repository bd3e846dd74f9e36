"""Every decision of a project, read back from the store: what was decided, on which figures, and by whom."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy.orm import Session

from loop.promotion.attempt import FAIL, INSUFFICIENT, NOT_MEASURED
from store.database.schema import HOLDOUT, MICRO, Promotion
from store.registry import (
    DEFER,
    HOLD,
    MOVES,
    PROMOTE,
    PUT_BACK,
    REJECT,
    ROLLBACK,
    SUPERSEDE,
    promotions,
    scores,
)

DECISIONS = {
    PROMOTE: "promoted",
    REJECT: "rejected",
    HOLD: "held",
    DEFER: "put off",
    SUPERSEDE: "superseded",
    PUT_BACK: "put back",
    ROLLBACK: "rolled back to",
}


@dataclass(frozen=True, slots=True)
class PastDecision:
    """One decision. f1: micro-F1 (0..1) of `version`, measured for the decision, else last measured on the holdout.

    difference: candidate minus the model that was in service then. p_value: of the claim that the candidate is better;
    None where no claim was made. epoch: number of the holdout; look: number of the look at this holdout. word: one of
    five for how the candidate compares, None where no policy decided. because: why the promotion was forced. failed,
    unjudged: names of gates that blocked, and of gates for which there was too little gold.
    """

    at: datetime
    version: str
    previous: str | None
    action: str
    forced: bool
    who: str
    reason: str
    f1: float | None
    difference: float | None
    p_value: float | None
    alpha: float | None
    epoch: int | None
    look: int | None
    because: str | None = None
    word: str | None = None
    failed: tuple[str, ...] = ()
    unjudged: tuple[str, ...] = ()

    @property
    def decided(self) -> str:
        """What was decided, in words."""
        return decided(self.action, forced=self.forced)


def decided(action: str, *, forced: bool) -> str:
    """What was decided, in the words of `loop status`."""
    if forced and action == PROMOTE:
        return "promoted by force"
    return DECISIONS.get(action, action)


def decisions(session: Session, project_id: int) -> list[PastDecision]:
    """All decisions, oldest first. What was not measured is None."""
    return [_read(session, one) for one in promotions(session, project_id)]


def is_in_service(decision: PastDecision) -> bool:
    """Whether the decision put its version into service."""
    return decision.action in MOVES


def _read(session: Session, decision: Promotion) -> PastDecision:
    figures = decision.figures
    f1 = _number(figures, "candidate", MICRO, "f1")
    return PastDecision(
        at=decision.at,
        version=decision.version,
        previous=decision.previous,
        action=decision.action,
        forced=decision.forced,
        who=decision.who,
        reason=decision.reason,
        f1=_last_f1(session, decision.version) if f1 is None else f1,
        difference=_number(figures, "difference"),
        p_value=_number(figures, *(("ruling",) if figures.get("ruling") else ()), "p_value"),
        alpha=_number(figures, "look", "alpha"),
        epoch=_whole(_number(figures, "look", "epoch") or _number(figures, "epoch")),
        look=_whole(_number(figures, "look", "number")),
        because=figures.get("because") or None,
        word=(figures.get("ruling") or {}).get("word"),
        failed=_gates(figures, FAIL, NOT_MEASURED),
        unjudged=_gates(figures, INSUFFICIENT),
    )


def _gates(figures: Mapping[str, Any], *statuses: str) -> tuple[str, ...]:
    return tuple(gate["name"] for gate in figures.get("gates") or () if gate["status"] in statuses)


def _last_f1(session: Session, version: str) -> float | None:
    """An evaluation without a single gold entity says nothing, and is passed over."""
    rows = scores(session, version, HOLDOUT)
    return next((row.f1 for row in rows if row.entity_type == MICRO and row.support), None)


def _number(figures: Any, *path: str) -> float | None:
    for name in path:
        figures = figures.get(name) if isinstance(figures, Mapping) else None
    return float(figures) if isinstance(figures, int | float) and not isinstance(figures, bool) else None


def _whole(value: float | None) -> int | None:
    return None if value is None else int(value)
