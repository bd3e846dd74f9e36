"""What follows the decision on a promotion or a rollback: the report, and MLflow where that is asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from loop.promotion.attempt import Attempt
from loop.promotion.promote import PromotionResult, RefusedCandidateError, promote_candidate
from loop.promotion.rollback import RolledBack
from loop.report.facts import Report
from loop.report.files import ReportFiles, keep_report
from loop.report.gather import report_of
from loop.report.mlflow import log_attempt, require_mlflow
from loop.report.rollback import report_of_rollback
from loop.settings.settings import Settings
from loop.training.progress import Stages, silent
from store.database.schema import Project
from store.database.session import Store
from store.registry import model

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, eq=False)
class Attempted:
    """An attempt at a promotion, the files of its report by kind (None where none could be written), and notices."""

    result: PromotionResult
    report: Mapping[str, str] | None
    notices: tuple[str, ...]

    @property
    def attempt(self) -> Attempt:
        """What was looked at, and what was decided."""
        return self.result.attempt

    @property
    def promoted(self) -> bool:
        """Whether the candidate is in service now."""
        return self.result.promoted


def attempt_promotion(
    store: Store,
    settings: Settings,
    project: Project,
    version: str | None = None,
    *,
    who: str,
    force_because: str | None = None,
    stages: Stages = silent,
) -> Attempted:
    """Judge a candidate, decide, and write the report. The decision stands even where the report cannot be written.

    Raises what `promote_candidate` raises.
    """
    threads = settings.backend.threads
    if settings.mlflow.tracking_uri:
        require_mlflow()  # now, while nothing is decided
    try:
        result = promote_candidate(
            store, settings, project, version, who=who, threads=threads, force_because=force_because, stages=stages
        )
    except RefusedCandidateError as error:
        _follow_up(store, settings, error.attempt)
        raise
    stages("writing the report")
    report, notices = _follow_up(store, settings, result.attempt)
    return Attempted(result, report, notices)


def _follow_up(store: Store, settings: Settings, attempt: Attempt) -> tuple[Mapping[str, str] | None, tuple[str, ...]]:
    """Write the report, and log the attempt to MLflow where asked for: (the report's files by kind, notices)."""
    written, problem = _kept(lambda: report_of(attempt, store, settings.promotion, settings.status), settings.reports)
    notices = [problem]
    if settings.mlflow.tracking_uri and written is not None:
        with store.read() as session:
            bundle = settings.model_dir / model(session, attempt.version).path
        notices.append(log_attempt(settings.mlflow, attempt, written.folder, bundle))
    return paths(written) if written else None, tuple(notice for notice in notices if notice)


def report_on_rollback(
    store: Store, settings: Settings, project: Project, done: RolledBack
) -> tuple[Mapping[str, str] | None, str | None]:
    """Write the report: (its files by kind, None), or (None, why it could not be written). The rollback stands."""
    written, problem = _kept(lambda: report_of_rollback(project.name, done, store), settings.reports)
    return (paths(written), None) if written is not None else (None, problem)


def paths(files: ReportFiles) -> dict[str, str]:
    """A report's files by kind."""
    return {"html": str(files.html), "markdown": str(files.markdown), "json": str(files.json)}


def _kept(make: Callable[[], Report], reports: Path) -> tuple[ReportFiles | None, str | None]:
    try:
        return keep_report(make(), reports), None
    except Exception as error:  # the decision is made: no report is worth a failure now
        logger.debug("the report", exc_info=True)
        problem = f"The decision stands, but its report could not be written: {error}"
        logger.warning("%s", problem)
        return None, problem
