"""The service: it outlives what its steps meet, waits with growing pauses, and stops cleanly."""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from sqlalchemy import select

from loop.label_studio.client import LabelStudioError
from loop.service.cycle import (
    STEPS,
    Cycle,
    LoggedTraining,
    Skip,
    label_step,
    promote_step,
    publish_step,
    pull_step,
    retrain_step,
    share_step,
)
from loop.service.service import DONE, FAILED, SKIPPED, CycleReport, Service
from loop.service.starting import when_store_answers
from loop.settings.settings import Settings
from loop.sync.pull import pull
from loop.training.progress import TrainingStep
from ner.errors import ConfigError
from store.database.schema import AnnotationVersion, Project, Run
from store.database.session import Store
from store.errors import StoreAwayError, StoreOpenError
from store.projects import create_project, link
from store.registry import (
    GOLD,
    TRAIN_ROLE,
    TrainedOn,
    fail_model,
    finish_model,
    model,
    promote,
    save_training_items,
    start_model,
)
from store.runs import add_hint, begin_run, pending_hints, tracked
from tests.fakes import FakeLabelStudio, tiny_bundle
from tests.store.empty import new_store

CONFIG = (
    '<View><Labels name="label" toName="text"><Label value="SOFTWARE"/><Label value="OS"/></Labels>'
    '<Text name="text" value="$text"/></View>'
)
RETRAIN_AFTER = 3


class Clock:
    """Time that passes only when slept."""

    def __init__(self) -> None:
        self.now = 0.0
        self.naps: list[float] = []

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.naps.append(seconds)
        self.now += seconds


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store.sqlite")
    yield store
    store.close()


@pytest.fixture
def server() -> FakeLabelStudio:
    return FakeLabelStudio(CONFIG, [f"excel {n} on windows" for n in range(8)])


@pytest.fixture
def cycle(store: Store, server: FakeLabelStudio, tmp_path: Path) -> Cycle:
    with store.transaction() as tx:
        project = create_project(tx, "it", label_config=CONFIG, labels=["SOFTWARE", "OS"], holdout_share=0.0)
        link(tx, project.id, server.url, 1)
        tx.commit()
    (tmp_path / "loop.toml").write_text(f'[project]\nname = "it"\n[service]\nretrain_after = {RETRAIN_AFTER}\n')
    settings = Settings.load(tmp_path, {})
    return Cycle(store, server, settings, project.id)


def service_of(cycle: Cycle, *steps: Callable[[Cycle], Mapping[str, Any]]) -> tuple[Service, Clock]:
    clock = Clock()
    return Service(cycle, [(step.__name__, step) for step in steps], clock=clock, sleep=clock.sleep), clock


def works(_: Cycle) -> Mapping[str, Any]:
    return {"done": 1}


def has_no_reason(_: Cycle) -> Mapping[str, Any]:
    raise Skip("nothing new")


def fails(_: Cycle) -> Mapping[str, Any]:
    raise LabelStudioError("the server answers", value="no")


def breaks(_: Cycle) -> Mapping[str, Any]:
    raise ZeroDivisionError("a defect")


def add_model(cycle: Cycle, *, promoted: bool = False, failed: str = "", folder: bool = False) -> str:
    with tracked(cycle.store, cycle.project_id, "retrain") as run, cycle.store.transaction() as tx:
        settings: dict[str, Any] = {"encoder": "tiny", "seed": 1, "settings": {}, "libraries": {}}
        model = start_model(tx, cycle.project_id, run_id=run.id, data_fingerprint="0", **settings)
        if failed:
            fail_model(tx, model.version, failed)
        else:
            finish_model(tx, model.version, files={})
        if promoted:
            promote(tx, cycle.project_id, model.version, reason="test", who="test")
        tx.commit()
    if folder:
        path = cycle.settings.model_dir / model.path
        path.parent.mkdir(parents=True, exist_ok=True)
        tiny_bundle(path, ("SOFTWARE", "OS"), {"excel": "SOFTWARE"}, version=model.version)
    return model.version


def test_a_step_that_fails_or_has_no_reason_does_not_stop_those_after_it(cycle: Cycle) -> None:
    service, _ = service_of(cycle, fails, has_no_reason, breaks, works)
    report = service.run_cycle()
    assert [(step.name, step.outcome) for step in report.steps] == [
        ("fails", FAILED),
        ("has_no_reason", SKIPPED),
        ("breaks", FAILED),
        ("works", DONE),
    ]
    assert report.step("works").counts == {"done": 1}
    assert "ZeroDivisionError" in report.failed[1].detail


