"""The earlier models that a candidate is compared with beside the model in service: the best one, and the anchor.

Both are read from the decisions in the store. Only models whose service stands count: what a person rolled back is
neither put back nor the measure of a claim.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from loop.promotion.policies import PROVEN_BETTER
from store.registry import PROMOTE, model, promotions, standing
from store.schema import Model, Project, Promotion


@dataclass(frozen=True, slots=True)
class Rivals:
    """best: the model noted as the best one with the last decision. anchor: the last model whose promotion was proven,
    else the first model that served. None where there is no such model."""

    best: Model | None = None
    anchor: Model | None = None

    def beside(self, *others: Model | None) -> list[Model]:
        """Both, each once, without the `others`."""
        known = {found.version for found in others if found is not None}
        named = {found.version: found for found in (self.best, self.anchor) if found is not None}
        return [found for version, found in named.items() if version not in known]


def rivals(session: Session, project: Project) -> Rivals:
    """The best model and the anchor, as the decisions so far say."""
    decisions = promotions(session, project.id)
    known = standing(decisions)
    best, anchor = _best(decisions, known), _anchor(decisions, known)
    return Rivals(*(None if version is None else model(session, version) for version in (best, anchor)))


def _best(decisions: Sequence[Promotion], known: Sequence[str]) -> str | None:
    noted = (decision.figures.get("best") for decision in reversed(decisions))
    return next((version for version in noted if version in known), None)


def _anchor(decisions: Iterable[Promotion], known: Sequence[str]) -> str | None:
    proven = [one.version for one in decisions if one.version in known and _was_proven(one)]
    return [*known[:1], *proven][-1] if known else None


def _was_proven(decision: Promotion) -> bool:
    """Whether the promotion was a claim that holds. Decisions before there were policies rested on their p-value."""
    if decision.action != PROMOTE or decision.forced:
        return False
    if ruling := decision.figures.get("ruling"):
        return bool(ruling["word"] == PROVEN_BETTER)
    p_value, alpha = decision.figures.get("p_value"), decision.figures.get("alpha")
    return p_value is not None and alpha is not None and p_value <= alpha
