"""Which models a promotion compares: the candidate, the model in service, and earlier models beside them.

The candidate is the newest model. A newer model supersedes the candidates before it: a superseded candidate is retired
without a look, as it learned from less gold than the newer model, and a look at it would spend alpha on a model that
nobody would want to serve.

The earlier models are the last few that served, and the anchor. The best of them on today's holdout may be put back;
claims are made against the anchor. Only models whose service stands count: what a person rolled back is neither put
back nor the measure of a claim.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from loop.promotion.policies import PROVEN_BETTER
from ner.errors import BundleError
from ner.models.model_library import ModelLibrary
from store.database.schema import Model, Project, Promotion
from store.database.session import Transaction
from store.errors import RefusedError
from store.registry import (
    CANDIDATE,
    MOVES,
    PROMOTE,
    PROMOTED,
    REJECTED,
    RETIRED,
    ROLLBACK,
    SUPERSEDED,
    model,
    models,
    promotions,
    standing,
    supersede,
)

EARLIER = 3  # beside the anchor: asking a model takes a process of its own, and a time that grows with the holdout
_JUDGED = (PROMOTED, REJECTED, RETIRED)
_BY_FORCE = (CANDIDATE, REJECTED, RETIRED, SUPERSEDED)


def choose(known: Sequence[Model], version: str | None, *, forced: bool) -> Model:
    """The candidate of that version, by default the newest candidate.

    known: a project's models, oldest first. With `forced`, any model whose training ended well may be named.
    Raises RefusedError where there is no candidate, where the version has another state, and where a newer model has
    superseded the version.
    """
    candidates = [found for found in known if found.state == CANDIDATE]
    if version is None:
        if candidates:
            return candidates[-1]
        next_step = "Name the version." if forced else "Train one with `loop retrain`."
        raise RefusedError("a promotion needs a candidate", value="none", next_step=next_step)
    named = next((found for found in known if found.version == version), None)
    if named is None or named.state not in (_BY_FORCE if forced else (CANDIDATE,)):
        raise RefusedError(
            "only a candidate is promoted",
            value=f"{version} is {named.state if named else 'not a model of this project'}",
            next_step=f"Candidates: {', '.join(found.version for found in candidates) or 'none'}.",
        )
    newest = _last(known, (CANDIDATE, *_JUDGED))
    if not forced and newest is not None and newest.number > named.number:
        raise RefusedError(
            "only the newest model is judged",
            value=f"{version} is superseded by {newest.version}",
            next_step=f'Judge the newest candidate with `loop promote`, or add --force --because "..." to {version}.',
        )
    return named


def superseded(known: Sequence[Model], by: Model | None = None) -> list[Model]:
    """The candidates that are older than `by`: by default, older than the last model that was judged.

    A candidate that waits for its look supersedes nothing. A model whose training failed, or whose files were refused,
    supersedes nothing at all.
    """
    newest = by or _last(known, _JUDGED)
    return [found for found in known if newest and found.state == CANDIDATE and found.number < newest.number]


def retire_superseded(tx: Transaction, project: Project, who: str, by: Model | None = None) -> None:
    """Retire what `superseded` names, without a look, and note by which model each is superseded."""
    known = models(tx.session, project.id)
    newer = by or _last(known, _JUDGED)
    for old in superseded(known, newer):
        supersede(tx, project.id, old.version, by=newer.version if newer else "", who=who)


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


def rivals(session: Session, project: Project, library: ModelLibrary, *others: str) -> Rivals:
    """As the decisions so far say. library: where the manifests are. others: versions that are asked anyway."""
    decisions = promotions(session, project.id)
    known = standing(decisions)
    anchor = next((name for name in _anchors(decisions, known) if _fits(session, project, library, name)), None)
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


def _last(known: Sequence[Model], states: Sequence[str]) -> Model | None:
    return next((found for found in reversed(known) if found.state in states), None)


def _last_move(decisions: Sequence[Promotion]) -> Promotion | None:
    return next((one for one in reversed(decisions) if one.action in MOVES), None)


def _anchors(decisions: Sequence[Promotion], known: Sequence[str]) -> list[str]:
    """Proven models, the last one first, and then all models in the order in which they served."""
    return [*(one.version for one in reversed(decisions) if one.version in known and _was_proven(one)), *known]


def _fits(session: Session, project: Project, library: ModelLibrary, version: str) -> bool:
    """Whether the model has the project's labels. A model whose manifest cannot be read now counts as one that has."""
    found = model(session, version)
    try:
        return list(library.manifest(found.path, found.files).labels) == list(project.labels)
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
