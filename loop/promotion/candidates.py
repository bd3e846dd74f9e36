"""Which candidate is judged: the newest model. A newer model supersedes the candidates before it.

A superseded candidate is retired without a look: it learned from less gold than the newer model, and a look at it would
spend alpha on a model that nobody would want to serve.
"""

from __future__ import annotations

from collections.abc import Sequence

from store.errors import RefusedError
from store.registry import (
    CANDIDATE,
    PROMOTED,
    REJECTED,
    RETIRED,
    SUPERSEDED,
    models,
    supersede,
)
from store.schema import Model, Project
from store.session import Transaction

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


def _last(known: Sequence[Model], states: Sequence[str]) -> Model | None:
    return next((found for found in reversed(known) if found.state in states), None)