def test_the_service_waits_for_a_store_whose_server_is_away(caplog: pytest.LogCaptureFixture) -> None:
    """It says so at once, and not at every try."""
    tries, clock = iter(range(10)), Clock()

    def make() -> str:
        if next(tries) < 5:
            raise StoreAwayError("the store's database answers")
        return "made"

    assert when_store_answers(make, sleep=clock.sleep) == "made"
    assert len(clock.naps) == 5
    assert [record.message for record in caplog.records] == ["waiting for the store: the store's database answers"]


def test_what_waiting_does_not_mend_ends_the_service_at_its_start() -> None:
    def make() -> None:
        raise StoreOpenError("the store's server lets this user in")

    with pytest.raises(StoreOpenError):
        when_store_answers(make, sleep=Clock().sleep)


@pytest.mark.parametrize("error", [ConfigError("it is configured"), StoreOpenError("the store's database answers")])
def test_a_failing_step_is_left_in_peace_for_growing_pauses_and_reset_by_success(
    cycle: Cycle, error: Exception
) -> None:
    ill = [True]

    def heals(_: Cycle) -> Mapping[str, Any]:
        if ill[0]:
            raise error
        return {}

    service, clock = service_of(cycle, heals)
    tried = []
    for _ in range(400):
        outcome = service.run_cycle().step("heals").outcome
        if outcome == FAILED:
            tried.append(clock.now)
        clock.now += 1.0
    pauses = [after - before for before, after in pairwise(tried)]
    assert pauses[:5] == [5, 10, 20, 40, 60]
    assert set(pauses[5:]) == {60}
    ill[0] = False
    clock.now += 60
    assert service.run_cycle().step("heals").outcome == DONE
    ill[0] = True
    assert service.run_cycle().step("heals").outcome == FAILED
    clock.now += 5
    assert service.run_cycle().step("heals").outcome == FAILED


def test_it_waits_the_poll_interval_between_cycles_and_not_after_the_last(cycle: Cycle) -> None:
    service, clock = service_of(cycle, works)
    assert service.run_forever(cycles=3) == 3
    assert clock.now == pytest.approx(2 * cycle.settings.service.poll_seconds)


def test_a_hint_ends_the_waiting_and_is_done_with_after_the_pull(cycle: Cycle) -> None:
    service, clock = service_of(cycle, pull_step)

    def nap(seconds: float) -> None:
        clock.sleep(seconds)
        if clock.now == 3:
            with cycle.store.transaction() as tx:
                add_hint(tx, 1, "ANNOTATION_CREATED")
                tx.commit()

    service._sleep = nap
    service.run_forever(cycles=2)
    assert clock.now == 3
    with cycle.store.read() as session:
        assert pending_hints(session, 1) == []


def test_a_hint_that_no_pull_could_act_on_does_not_make_it_race(cycle: Cycle, server: FakeLabelStudio) -> None:
    with cycle.store.transaction() as tx:
        add_hint(tx, 1, "ANNOTATION_CREATED")
        tx.commit()
    server.fail("project", times=99)
    service, clock = service_of(cycle, pull_step)
    service.run_forever(cycles=4)
    assert clock.now == pytest.approx(3 * cycle.settings.service.poll_seconds)


def test_hints_that_cannot_be_read_are_told_once_for_each_time_that_the_store_is_away(
    cycle: Cycle, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    service, clock = service_of(cycle, works)

    def hints() -> list[int]:
        if not 5 <= clock.now < 7:
            raise StoreAwayError("the store's database answers")
        return []

    monkeypatch.setattr(cycle, "hints", hints)
    service.run_forever(cycles=2)
    told = [record for record in caplog.records if "hints cannot be read" in record.message]
    assert len(told) == 2


def test_label_studio_down_for_a_while_costs_nothing(cycle: Cycle, server: FakeLabelStudio) -> None:
    server.fail("project", times=2)
    service, _ = service_of(cycle, pull_step)
    reports: list[CycleReport] = []
    service.run_forever(cycles=5, reported=reports.append)
    assert [report.step("pull_step").outcome for report in reports] == [FAILED, FAILED, DONE, DONE, DONE]
    assert reports[2].step("pull_step").counts["new"] == 8


@pytest.fixture(params=[signal.SIG_DFL, signal.SIG_IGN], ids=["default", "ignored"])
def inherited(request: pytest.FixtureRequest) -> Iterator[signal.Handlers]:
    """How the process treats both signals when the service begins: a shell's background job ignores SIGINT."""
    before = {number: signal.signal(number, request.param) for number in (signal.SIGTERM, signal.SIGINT)}
    yield request.param
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_cleanly_whatever_was_inherited_and_the_handlers_are_put_back(
    cycle: Cycle, inherited: signal.Handlers, number: signal.Signals
) -> None:
    def stops(_: Cycle) -> Mapping[str, Any]:
        with tracked(cycle.store, cycle.project_id, "pull"):
            os.kill(os.getpid(), number)
            threading.Event().wait(5)
        return {}

    service, _ = service_of(cycle, works, stops)
    assert service.run_forever(cycles=1) == 0
    assert [signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)] == [inherited, inherited]
    with cycle.store.read() as session:
        assert [run.state for run in session.query(Run).filter_by(kind="pull")] == ["interrupted"]


