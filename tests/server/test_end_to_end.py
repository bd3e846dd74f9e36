"""The whole loop on the real server with real training, from texts to a better model's predictions.

One test, since each part stands on the one before: cold start, annotation, pull, retraining, promotion, publishing,
and a server that is stopped in the middle of a pull.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from label_studio_sdk import LabelStudio
from label_studio_sdk.label_interface import LabelInterface
from sqlalchemy import func, select

from loop.label_studio.client import LabelStudioClient, LabelStudioError
from loop.label_studio.simulated_annotator import GoldBook, simulate
from loop.quality.prelabels import count_prelabels
from loop.service.cycle import Cycle
from loop.service.service import DONE, CycleReport, Service
from loop.settings.settings import Settings
from loop.settings.template import config_of_labels, scaffold
from loop.sync.connect import link_project
from loop.sync.pull import pull
from ner.documents import LabelledText
from store.database.schema import AnnotationVersion
from store.database.session import Store, open_store
from store.documents import open_documents, stored_documents
from store.gold import gold as gold_documents
from store.predictions import predictions, ranks, reviewed_prelabels
from store.projects import project_by_name
from store.registry import promoted, promotions, trained_on
from tests.loop import tiny
from tests.server.linked import StopsAfter
from tests.server.real_label_studio import RealLabelStudio

TASKS, SUBMITTED, MORE = 300, 150, 20
NAME = "end to end"
CONFIG = f"""
[project]
name = "{NAME}"
[weak]
functions = "labeling_functions.py"
training = "never"
[service]
retrain_after = 50
[promotion]
first_model = "gates"
reference = false
robustness = 0
"""
# Right when they vote, and blind to one word of four. The others are sure to be among the tasks that are annotated.
FUNCTIONS = r"""
from weak_labeling.functions import labeling_function
from weak_labeling.heuristics import regex

systems = labeling_function(name="systems")(regex(r"\b(?:Windows|Ubuntu|Debian)\b", "OS"))
programs = labeling_function(name="programs")(regex(r"\b(?:Outlook|Excel|Firefox)\b", "SOFTWARE"))
"""


@pytest.fixture(scope="module")
def gold() -> list[LabelledText]:
    return [LabelledText(f"d{n}", text, spans) for n, (text, spans) in enumerate(tiny.corpus(TASKS))]


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A project folder whose encoder is so small that it learns in seconds."""
    home = tmp_path / "project"
    scaffold(home, NAME, config_of_labels(",".join(tiny.LABELS)), salt="salt")
    (home / "loop.toml").write_text(CONFIG, "utf-8")
    (home / "labeling_functions.py").write_text(FUNCTIONS, "utf-8")
    return Settings.load(home, {}).model_copy(update={"train": tiny.train_settings(tiny.encoder(tmp_path / "encoder"))})


@pytest.fixture
def store(settings: Settings) -> Iterator[Store]:
    store = open_store(settings.store_url)
    yield store
    store.close()


@pytest.fixture
def cycle(store: Store, settings: Settings, client: LabelStudioClient, gold: list[LabelledText]) -> Cycle:
    with store.read() as session:
        project_id = project_by_name(session, NAME).id
    linked = link_project(store, client, project_id)
    client.import_tasks(linked.ls_project_id, [{"data": {"text": item.text, "id": item.id}} for item in gold])
    return Cycle(store, client, settings, project_id)


def ls_id(cycle: Cycle) -> int:
    return int(cycle.project().ls_project_id or 0)


def offered(cycle: Cycle) -> dict[str, Any]:
    task = cycle.client.next_task(ls_id(cycle))
    assert task is not None
    return task


def assert_done(report: CycleReport, *names: str) -> None:
    assert [(step.name, step.detail) for step in report.failed] == []
    assert all(report.step(name).outcome == DONE for name in names)


def annotation_states(cycle: Cycle) -> list[tuple[str, int, bool]]:
    """(id in Label Studio, number of versions, deleted) of every annotation in the store."""
    version = AnnotationVersion
    query = select(version.source_id, func.count(), func.max(version.deleted)).group_by(version.source_id)
    with cycle.store.read() as session:
        return [(str(name), int(count), bool(gone)) for name, count, gone in session.execute(query)]


@pytest.mark.training
@pytest.mark.timeout(1800)  # 170 annotations at 1 to 10 a second
def test_the_loop_closes(cycle: Cycle, gold: list[LabelledText], label_studio: RealLabelStudio) -> None:
    first = _cold_start(cycle)
    ids = _annotate(cycle, gold, SUBMITTED)
    second = _learns(cycle, first, ids)
    _offers_the_least_confident(cycle, second)
    _is_seen_by_the_sdk(LabelStudio(base_url=label_studio.url, api_key=label_studio.first.token), ls_id(cycle), second)
    _survives_a_restart(cycle, gold, label_studio, ids)


def _cold_start(cycle: Cycle) -> str:
    """No gold yet: a first model from the functions' votes, its predictions on every task."""
    report = Service(cycle).run_cycle()
    assert_done(report, "pull", "label", "publish votes", "retrain", "evaluate and promote", "publish")
    assert report.step("pull").counts["new"] == TASKS
    votes = report.step("publish votes").counts
    assert votes["created"] == TASKS
    assert cycle.client.model_versions(ls_id(cycle))[votes["version"]] == TASKS
    assert report.step("retrain").counts["kind"] == "weak"
    assert report.step("publish").counts["created"] == TASKS
    version = str(report.step("retrain").counts["version"])
    assert {shown["model_version"] for shown in offered(cycle)["predictions"]} == {version}
    return version


