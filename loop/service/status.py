"""What a lead asks first: the model in service and its scores, labels per type, open work, and what went wrong."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select
from sqlalchemy.orm import Session

from loop.promotion.power import HoldoutPower, holdout_power
from loop.quality.prelabels import Prelabels, count_prelabels
from loop.settings.model import LOCAL, PromotionSettings, StatusSettings
from loop.sync.publish import KIND as PUBLISH
from store.counts import ProjectCounts, project_counts
from store.database.schema import HOLDOUT, Model, Project, Promotion, Run
from store.database.session import Store
from store.predictions import is_of_votes, reviewed_prelabels
from store.projects import project_by_id
from store.registry import MOVES, PROMOTE, SUPERSEDE, TypeScore, models, promoted, promotions, scores
from store.runs import INTERRUPTED, RUNNING, is_alive, last_run

_LATEST = 5


@dataclass(frozen=True)
class ModelStatus:
    """The model in service; `scores` are of its latest evaluation on the holdout, micro and macro among them.

    f1: the F1 of each of these scores. forced: whether its last promotion was by force.
    """

    version: str
    parent: str | None
    encoder: str
    trained_at: datetime
    scores: tuple[TypeScore, ...]
    f1: Mapping[str, float]
    forced: bool = False


@dataclass(frozen=True)
class ModelSummary:
    """One of the latest models; `f1` is its micro-F1 on the holdout, None when no gold entity there has judged it."""

    version: str
    state: str
    f1: float | None
    trained_at: datetime
    error: str | None


@dataclass(frozen=True)
class LabelStatus:
    """Gold spans of one entity type outside the holdout and in it; `enough`: at least the minimum outside."""

    label: str
    spans: int
    holdout_spans: int
    minimum: int
    enough: bool
    recommended: int


@dataclass(frozen=True)
class DecisionStatus:
    """The last decision, or the last one that moved the pointer. word: how the candidate compares, one of five."""

    action: str
    version: str
    reason: str
    who: str
    at: datetime
    forced: bool = False
    word: str | None = None


@dataclass(frozen=True)
class RunStatus:
    """A command at work on the project, or one that was cut short."""

    kind: str
    state: str
    started_at: datetime
    finished_at: datetime | None
    error: str | None


@dataclass(frozen=True)
class ProjectStatus:
    """A project at one moment. `models` counts its versions by state; `latest` are the last of them, newest first.

    votes: the version of the agreed votes, where these pre-label since no model is in service. engine: what gives the
    logits of `/predict` by the settings of this place, "local" or the address of an inference server.
    """

    project: str
    label_studio: str | None
    model: ModelStatus | None
    votes: str | None
    engine: str
    labels: tuple[LabelStatus, ...]
    counts: ProjectCounts
    models: Mapping[str, int]
    latest: tuple[ModelSummary, ...]
    last_pull: datetime | None
    last_decision: DecisionStatus | None
    last_promotion: DecisionStatus | None
    running: tuple[RunStatus, ...]
    interrupted: tuple[RunStatus, ...]
    holdout: HoldoutPower
    prelabels: Prelabels


def project_status(
    store: Store,
    project_id: int,
    wanted: StatusSettings,
    promotion: PromotionSettings | None = None,
    *,
    annotations: int = 50,
    engine: str = LOCAL,
) -> ProjectStatus:
    """The status of a project, from one snapshot; `wanted`: how many labels of each type are enough.

    annotations: the number of the next ones whose worth to the holdout is told. engine: `backend.engine`.
    """
    with store.read() as session:
        project = project_by_id(session, project_id)
        counts = project_counts(session, project_id)
        decisions = promotions(session, project_id)
        pull = last_run(session, project_id, "pull")
        trained = models(session, project_id)
        where = f"{project.ls_url}/projects/{project.ls_project_id}" if project.ls_project_id is not None else None
        return ProjectStatus(
            project=project.name,
            label_studio=where,
            model=_model(session, promoted(session, project_id), decisions),
            votes=_votes(session, project),
            engine=engine,
            labels=_labels(project.labels, counts, wanted),
            counts=counts,
            models=dict(sorted(Counter(model.state for model in trained).items())),
            latest=tuple(_summary(session, model) for model in reversed(trained[-_LATEST:])),
            last_pull=pull.finished_at if pull else None,
            last_decision=_decision([one for one in decisions if one.action != SUPERSEDE]),
            last_promotion=_decision([one for one in decisions if one.action in MOVES]),
            running=tuple(_run(run) for run in _runs(session, project_id, RUNNING) if is_alive(run)),
            interrupted=_interrupted(session, project_id),
            holdout=holdout_power(session, project, promotion or PromotionSettings(), annotations=annotations),
            prelabels=count_prelabels(reviewed_prelabels(session, project_id)),
        )


def _model(session: Session, model: Model | None, decisions: list[Promotion]) -> ModelStatus | None:
    if model is None:
        return None
    scored = tuple(scores(session, model.version, HOLDOUT))
    put = [one.forced for one in decisions if one.version == model.version and one.action == PROMOTE]
    f1 = {score.entity_type: score.f1 for score in scored}
    at = model.finished_at or model.created_at
    return ModelStatus(model.version, model.parent, model.encoder, at, scored, f1, forced=bool(put and put[-1]))


def _votes(session: Session, project: Project) -> str | None:
    last = None if project.promoted_version is not None else last_run(session, project.id, PUBLISH)
    version = last.counts.get("version") if last is not None else None
    return version if is_of_votes(version) else None


def _summary(session: Session, model: Model) -> ModelSummary:
    judged = (score for score in scores(session, model.version, HOLDOUT) if score.support)
    f1 = next((score.f1 for score in judged if score.entity_type == "micro"), None)
    return ModelSummary(model.version, model.state, f1, model.created_at, model.error)


def _labels(types: list[str], counts: ProjectCounts, wanted: StatusSettings) -> tuple[LabelStatus, ...]:
    """Every type of the config, also those that nobody has labelled yet."""
    spans = {name: (counts.labels.get(name, 0), counts.holdout_labels.get(name, 0)) for name in types}
    return tuple(
        LabelStatus(name, *found, wanted.minimum(name), found[0] >= wanted.minimum(name), wanted.recommended(name))
        for name, found in spans.items()
    )


def _decision(decisions: list[Promotion]) -> DecisionStatus | None:
    if not decisions:
        return None
    last = decisions[-1]
    word = (last.figures.get("ruling") or {}).get("word")
    return DecisionStatus(last.action, last.version, last.reason, last.who, last.at, last.forced, word)


def _interrupted(session: Session, project_id: int) -> tuple[RunStatus, ...]:
    """Runs that were cut short, and nothing of their kind has ended well since; and those whose process is gone."""
    gone = [run for run in _runs(session, project_id, RUNNING) if not is_alive(run)]
    cut = [run for run in _runs(session, project_id, INTERRUPTED) if not _redone(session, project_id, run)]
    return tuple(_run(run) for run in (*cut, *gone))


def _runs(session: Session, project_id: int, state: str) -> list[Run]:
    return list(session.scalars(select(Run).where(Run.project_id == project_id, Run.state == state).order_by(Run.id)))


def _redone(session: Session, project_id: int, run: Run) -> bool:
    done = last_run(session, project_id, run.kind)
    return done is not None and done.id > run.id


def _run(run: Run) -> RunStatus:
    return RunStatus(run.kind, run.state, run.started_at, run.finished_at, run.error)
