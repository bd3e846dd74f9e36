"""The earlier models that a candidate is compared with beside the model in service: the last few, and the anchor.

The best of them on today's holdout may be put back; claims are made against the anchor. Only models whose service
stands count: what a person rolled back is neither put back nor the measure of a claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from loop.promotion.policies import PROVEN_BETTER
from ner.errors import BundleError
from ner.models.model_library import ModelLibrary
from store.registry import MOVES, PROMOTE, ROLLBACK, model, promotions, standing
from store.schema import Model, Project, Promotion

EARLIER = 3  # beside the anchor: asking a model takes a process of its own, and a time that grows with the holdout


@dataclass(frozen=True, slots=True)
class Rivals:
    """asked: the EARLIER models that served last, the last one first, and then the anchor; without the candidate and
    the model in service. anchor: the version of the last model whose promotion was proven, else of the first model that
    served, of those with the project's labels; None where no such model served. by_hand: whether a person put the model
    in service there, by force or by a rollback. first: see `first_serves`."""

    asked: tuple[Model, ...] = ()
    anchor: str | None = None
    by_hand: bool = False
    first: bool = False


def rivals(session: Session, project: Project, models: ModelLibrary, *others: str) -> Rivals:
    """As the decisions so far say. models: where the manifests are. others: versions that are asked anyway."""
    decisions = promotions(session, project.id)
    known = standing(decisions)
    anchor = next((name for name in _anchors(decisions, known) if _fits(session, project, models, name)), None)
    recent = [name for name in dict.fromkeys(reversed(known)) if name not in (*others, anchor)][:EARLIER]
    asked = [*recent, *([anchor] if anchor is not None and anchor not in others else [])]
    last = _last_move(decisions)
    by_hand = last is not None and (last.forced or last.action == ROLLBACK)
    return Rivals(tuple(model(session, name) for name in asked), anchor, by_hand, first_serves(decisions))


def first_serves(decisions: Sequence[Promotion]) -> bool:
    """Whether the model in service is the first one, and neither a comparison nor a person has put it there.

    Every comparison has a difference; decisions before there were policies have no ruling.
    """
    last = _last_move(decisions)
    return last is not None and last.previous is None and not last.forced and "difference" not in last.figures


def _last_move(decisions: Sequence[Promotion]) -> Promotion | None:
    return next((one for one in reversed(decisions) if one.action in MOVES), None)


def _anchors(decisions: Sequence[Promotion], known: Sequence[str]) -> list[str]:
    """Proven models, the last one first, and then all models in the order in which they served."""
    return [*(one.version for one in reversed(decisions) if one.version in known and _was_proven(one)), *known]


def _fits(session: Session, project: Project, models: ModelLibrary, version: str) -> bool:
    """Whether the model has the project's labels. A model whose manifest cannot be read now counts as one that has."""
    found = model(session, version)
    try:
        return list(models.manifest(found.path, found.files).labels) == list(project.labels)
    except BundleError:
        return True


def _was_proven(decision: Promotion) -> bool:
    """Whether the promotion was a claim that holds. Decisions before there were policies rested on their p-value."""
    if decision.action != PROMOTE or decision.forced:
        return False
    if ruling := decision.figures.get("ruling"):
        return bool(ruling["word"] == PROVEN_BETTER)
    p_value, alpha = decision.figures.get("p_value"), decision.figures.get("alpha")
    return p_value is not None and alpha is not None and p_value <= alpha
