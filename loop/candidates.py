"""Which model an attempt at a promotion is about."""

from __future__ import annotations

from collections.abc import Sequence

from store.errors import RefusedError
from store.registry import CANDIDATE, REJECTED, RETIRED
from store.schema import Model


def choose(known: Sequence[Model], version: str | None, *, forced: bool) -> Model:
    """The candidate of that version, else the newest; by force a rejected or retired model, too.

    Raises RefusedError when there is none, or the version is of another state.
    """
    states = (CANDIDATE, REJECTED, RETIRED) if forced else (CANDIDATE,)
    candidates = [found for found in known if found.state == CANDIDATE]
    if version is not None:
        named = [found for found in known if found.version == version]
        if named and named[0].state in states:
            return named[0]
        raise RefusedError(
            "only a candidate is promoted",
            value=f"{version} is {named[0].state if named else 'not a model of this project'}",
            next_step=f"Candidates: {', '.join(found.version for found in candidates) or 'none'}.",
        )
    if not candidates:
        next_step = "Name the version." if forced else "Train one with `loop retrain`."
        raise RefusedError("a promotion needs a candidate", value="none", next_step=next_step)
    return candidates[-1]