def test_it_says_that_it_has_started_and_mends_what_a_dead_process_left(
    cycle: Cycle, caplog: pytest.LogCaptureFixture
) -> None:
    with cycle.store.transaction() as tx:
        run = begin_run(tx, cycle.project_id, "pull")
        run.pid, run.process_started = 2**22 - 1, 1.0
        tx.commit()
    caplog.set_level(logging.INFO)
    service, _ = service_of(cycle, works)
    service.run_forever(cycles=1)
    first, second, *_ = [record.getMessage() for record in caplog.records]
    assert first.startswith("started: a cycle every 15 s")
    assert "was interrupted" in second


def test_every_step_is_logged_with_its_time_and_counts(cycle: Cycle, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="loop.service.service")
    service_of(cycle, works, has_no_reason, fails)[0].run_cycle()
    said = [(record.levelname, record.getMessage()) for record in caplog.records]
    assert said == [
        ("INFO", "works: done in 0.0 s; done 1"),
        ("DEBUG", "has_no_reason: skipped in 0.0 s; nothing new"),
        ("ERROR", "fails: failed in 0.0 s; the server answers: got no"),
    ]


def test_the_steps_are_those_of_the_loop_in_order() -> None:
    names = ["pull", "label", "publish votes", "retrain", "share", "evaluate and promote", "publish"]
    assert [name for name, _ in STEPS] == names


def test_without_functions_gold_candidate_and_model_every_later_step_has_no_reason(cycle: Cycle) -> None:
    pull(cycle.store, cycle.client, cycle.project())
    for step, reason in (
        (label_step, "no sources of weak labels"),
        (retrain_step, f"0 of {RETRAIN_AFTER} new gold"),
        (promote_step, "no candidate"),
        (publish_step, "no model in service"),
    ):
        with pytest.raises(Skip, match=reason):
            step(cycle)


def gold_of(cycle: Cycle, server: FakeLabelStudio, first: int, last: int) -> Project:
    region = {"from_name": "label", "to_name": "text", "type": "labels"}
    region |= {"value": {"start": 0, "end": 5, "labels": ["SOFTWARE"]}}
    for task_id in sorted(server.tasks)[first:last]:
        server.annotate(task_id, [region])
    pull(cycle.store, server, cycle.project())
    return cycle.project()


def test_a_candidate_that_a_judged_model_has_superseded_is_retired_without_a_look(cycle: Cycle) -> None:
    old = add_model(cycle)
    add_model(cycle, promoted=True)
    with pytest.raises(Skip, match="no candidate"):
        promote_step(cycle)
    with cycle.store.read() as session:
        assert model(session, old).state == "superseded"


@pytest.mark.parametrize("failed", ["", "TrainingError: no entity", "ParityError: logits differ"])
def test_retraining_waits_for_enough_gold_since_the_last_attempt_failed_or_not(
    cycle: Cycle, server: FakeLabelStudio, failed: str
) -> None:
    gold_of(cycle, server, 0, 2)
    with pytest.raises(Skip, match="2 of 3"):
        retrain_step(cycle)
    gold_of(cycle, server, 2, 4)
    add_model(cycle, failed=failed)
    with pytest.raises(Skip, match="0 of 3"):
        retrain_step(cycle)
    gold_of(cycle, server, 4, 5)
    with pytest.raises(Skip, match="1 of 3"):
        retrain_step(cycle)


