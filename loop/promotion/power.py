"""What the holdout asks of a candidate today, and how much the next annotations lower that."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from loop.evaluation.regret import needed_difference
from loop.evaluation.significance import alpha_of, detectable_difference
from loop.promotion.attempt import Look
from loop.promotion.compared_models import first_serves
from loop.promotion.holdout import held_out_gold, known_spans, limits_of, next_look
from loop.promotion.policies import BOUNDED, PROVEN
from loop.settings.model import PromotionSettings
from store.counts import open_documents, seconds_an_annotation
from store.database.schema import HOLDOUT, Project
from store.registry import promotions, served

_DIFFERING = 0.25  # of the documents, between a model and the next one: 18 to 37 % were measured


@dataclass(frozen=True, slots=True)
class HoldoutGrowth:
    """What the next annotations bring, if they are spread over the open texts as they come.

    annotations: so many, `held_out` of them on texts of the holdout. seconds: that people take for all of them, by the
    median annotation so far; None where no time is known. needed, detectable: as in `HoldoutPower`, afterwards.
    """

    annotations: int
    held_out: int
    seconds: float | None
    needed: float | None
    detectable: float


@dataclass(frozen=True, slots=True)
class HoldoutPower:
    """What a holdout asks of a candidate today, and what the holdout can prove. F1 and its differences are 0..1.

    epoch, spent and looks: which holdout, and its looks. alpha: of the next look, 0 when there is none. documents and
    entities: texts with gold, and their entities. needed: the difference in micro-F1 that `policy` asks of a candidate;
    None where the policy asks for a p-value. detectable: the smallest true difference that the next claim finds in four
    cases of five. Both are None while nothing was measured on a holdout, and `estimated` from one model alone while no
    two models were compared. growth: None where they are None, or where no text of the holdout is open.
    """

    epoch: int
    spent: int
    looks: int
    schedule: str
    total: float
    alpha: float
    documents: int
    entities: int
    policy: str
    needed: float | None = None
    detectable: float | None = None
    estimated: bool = False
    open: int = 0
    growth: HoldoutGrowth | None = None


def holdout_power(
    session: Session, project: Project, settings: PromotionSettings, *, annotations: int = 50
) -> HoldoutPower:
    """What the current holdout asks, by the standard error of the last comparison; annotations: the next so many."""
    look = next_look(session, project, settings)
    documents = held_out_gold(session, project)
    still_open = open_documents(session, project.id)
    measured = _last_error(session, project, look.epoch) if documents else None
    needed = detectable = growth = None
    if measured is not None:
        # A first model is compared with the votes, by the rule for the replacement of a first model.
        decisions = promotions(session, project.id)
        allowed = limits_of(settings).loss(first=not served(decisions) or first_serves(decisions))
        error = measured.error * math.sqrt(measured.documents / len(documents))
        needed, detectable = _asked(error, look, allowed, settings)
        pace = seconds_an_annotation(session, project.id)
        growth = _growth(error, len(documents), still_open, annotations, pace, look, allowed, settings)
    return HoldoutPower(
        epoch=look.epoch,
        spent=min(look.number - 1, look.looks),
        looks=look.looks,
        schedule=look.schedule,
        total=look.total,
        alpha=look.alpha,
        documents=len(documents),
        entities=sum(len(known_spans(item, project.labels)) for item in documents),
        policy=settings.policy,
        needed=needed,
        detectable=detectable,
        estimated=measured is not None and measured.estimated,
        open=still_open.get(HOLDOUT, 0),
        growth=growth,
    )


def _asked(error: float, look: Look, average_loss: float, settings: PromotionSettings) -> tuple[float | None, float]:
    """(the difference that the policy asks for, the difference that a claim finds) at a standard error.

    average_loss: the F1 that a wrong decision of "bounded" may cost on average.
    """
    alpha = look.alpha or alpha_of(settings.spending, settings.alpha, settings.looks, 1)
    detectable = detectable_difference(error, alpha)
    if settings.policy == PROVEN:
        return None, detectable
    return (needed_difference(error, average_loss) if settings.policy == BOUNDED else 0.0), detectable


def _growth(
    error: float,
    documents: int,
    still_open: Mapping[str, int],
    annotations: int,
    pace: float | None,
    look: Look,
    average_loss: float,
    settings: PromotionSettings,
) -> HoldoutGrowth | None:
    total, held = sum(still_open.values()), still_open.get(HOLDOUT, 0)
    more = min(annotations, total)
    held_out = round(more * held / total) if total else 0
    if not held_out:
        return None
    needed, detectable = _asked(error * math.sqrt(documents / (documents + held_out)), look, average_loss, settings)
    return HoldoutGrowth(more, held_out, None if pace is None else pace * more, needed, detectable)


@dataclass(frozen=True, slots=True)
class _Error:
    """The standard error of a difference in F1, on so many texts."""

    error: float
    documents: int
    estimated: bool = False


def _last_error(session: Session, project: Project, epoch: int) -> _Error | None:
    """The standard error of the last comparison; one on this holdout comes first.

    While no two models were compared, the difference to a model that answers otherwise on a quarter of the documents is
    estimated. The standard error of a difference between two models that have nothing in common is the root of 2 times
    that of one model.
    """
    known = [row.figures for row in promotions(session, project.id)]
    compared = [figures for figures in known if figures.get("ruling") or figures.get("standard_error")]
    here = [figures for figures in compared if _epoch_of(figures) == epoch]
    if chosen := (here or compared)[-1:]:
        return _Error(_of_the_policy(chosen[0]), chosen[0]["documents"])
    alone = [figures for figures in known if figures.get("standard_error_alone")][-1:]
    if not alone:
        return None
    error = alone[0]["standard_error_alone"] * math.sqrt(2 * _DIFFERING)
    return _Error(error, alone[0]["documents"], estimated=True)


def _epoch_of(figures: Mapping[str, Any]) -> int | None:
    """The holdout of a decision. Decisions before there were policies name the holdout in their look alone."""
    found: int | None = figures.get("epoch") or (figures.get("look") or {}).get("epoch")
    return found


def _of_the_policy(figures: Mapping[str, Any]) -> float:
    """By the policy's own estimate; decisions before there were policies have that of the bootstrap alone."""
    ruling = figures.get("ruling")
    return float(ruling["served"]["error"] if ruling else figures["standard_error"])
