"""From an attempt and the store to the report: everything that is told of an attempt is gathered here, once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from sqlalchemy.orm import Session

from loop.evaluation.significance import detectable_difference, documents_needed
from loop.promotion.attempt import FORCED, HELD, PROMOTED, Attempt, Look
from loop.promotion.policies import PROVEN
from loop.quality.prelabels import count_prelabels
from loop.report import facts
from loop.report.data import project_data
from loop.report.history import PastDecision, decisions, is_in_service
from loop.report.limits import limits, risks
from loop.report.next_steps import findings, next_steps
from loop.report.scoring import agreement, errors, quantisation, results
from loop.report.verdict import verdict
from loop.settings.model import PromotionSettings, StatusSettings, TrainSettings
from store.database.schema import Model
from store.database.session import Store
from store.errors import NotFoundError
from store.holdout import looks_of
from store.predictions import reviewed_prelabels
from store.projects import project_by_name
from store.registry import HOLD, PROMOTE, REJECT, lineage, model

_ADAPTER = ("rank", "alpha", "dropout")
_SAME = timedelta(minutes=1)  # a report is written just before its decision is recorded, or just after
_NO_CHANCE = 1e-9
_ACTIONS = {PROMOTED: PROMOTE, FORCED: PROMOTE, HELD: HOLD}


def report_of(
    attempt: Attempt, store: Store, settings: PromotionSettings, wanted: StatusSettings
) -> facts.AttemptReport:
    """The report of one attempt, from one snapshot of the store. The decision may be recorded already, or not yet.

    wanted: how many labels of each type are enough to learn from.
    """
    tested = attempt.ruling is None or attempt.ruling.policy == PROVEN
    scored = results(attempt, settings.delta if tested else 0.0)
    with store.read() as session:
        project = project_by_name(session, attempt.project)
        known = decisions(session, project.id)
        gathered = facts.AttemptReport(
            format=facts.FORMAT,
            kind=facts.ATTEMPT,
            at=attempt.at,
            project=attempt.project,
            version=attempt.version,
            incumbent=attempt.incumbent,
            outcome=attempt.outcome,
            who=attempt.who,
            reason=attempt.reason,
            because=attempt.because,
            gates=attempt.gates,
            contract=attempt.contract,
            metadata=_metadata(session, attempt),
            data=project_data(session, project.id, attempt.version, attempt.types, wanted),
            results=scored,
            errors=errors(attempt, quoting=settings.texts),
            efficiency=attempt.efficiency,
            quantisation=quantisation(attempt),
            agreement=agreement(attempt),
            robustness=attempt.robustness,
            ledger=_ledger(session, project.id, attempt, known),
            history=_history(attempt, known, scored),
            gold_check=attempt.gold_check,
            prelabels=count_prelabels(reviewed_prelabels(session, project.id)),
            power=_power(scored, attempt.look, settings.wanted),
            ruling=attempt.ruling,
        )
    return replace(
        gathered,
        verdict=verdict(gathered),
        findings=findings(gathered),
        risks=risks(gathered, attempt.risks),
        limits=limits(gathered),
        next_steps=next_steps(gathered),
    )


def origin(session: Session, version: str) -> facts.Origin | None:
    """Where a model comes from; None where the store does not know it."""
    try:
        found = model(session, version)
    except NotFoundError:
        return None
    return facts.Origin(
        version=found.version,
        number=found.number,
        parent=found.parent,
        lineage=tuple(one.version for one in lineage(session, version)),
        encoder=found.encoder,
        adapter={name: found.settings[name] for name in _ADAPTER if name in found.settings},
        settings={name: value for name, value in found.settings.items() if name not in _ADAPTER},
        data_fingerprint=found.data_fingerprint,
        seed=found.seed,
        libraries=dict(found.libraries),
        files=dict(found.files),
        training_seconds=_seconds(found),
        trained_at=found.finished_at or found.created_at,
        kind=found.figures.get("kind"),
        state=found.state,
        exports=_exports(found),
        training={name: value for name, value in _training(found).items() if name != "seconds"},
    )


def forced_promotions(known: Sequence[PastDecision]) -> tuple[facts.ForcedPromotion, ...]:
    """Every promotion by force so far: which, when, by whom and why."""
    return tuple(
        facts.ForcedPromotion(one.version, one.at, one.who, one.because or one.reason) for one in known if one.forced
    )


def _metadata(session: Session, attempt: Attempt) -> facts.Metadata:
    candidate = origin(session, attempt.version)
    return facts.Metadata(
        candidate=candidate,
        retraining=_retraining(candidate) if candidate else None,
        incumbent=origin(session, attempt.incumbent) if attempt.incumbent else None,
        command=attempt.command,
        judged_seconds=attempt.judged_seconds,
        machine=attempt.machine,
    )


def _retraining(candidate: facts.Origin) -> facts.Retraining:
    usual = TrainSettings().model_dump()
    said = {**candidate.settings, **candidate.adapter}
    changed = {name: value for name, value in said.items() if name in usual and value != usual[name]}
    written = ", ".join(f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in changed.items())
    command = "loop retrain" if candidate.parent else "loop retrain --from-scratch"
    return facts.Retraining(
        command, f"[train] {written}" if changed else None, candidate.parent, candidate.data_fingerprint
    )


def _seconds(found: Model) -> float | None:
    """How long the training took: what the training noted, else the time from its start to its end."""
    noted = _training(found).get("seconds")
    if isinstance(noted, int | float):
        return float(noted)
    return None if found.finished_at is None else (found.finished_at - found.created_at).total_seconds()


def _training(found: Model) -> Mapping[str, object]:
    """What the training noted; nothing for models that an earlier version trained."""
    noted = found.figures.get("training")
    return noted if isinstance(noted, dict) else {}


def _exports(found: Model) -> tuple[facts.ExportTry, ...]:
    """What the export noted; nothing for models that an earlier version exported."""
    tries = found.figures.get("parity", {}).get("attempts", ())
    return tuple(facts.ExportTry(one["precision"], one["f1"], one["texts"]) for one in tries)


def _ledger(session: Session, project_id: int, attempt: Attempt, known: Sequence[PastDecision]) -> facts.Ledger:
    look = attempt.look
    spent = looks_of(session, project_id, look.epoch) if look else []
    forced = forced_promotions(known)
    if attempt.outcome == FORCED and _own(attempt, known) is None:
        forced += (facts.ForcedPromotion(attempt.version, attempt.at, attempt.who, attempt.because or attempt.reason),)
    return facts.Ledger(
        look=look,
        alpha_left=max(0.0, look.total - look.spent) if look else None,
        looks_left=max(0, look.looks - max(look.used, look.number)) if look else None,
        spent=tuple(facts.SpentLook(one.number, one.model, one.purpose, one.alpha, one.at) for one in spent),
        rotation=attempt.rotation,
        forced=forced,
    )


def _history(attempt: Attempt, known: Sequence[PastDecision], scored: facts.Results) -> tuple[facts.HistoryPoint, ...]:
    """Every version that went into service, oldest first, and this attempt at the end."""
    own, micro = _own(attempt, known), scored.micro
    before = [
        facts.HistoryPoint(one.version, one.at, one.action, one.f1, one.epoch, False, one.forced)
        for one in known
        if is_in_service(one) and one is not own
    ]
    this = facts.HistoryPoint(
        version=attempt.version,
        at=attempt.at,
        action=_ACTIONS.get(attempt.outcome, REJECT),
        f1=micro.candidate.f1 if micro and micro.support else None,
        epoch=attempt.look.epoch if attempt.look else None,
        this=True,
        forced=attempt.outcome == FORCED,
    )
    return (*before, this)


def _own(attempt: Attempt, known: Sequence[PastDecision]) -> PastDecision | None:
    """The record of this very attempt, where the store has it already."""
    last = next((one for one in reversed(known) if one.version == attempt.version), None)
    return last if last is not None and last.at >= attempt.at - _SAME else None


def _power(scored: facts.Results, look: Look | None, wanted: float) -> facts.Power | None:
    """The smallest difference that the holdout finds in four cases of five, and what `wanted` needs."""
    micro = scored.micro
    if micro is None or micro.standard_error is None or look is None or not 0 < look.alpha < 1:
        return None
    detectable = detectable_difference(micro.standard_error, look.alpha)
    needed = documents_needed(scored.groups, detectable, wanted) if detectable > _NO_CHANCE else None
    return facts.Power(look.alpha, max(0.0, detectable), wanted, scored.groups, needed)
