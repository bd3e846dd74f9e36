"""The steps of one cycle: pull, label weakly, publish votes, retrain, share, evaluate and promote, publish.

Each step takes the Cycle. It does its part and returns counts; where there is no reason to, it raises Skip with why.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Hashable, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any

from loop.label_studio.client import LabelStudioClient
from loop.promotion.compared_models import retire_superseded, superseded
from loop.promotion.holdout import still_waiting
from loop.service.decisions import attempt_promotion
from loop.settings.project import open_tagger
from loop.settings.settings import Settings
from loop.sync.publish import KIND as PUBLISH
from loop.sync.publish import publish, still_stands
from loop.sync.pull import pull
from loop.training.progress import Epoch, ParityError, TrainingError, TrainingProgress, TrainingStep
from loop.training.recovery import UNFINISHED
from loop.training.retrain import retrain
from loop.weak.aggregating import weak_documents
from loop.weak.agreed import agreed_version, agreed_votes
from loop.weak.applying import is_up_to_date, label_weakly, what_sources_stand_on
from loop.weak.muting import mute_harmful
from loop.weak.sources import declared_sources, has_sources
from ner.errors import BundleError
from ner.tagger import Tagger
from store.database.schema import Model, Project
from store.database.session import Store
from store.gold import count_fresh_gold, count_unpublished, has_gold
from store.projects import project_by_id
from store.registry import CANDIDATE, INTERRUPTED, PROMOTED, learned_until, models
from store.registry import FAILED as MODEL_FAILED
from store.runs import handle_hints, last_run, pending_hints

logger = logging.getLogger(__name__)

WHO = "loop run"
_MINUTE = 60.0
# How the store writes down a training that would fail again on the same gold.
_IN_THE_GOLD = tuple(f"{kind.__name__}: " for kind in (TrainingError, ParityError))
StepCounts = Mapping[str, Any]


class Skip(Exception):  # noqa: N818 (it is no error)
    """A step has no reason to run now; the message says why."""


@dataclass
class Cycle:
    """What the steps work on, and what is kept from one cycle to the next.

    tagger: of the model in service. hints_seen: the id of the latest hint that was there when the last pull began.
    asked_on: the files and texts that the sources of weak labels were last asked on.
    """

    store: Store
    client: LabelStudioClient
    settings: Settings
    project_id: int
    tagger: Tagger | None = None
    hints_seen: int = 0
    asked_on: Hashable = None

    def project(self) -> Project:
        """The project as it is now."""
        with self.store.read() as session:
            return project_by_id(session, self.project_id)

    def hints(self) -> list[int]:
        """The ids of the hints that no pull has acted on."""
        with self.store.read() as session:
            linked = project_by_id(session, self.project_id).ls_project_id
            return [] if linked is None else [hint.id for hint in pending_hints(session, linked)]


def pull_step(cycle: Cycle) -> StepCounts:
    """Bring what changed in Label Studio. Hints that came before the pull began are done with."""
    hints = cycle.hints()
    cycle.hints_seen = max(hints, default=cycle.hints_seen)
    counts = pull(cycle.store, cycle.client, cycle.project())
    if hints:
        with cycle.store.transaction() as tx:
            handle_hints(tx, hints)
            tx.commit()
    return asdict(counts) | {"changed": counts.changed}


def label_step(cycle: Cycle) -> StepCounts:
    """Ask the sources of weak labels about new texts, and changed sources about all texts."""
    if not has_sources(cycle.settings):
        raise Skip("no sources of weak labels")
    project = cycle.project()
    state = what_sources_stand_on(cycle.store, cycle.settings, project)
    if state == cycle.asked_on:  # then the sources are not even loaded: a large gazetteer takes a second
        raise Skip("every source was asked about every text")
    declared = declared_sources(cycle.settings, project, cycle.store)
    if is_up_to_date(cycle.store, project, declared):
        cycle.asked_on = state
        for problem in declared.problems:
            logger.warning("label: %s", problem)
        raise Skip("every source was asked about every text")
    done = label_weakly(cycle.store, cycle.settings, project, declared, retry=False)
    cycle.asked_on = state
    for complaint in done.complaints():
        logger.warning("label: %s", complaint)
    failures = sum(one.faults for one in done.sources)
    return {"documents": done.documents, "voted": done.voted, "asked": done.asked, "failures": failures}


def publish_votes_step(cycle: Cycle) -> StepCounts:
    """Send what the votes agree on, as long as no model is in service. A training takes minutes, and comes after."""
    project = cycle.project()
    if project.promoted_version is not None:
        raise Skip("a model is in service")
    with cycle.store.read() as session:
        version = agreed_version(session, project)
    if version is None:
        raise Skip("no source of weak labels votes")
    if _is_published(cycle, version):
        raise Skip("every open task has its prediction")
    votes = agreed_votes(cycle.store, project)
    if votes is None:
        raise Skip("the votes are gone")
    return asdict(publish(cycle.store, cycle.client, project, votes))


def retrain_step(cycle: Cycle) -> StepCounts:
    """Train when enough gold is new since the last training or the labels changed, or once from weak votes alone."""
    last, enough = _last_attempt(cycle), cycle.settings.service.retrain_after
    with cycle.store.read() as session:
        project, gold = project_by_id(session, cycle.project_id), has_gold(session, cycle.project_id)
        fresh = count_fresh_gold(session, cycle.project_id, learned_until(session, last) if last else None)
    first = last is None and not gold and bool(weak_documents(cycle.store, project))
    relabelled = gold and last is not None and _labels_changed(cycle, last)
    if fresh < enough and not first and not relabelled:
        raise Skip(f"{fresh} of {enough} new gold documents")
    muted = mute_harmful(cycle.store, cycle.settings, project) if gold else ()
    weak = partial(weak_documents, cycle.store, project, texts=cycle.settings.weak.texts)
    done = retrain(cycle.store, cycle.settings, project, progress=LoggedTraining(), weak=weak, notices=muted)
    names = ("version", "parent", "kind", "train_documents", "weak_documents", "dev_documents", "epochs", "dev_f1")
    return {name: getattr(done, name) for name in names}


def share_step(cycle: Cycle) -> StepCounts:
    """Send the models of this host that the shared folder lacks: what a failed try left, or what was trained before."""
    library = cycle.settings.library
    if library.shared is None:
        raise Skip("no folder is shared")
    with cycle.store.read() as session:
        finished = [one for one in models(session, cycle.project_id) if one.state not in UNFINISHED]
    library.release(keep={one.path for one in finished if one.state == PROMOTED})  # the last cycle is over
    library.look_again(cycle.project().slug)
    problems: list[BundleError] = []
    sent: list[str] = []
    for one in finished:
        try:
            sent += [one.version] if library.share(one.path, one.files) else []
        except BundleError as error:
            problems.append(error)
    if problems:
        raise problems[-1]
    if not sent:
        raise Skip("the shared folder has every model of this host")
    return {"sent": sent}


def promote_step(cycle: Cycle) -> StepCounts:
    """Judge the newest candidate on the holdout, and let it serve where `promotion.policy` says so."""
    project, waiting = cycle.project(), _waiting(cycle)
    with cycle.store.read() as session:
        if still_waiting(session, project, waiting.version, cycle.settings.promotion):
            raise Skip(f"{waiting.version} waits for more gold in the holdout")
    done = attempt_promotion(cycle.store, cycle.settings, project, waiting.version, who=WHO, stages=_logged)
    attempt = done.attempt
    return {
        "version": attempt.version,
        "promoted": done.promoted,
        "outcome": attempt.outcome,
        "word": attempt.ruling.word if attempt.ruling else None,
        "put_back": attempt.ruling.put_back if attempt.ruling else None,
        "previous": attempt.incumbent,
        "micro_f1": done.attempt.candidate_scores.micro.f1 if done.attempt.candidate_scores else None,
        "reason": attempt.reason,
        "report": (done.report or {}).get("html"),
    }


def publish_step(cycle: Cycle) -> StepCounts:
    """Send predictions when another model is in service, or when tasks are open that have none of it."""
    project = cycle.project()
    version = project.promoted_version
    if version is None:
        raise Skip("no model in service")
    if _is_published(cycle, version):
        raise Skip("every open task has its prediction")
    if cycle.tagger is None or cycle.tagger.version != version:
        fresh = open_tagger(cycle.store, cycle.settings, project)
        if cycle.tagger is not None:
            cycle.tagger.close()
        cycle.tagger = fresh
    return asdict(publish(cycle.store, cycle.client, project, cycle.tagger))


STEPS: tuple[tuple[str, Callable[[Cycle], StepCounts]], ...] = (
    ("pull", pull_step),
    ("label", label_step),
    ("publish votes", publish_votes_step),
    ("retrain", retrain_step),
    ("share", share_step),
    ("evaluate and promote", promote_step),
    ("publish", publish_step),
)


def _logged(stage: str) -> None:
    logger.info("promote: %s", stage)


class LoggedTraining(TrainingProgress):
    """Logs the stages, epochs and notices of a training, and one of its steps a minute."""

    def __init__(self) -> None:
        self._told = time.monotonic()

    def stage(self, name: str) -> None:
        """Something else begins."""
        logger.info("retrain: %s", name)

    def notice(self, message: str) -> None:
        """Something that people should know."""
        logger.warning("retrain: %s", message)

    def step(self, step: TrainingStep) -> None:
        """How far the training is, once a minute: a trial with weak labels tells no epochs, and some are long."""
        now = time.monotonic()
        if now - self._told >= _MINUTE:
            self._told = now
            minutes = round(step.seconds_left / _MINUTE)
            left = f"about {minutes} min" if minutes else "less than a minute"
            logger.info("retrain: step %d of %d, %s left", step.step, step.steps, left)

    def epoch(self, epoch: Epoch) -> None:
        """The loss of a pass over the texts."""
        logger.info("retrain: epoch %d of %d, loss %.4f", epoch.epoch, epoch.epochs, epoch.loss)


def _waiting(cycle: Cycle) -> Model:
    """The newest candidate, which no model that was judged supersedes. Older candidates are retired without a look."""
    with cycle.store.read() as session:
        known = models(session, cycle.project_id)
    if old := superseded(known):
        with cycle.store.transaction() as tx:
            retire_superseded(tx, cycle.project(), WHO)
            tx.commit()
    waiting = [found for found in known if found.state == CANDIDATE and found not in old]
    if not waiting:
        raise Skip("no candidate")
    return waiting[-1]


def _last_attempt(cycle: Cycle) -> Model | None:
    """The latest training that says something about its gold: it made a model, or it found what is wrong with the gold.

    A training that was interrupted, or that failed for want of disk or memory, is tried again on the same gold.
    """
    with cycle.store.read() as session:
        attempts = [model for model in models(session, cycle.project_id) if _says_something(model)]
    return attempts[-1] if attempts else None


def _says_something(attempt: Model) -> bool:
    if attempt.state == MODEL_FAILED:
        return (attempt.error or "").startswith(_IN_THE_GOLD)
    return attempt.state != INTERRUPTED


def _labels_changed(cycle: Cycle, last: Model) -> bool:
    """Whether the project's labels are no longer those of that model, so that the model cannot serve.

    False where the model is gone, or cannot be asked for now.
    """
    try:
        manifest = cycle.settings.library.manifest(last.path, last.files)
    except BundleError:
        return False
    return list(manifest.labels) != list(cycle.project().labels)


def _is_published(cycle: Cycle, version: str) -> bool:
    """Whether the last publishing was of this version and nothing has changed since.

    Each open task still has its prediction, here and in Label Studio.
    """
    with cycle.store.read() as session:
        last = last_run(session, cycle.project_id, PUBLISH)
        if last is None or last.counts.get("version") != version:
            return False
        if count_unpublished(session, cycle.project_id, version):
            return False
    return still_stands(cycle.client, cycle.project(), version, last.counts.get("there", -1))
