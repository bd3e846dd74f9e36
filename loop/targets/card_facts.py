"""What a model card tells, gathered from what the store and the reports know already. Nothing is computed anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy.orm import Session

from loop.report import facts
from loop.report.data import project_data
from loop.report.files import find_report, read_report
from loop.report.gather import origin
from loop.settings.settings import Settings
from ner.errors import InputError
from ner.intervals import wilson
from store.database.schema import HOLDOUT, Project
from store.errors import NotFoundError
from store.registry import TypeScore, model, scores

DEVELOPMENT = "development"
# Of a report's limits: that the report quotes texts, which a card never does.
_OF_THE_REPORT_ALONE = ("texts seen",)
Bounds = tuple[float, float]


@dataclass(frozen=True, slots=True)
class CardScore:
    """A row of the scores; 0..1. bounds: 95 % intervals of precision, recall and F1; None where nothing was counted."""

    name: str
    precision: float
    recall: float
    f1: float
    support: int
    bounds: tuple[Bounds | None, Bounds | None, Bounds | None]


@dataclass(frozen=True, slots=True)
class CardFacts:
    """Everything that the card of a model tells, whatever its target.

    scored_on: HOLDOUT, DEVELOPMENT, or None where no scores are known. limits: those of the model's latest report.
    """

    project: str
    types: tuple[str, ...]
    max_length: int
    served_precision: str
    origin: facts.Origin
    data: facts.ProjectData
    scored_on: str | None
    scores: tuple[CardScore, ...]
    limits: tuple[str, ...]


def gather_facts(
    session: Session, settings: Settings, project: Project, version: str, max_length: int, precision: str
) -> CardFacts:
    """The facts of a model that the store knows."""
    known = origin(session, version)
    if known is None:
        raise NotFoundError("a model is in the store", value=version, next_step="`loop status` lists them.")
    scored_on, rows = _scores(session, version)
    types = tuple(project.labels)
    return CardFacts(
        project=project.name,
        types=types,
        max_length=max_length,
        served_precision=precision,
        origin=known,
        data=project_data(session, project.id, version, types, settings.status),
        scored_on=scored_on,
        scores=tuple(_row(one) for one in rows),
        limits=_limits(settings, version),
    )


def _scores(session: Session, version: str) -> tuple[str | None, Sequence[TypeScore]]:
    """The latest scores on the holdout, else those on the development split that the training noted."""
    if held := scores(session, version, HOLDOUT):
        return HOLDOUT, held
    noted = model(session, version).figures.get(DEVELOPMENT)
    if not noted:
        return None, ()
    return DEVELOPMENT, [TypeScore(entity_type=name, **row) for name, row in noted.items()]


def _row(one: TypeScore) -> CardScore:
    """F1 = 2 s / (1 + s), where s is the share of right spans among all that the gold or the model has."""
    every = one.predicted + one.support - one.true_positives
    right = _bounds(one.true_positives, every)
    f1 = (2 * right[0] / (1 + right[0]), 2 * right[1] / (1 + right[1])) if right else None
    bounds = (_bounds(one.true_positives, one.predicted), _bounds(one.true_positives, one.support), f1)
    averaged = one.entity_type == facts.MACRO
    return CardScore(
        one.entity_type, one.precision, one.recall, one.f1, one.support, (None, None, None) if averaged else bounds
    )


def _bounds(part: int, total: int) -> Bounds | None:
    return wilson(part / total, total) if total else None


def _limits(settings: Settings, version: str) -> tuple[str, ...]:
    try:
        report = read_report(find_report(settings.reports, version))
    except (NotFoundError, InputError):
        return ()
    if not isinstance(report, facts.AttemptReport) or report.version != version:
        return ()
    return tuple(one.text for one in report.limits if one.topic not in _OF_THE_REPORT_ALONE)