@pytest.fixture
def trainings(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """One entry for each training that the step asked for; none of them makes anything."""
    asked: list[int] = []

    def train(store: Store, settings: Settings, project: Project, **_: object) -> SimpleNamespace:
        asked.append(project.id)
        names = ("version", "parent", "kind", "train_documents", "weak_documents", "dev_documents", "epochs", "dev_f1")
        return SimpleNamespace(**dict.fromkeys(names))

    monkeypatch.setattr("loop.service.cycle.retrain", train)
    return asked


def test_gold_that_a_model_learned_is_not_new_again_because_the_clock_was_set_back(
    cycle: Cycle, server: FakeLabelStudio, trainings: list[int]
) -> None:
    gold_of(cycle, server, 0, 4)
    version = add_model(cycle)
    with cycle.store.transaction() as tx:
        learned = tx.session.execute(select(AnnotationVersion.document_id, AnnotationVersion.id))
        save_training_items(tx, version, [TrainedOn(*row, TRAIN_ROLE, GOLD) for row in learned])
        model(tx.session, version).created_at -= timedelta(hours=1)
        tx.commit()
    with pytest.raises(Skip, match="0 of 3"):
        retrain_step(cycle)
    assert trainings == []


def test_a_training_that_failed_for_another_reason_than_its_gold_is_tried_again(
    cycle: Cycle, server: FakeLabelStudio, trainings: list[int]
) -> None:
    gold_of(cycle, server, 0, 3)
    add_model(cycle, failed="InputError: OSError: No space left on device")
    retrain_step(cycle)
    assert len(trainings) == 1


def test_a_label_put_into_the_config_is_a_reason_to_train(
    cycle: Cycle, server: FakeLabelStudio, trainings: list[int]
) -> None:
    gold_of(cycle, server, 0, 1)
    add_model(cycle, promoted=True, folder=True)
    with pytest.raises(Skip, match="0 of 3"):
        retrain_step(cycle)
    server.settings["label_config"] = CONFIG.replace('<Label value="OS"/>', '<Label value="OS"/><Label value="NEW"/>')
    pull(cycle.store, server, cycle.project())
    retrain_step(cycle)
    assert len(trainings) == 1
    add_model(cycle, failed="TrainingError: it finds nothing")
    with pytest.raises(Skip, match="0 of 3"):
        retrain_step(cycle)


def test_without_gold_a_changed_config_is_no_reason_to_train(
    cycle: Cycle, server: FakeLabelStudio, trainings: list[int]
) -> None:
    add_model(cycle, promoted=True, folder=True)
    server.settings["label_config"] = CONFIG.replace('<Label value="OS"/>', "")
    pull(cycle.store, server, cycle.project())
    with pytest.raises(Skip, match="0 of 3"):
        retrain_step(cycle)
    assert trainings == []


@pytest.mark.parametrize(
    ("setting", "value"), [("model_version", None), ("sampling", "Sequential"), ("show_collab_predictions", False)]
)
def test_a_setting_that_somebody_changed_in_label_studio_is_put_back(
    cycle: Cycle, server: FakeLabelStudio, setting: str, value: object
) -> None:
    pull(cycle.store, server, cycle.project())
    add_model(cycle, promoted=True, folder=True)
    publish_step(cycle)
    before = server.settings[setting]
    server.settings[setting] = value
    done = publish_step(cycle)
    assert (done["activated"], done["created"], server.settings[setting]) == (True, 0, before)
    with pytest.raises(Skip, match="every open task"):
        publish_step(cycle)


def test_predictions_that_somebody_deleted_in_label_studio_are_sent_again(
    cycle: Cycle, server: FakeLabelStudio
) -> None:
    gold_of(cycle, server, 0, 1)
    add_model(cycle, promoted=True, folder=True)
    publish_step(cycle)
    labelled, first, second = sorted(server.tasks)[:3]
    gold_of(cycle, server, 1, 2)
    server.tasks[first]["predictions"] = []  # labelled by now: nobody needs it
    server.tasks[second]["predictions"] = []
    assert publish_step(cycle)["created"] == 1
    assert [len(server.tasks[task_id]["predictions"]) for task_id in (labelled, first, second)] == [0, 0, 1]
    with pytest.raises(Skip, match="every open task"):
        publish_step(cycle)


def test_publishing_is_done_once_for_a_version_and_again_for_new_tasks(cycle: Cycle, server: FakeLabelStudio) -> None:
    pull(cycle.store, server, cycle.project())
    version = add_model(cycle, promoted=True, folder=True)
    assert publish_step(cycle)["created"] == 8
    with pytest.raises(Skip, match="every open task"):
        publish_step(cycle)
    server.import_tasks(1, [{"data": {"text": "excel again"}}])
    pull(cycle.store, server, cycle.project())
    tagger = cycle.tagger
    assert publish_step(cycle)["created"] == 1
    assert cycle.tagger is tagger
    second = add_model(cycle, promoted=True, folder=True)
    assert publish_step(cycle)["version"] == second != version
    assert cycle.tagger is not tagger


def test_a_promoted_version_whose_tasks_are_all_done_is_published_once(cycle: Cycle, server: FakeLabelStudio) -> None:
    gold_of(cycle, server, 0, 8)
    add_model(cycle, promoted=True, folder=True)
    assert publish_step(cycle)["open"] == 0
    with pytest.raises(Skip):
        publish_step(cycle)


def test_what_the_shared_folder_lacks_is_sent_and_a_try_that_failed_is_repeated(cycle: Cycle, tmp_path: Path) -> None:
    with pytest.raises(Skip, match="no folder is shared"):
        share_step(cycle)
    with (tmp_path / "loop.toml").open("a") as file:
        file.write(f'[models]\nremote = "file://{tmp_path / "shared"}"\n')
    cycle.settings = Settings.load(tmp_path, {})
    versions = [add_model(cycle, promoted=True, folder=True), add_model(cycle, folder=True)]
    service, _ = service_of(cycle, share_step)
    [failed] = service.run_cycle().failed
    assert "the shared folder of the models is there" in failed.detail
    (tmp_path / "shared").mkdir()
    assert share_step(cycle) == {"sent": versions}
    with pytest.raises(Skip, match="has every model"):
        share_step(cycle)


# The file of the health check


def watched(cycle: Cycle, alive: Path) -> Cycle:
    text = f'[project]\nname = "it"\n[service]\nalive_file = "{alive}"\n'
    return Cycle(cycle.store, cycle.client, Settings.of_text(alive.parent, text, {}), cycle.project_id)


def test_each_step_and_each_pause_shows_that_the_service_is_at_work(cycle: Cycle, tmp_path: Path) -> None:
    alive = tmp_path / "alive"
    seen: list[bool] = []

    def looks(_: Cycle) -> Mapping[str, Any]:
        seen.append(alive.exists())
        alive.unlink(missing_ok=True)
        return {}

    service, _ = service_of(watched(cycle, alive), looks, looks)
    assert service.run_forever(cycles=2) == 2
    assert seen == [True] * 4


def test_a_file_that_cannot_be_touched_stops_nothing_and_is_told_once(
    cycle: Cycle, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    service, _ = service_of(watched(cycle, tmp_path / "none" / "alive"), works, works)
    assert service.run_forever(cycles=2) == 2
    assert [record.message for record in caplog.records if "alive_file" in record.message] == [
        f"service.alive_file cannot be touched: [Errno 2] No such file or directory: '{tmp_path / 'none' / 'alive'}'"
    ]


def test_sources_are_asked_when_texts_or_files_change_and_not_even_loaded_otherwise(
    cycle: Cycle, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = cycle.settings.home
    entry = '[[source]]\nname = "{0}"\nkind = "pattern"\nlabel = "OS"\npattern = "{1}"\n'
    (home / "weak.toml").write_text(entry.format("windows", "windows"))
    pull(cycle.store, cycle.client, cycle.project())
    assert label_step(cycle) == {"documents": 8, "voted": 8, "asked": 8, "failures": 0}
    with monkeypatch.context() as patched, pytest.raises(Skip, match="asked about every text"):
        patched.delattr("loop.service.cycle.declared_sources")
        label_step(cycle)
    (home / "weak.toml").write_text(entry.format("windows", "windows") + entry.format("bad", "("))
    with pytest.raises(Skip, match="asked about every text"):
        label_step(cycle)
    assert "weak.toml, line 10" in caplog.text
    (home / "weak.toml").write_text(entry.format("windows", "win"))
    assert label_step(cycle)["asked"] == 8


def test_a_training_logs_where_it_is_once_a_minute(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    caplog.set_level("INFO")
    clock = iter(range(0, 1000, 25))
    monkeypatch.setattr("loop.service.cycle.time.monotonic", lambda: next(clock))
    told = LoggedTraining()
    for number in range(1, 7):
        told.step(TrainingStep(epoch=1, epochs=1, step=number, steps=8, loss=0.5, seconds_left=60.0 * (8 - number)))
    assert [record.message for record in caplog.records] == [
        "retrain: step 3 of 8, about 5 min left",
        "retrain: step 6 of 8, about 2 min left",
    ]
