"""Where the two models of a report come from, and what it takes to make the attempt again."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from sqlalchemy.orm import Session

from loop.promotion.attempt import Attempt
from loop.settings.training import TrainSettings
from store.errors import NotFoundError
from store.registry import lineage, model
from store.schema import Model

ADAPTER = ("rank", "alpha", "dropout")


def metadata(session: Session, attempt: Attempt) -> dict[str, Any]:
    """The section: both models as the store has them, the command, what trains the candidate again, the machine."""
    candidate = described(session, attempt.version)
    return {
        "candidate": candidate,
        "retraining": _retraining(candidate) if candidate else None,
        "incumbent": described(session, attempt.incumbent) if attempt.incumbent else None,
        "command": attempt.command,
        "judged_seconds": attempt.judged_seconds,
        "machine": dict(attempt.machine),
    }


def described(session: Session, version: str) -> dict[str, Any] | None:
    """A model's origin; None where the store does not know it. `adapter` holds LoRA's settings, `settings` the rest."""
    try:
        found = model(session, version)
    except NotFoundError:
        return None
    adapter = {name: found.settings[name] for name in ADAPTER if name in found.settings}
    return {
        "version": found.version,
        "number": found.number,
        "parent": found.parent,
        "lineage": [one.version for one in lineage(session, version)],
        "encoder": found.encoder,
        "adapter": adapter,
        "settings": {name: value for name, value in found.settings.items() if name not in adapter},
        "data_fingerprint": found.data_fingerprint,
        "seed": found.seed,
        "libraries": dict(found.libraries),
        "files": dict(found.files),
        "training_seconds": _seconds(found),
        "trained_at": found.created_at.isoformat(),
        "kind": found.figures.get("kind"),
        "state": found.state,
    }


def _retraining(candidate: dict[str, Any]) -> dict[str, Any]:
    """What trains the candidate again: the command, and the settings that differ from the defaults, as in loop.toml."""
    said = {**candidate["settings"], **candidate["adapter"]}
    usual = asdict(TrainSettings())
    changed = {name: value for name, value in said.items() if name in usual and value != usual[name]}
    written = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in changed.items())
    return {
        "command": "loop retrain" if candidate["parent"] else "loop retrain --from-scratch",
        "settings": f"[train] {written}" if changed else None,
        "parent": candidate["parent"],
        "data_fingerprint": candidate["data_fingerprint"],
    }


def _seconds(found: Model) -> float | None:
    """How long the training took: what it noted, else from its start to its end."""
    noted = found.figures.get("training")
    if isinstance(noted, dict) and isinstance(noted.get("seconds"), int | float):
        return float(noted["seconds"])
    if found.finished_at is None:
        return None
    return (found.finished_at - found.created_at).total_seconds()