def _annotate(cycle: Cycle, gold: list[LabelledText], count: int) -> list[str]:
    """The simulated annotator takes what the queue offers; the ids of its annotations."""
    submitted: list[str] = []

    def note(stored: dict[str, Any]) -> None:
        submitted.append(str(stored["id"]))

    done = simulate([cycle.client], ls_id(cycle), GoldBook(gold), count=count, submitted=note)
    assert (done.submitted, done.skipped) == (count, 0)
    return submitted


def _learns(cycle: Cycle, first: str, ids: list[str]) -> str:
    """The annotations are pulled, trained on, and make a better model, whose predictions replace the old ones."""
    report = Service(cycle).run_cycle()
    assert_done(report, "pull", "retrain", "evaluate and promote", "publish")
    assert sorted(name for name, _, _ in annotation_states(cycle)) == sorted(ids)
    assert report.step("retrain").counts["kind"] == "gold"
    judged = report.step("evaluate and promote").counts
    assert (judged["promoted"], judged["previous"]) == (True, first), judged["reason"]
    version = str(judged["version"])
    with cycle.store.read() as session:
        serving = promoted(session, cycle.project_id)
        assert serving is not None
        assert (serving.version, serving.parent) == (version, None)  # all of its gold is new
        held = {item.document_id for item in stored_documents(session, cycle.project_id, ["holdout"])}
        seen = {item.document_id for item in trained_on(session, version)}
        assert [decision.action for decision in promotions(session, cycle.project_id)] == ["promote", "promote"]
    assert len(held) > 30
    assert not held & seen
    assert 0 < len(seen) < SUBMITTED
    _tells_what_became_of_the_pre_labels(cycle, first)
    assert report.step("publish").counts["created"] == TASKS - SUBMITTED
    assert cycle.client.project(ls_id(cycle))["model_version"] == version
    return version


def _tells_what_became_of_the_pre_labels(cycle: Cycle, version: str) -> None:
    """Every annotation counts that was begun from a pre-label of the first version, and none of a held-out text."""
    with cycle.store.read() as session:
        found = count_prelabels(reviewed_prelabels(session, cycle.project_id))
        annotated = gold_documents(session, cycle.project_id, ["pool"])
        shown = predictions(session, version)
    (row,) = [one.total for one in found.versions]
    assert (row.name, row.texts, found.unknown) == (version, len(annotated), 0)
    assert row.kept + row.moved + row.retyped + row.added == sum(len(item.spans) for item in annotated)
    assert row.proposed == sum(len(shown[item.document_id].spans) for item in annotated)
    assert row.kept > 0


def _offers_the_least_confident(cycle: Cycle, version: str) -> None:
    """Only the new version's predictions show, and the next task is the one with the lowest score."""
    task = offered(cycle)
    (shown,) = task["predictions"]
    assert shown["model_version"] == version
    with cycle.store.read() as session:
        scores = {row.document_id: row.score for row in predictions(session, version).values()}
        queue = ranks(session, version)
        waiting = open_documents(session, cycle.project_id, tasks_only=True)
    task_of = {item.document_id: item.ls_task_id for item in waiting}
    assert set(task_of) == set(scores)
    assert task["id"] == task_of[queue[0].document_id]
    assert shown["score"] == pytest.approx(min(scores.values()))
    confident = [score for key, score in scores.items() if key != queue[0].document_id]
    assert shown["score"] <= min(confident)


def _is_seen_by_the_sdk(sdk: LabelStudio, project_id: int, version: str) -> None:
    """Label Studio's own client, which shares no code with ours, sees the same: predictions that fit the config."""
    project = sdk.projects.get(project_id)
    assert (project.model_version, project.sampling) == (version, "Uncertainty sampling")
    config = LabelInterface(str(project.label_config))
    shown = [
        prediction for prediction in sdk.predictions.list(project=project_id) if prediction.model_version == version
    ]
    assert len(shown) == TASKS - SUBMITTED
    assert len({prediction.task for prediction in shown}) == len(shown)
    assert any(prediction.result for prediction in shown)
    for prediction in shown:
        assert prediction.score is not None
        fields = {"result": prediction.result, "score": prediction.score, "model_version": version}
        assert config.validate_prediction(fields, return_errors=True) == []


def _survives_a_restart(cycle: Cycle, gold: list[LabelledText], label_studio: RealLabelStudio, ids: list[str]) -> None:
    """The server goes down between two pages of a pull, and comes back: nothing is lost, nothing doubled."""
    ids = ids + _annotate(cycle, gold, MORE)
    try:
        with pytest.raises(LabelStudioError, match="Start Label Studio"):
            pull(cycle.store, StopsAfter(label_studio, pages=1), cycle.project(), page_size=10)
    finally:
        label_studio.start()
    assert_done(Service(cycle).run_cycle(), "pull")
    assert sorted(annotation_states(cycle)) == sorted((name, 1, False) for name in ids)
    with cycle.store.read() as session:
        assert len(stored_documents(session, cycle.project_id)) == TASKS
