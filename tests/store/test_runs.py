from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta

import psutil
import pytest

from store import runs
from store.database.columns import utc_now
from store.database.schema import Project, Run
from store.database.session import Store, Transaction
from store.errors import NotFoundError, RefusedError, RunHeldError, StoreBusyError, StoreOpenError
from store.projects import project_by_id, set_overlap
from store.registry import model
from store.runs import begin_run, fail_run, finish_run, forget_runs, heartbeat, is_alive, last_run, recover, tracked
from tests.store import given

BEGIN = """
import sys, os, time
from store import registry, runs
from store.database.session import open_store
store = open_store(sys.argv[1])
with store.transaction() as tx:
    run = runs.begin_run(tx, int(sys.argv[2]), "retrain", exclusive=True)
    registry.start_model(
        tx, int(sys.argv[2]), run_id=run.id, encoder="e", seed=1, settings={}, libraries={}, data_fingerprint=""
    )
    tx.commit()
print("begun", flush=True)
time.sleep(600)
"""


def begin(store: Store, project: Project, kind: str = "retrain", *, exclusive: bool = False) -> int:
    with store.transaction() as tx:
        run = begin_run(tx, project.id, kind, exclusive=exclusive)
        tx.commit()
    return run.id


def change(store: Store, run_id: int, **fields: object) -> None:
    with store.transaction() as tx:
        run = tx.session.get_one(Run, run_id)
        for name, value in fields.items():
            setattr(run, name, value)
        tx.commit()


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not happened():
        assert time.monotonic() < deadline, "it never happened"
        time.sleep(0.01)


def found(store: Store, run_id: int) -> Run:
    with store.read() as session:
        return session.get_one(Run, run_id)


def recovered(store: Store, project: Project) -> list[runs.Interrupted]:
    with store.transaction() as tx:
        interrupted = recover(tx, project.id)
        tx.commit()
    return interrupted


def test_a_run_that_ends_well_keeps_its_counts(store: Store, project: Project) -> None:
    with tracked(store, project.id, "pull") as run:
        assert found(store, run.id).state == "running"
        run.counts["tasks"] = 7
    row = found(store, run.id)
    assert (row.state, row.counts, row.error) == ("done", {"tasks": 7}, None)
    assert (row.pid, row.finished_at is not None) == (os.getpid(), True)


@given.on_both
def test_a_run_that_raises_has_failed_and_so_has_the_model_it_trained(store: Store, project: Project) -> None:
    with pytest.raises(ValueError, match="boom"), tracked(store, project.id, "retrain") as run:
        version = given.candidate(store, project.id, finished=False)
        with store.transaction() as tx:
            model(tx.session, version).run_id = run.id
            tx.commit()
        raise ValueError("boom \0")
    row = found(store, run.id)
    assert (row.state, row.error) == ("failed", "ValueError: boom ␀")
    with store.read() as session:
        assert (model(session, version).state, model(session, version).error) == ("failed", "ValueError: boom ␀")


def test_ctrl_c_interrupts_a_run(store: Store, project: Project) -> None:
    with pytest.raises(KeyboardInterrupt), tracked(store, project.id, "retrain") as run:
        raise KeyboardInterrupt
    assert found(store, run.id).state == "interrupted"


def test_the_error_that_ended_a_run_is_raised_even_when_it_cannot_be_noted(store: Store, project: Project) -> None:
    with pytest.raises(ValueError, match="boom") as caught, tracked(store, project.id, "retrain") as run:
        change(store, run.id, state="interrupted")
        raise ValueError("boom")
    assert "a run ends once" in caught.value.__notes__[0]


def test_a_run_ends_once(store: Store, project: Project) -> None:
    key = begin(store, project)
    with store.transaction() as tx:
        finish_run(tx, key, {"n": 1})
        for end in (lambda: finish_run(tx, key), lambda: fail_run(tx, key, "no"), lambda: heartbeat(tx, key)):
            with pytest.raises(RefusedError, match="ends once"):
                end()
        with pytest.raises(NotFoundError):
            finish_run(tx, 999)


@given.on_both
def test_an_exclusive_run_is_refused_beside_a_live_one_of_its_kind_and_project(store: Store, project: Project) -> None:
    other = given.project(store, "Other")
    begin(store, project)
    with pytest.raises(RunHeldError, match=f"retrain of process {os.getpid()} on") as caught:
        begin(store, project, exclusive=True)
    assert caught.value.exit_code == 6
    begin(store, project, "pull", exclusive=True)
    begin(store, other, exclusive=True)


def test_an_exclusive_run_is_granted_when_the_other_one_ended_or_died(store: Store, project: Project) -> None:
    first = begin(store, project, exclusive=True)
    with store.transaction() as tx:
        finish_run(tx, first)
        tx.commit()
    second = begin(store, project, exclusive=True)
    change(store, second, process_started=1.0)
    begin(store, project, exclusive=True)


def test_a_live_run_is_not_recovered(store: Store, project: Project) -> None:
    key = begin(store, project)
    assert recovered(store, project) == []
    assert found(store, key).state == "running"


def test_a_run_whose_pid_belongs_to_another_process_now_is_recovered(store: Store, project: Project) -> None:
    key = begin(store, project)
    change(store, key, process_started=psutil.Process().create_time() - 60)
    (interrupted,) = recovered(store, project)
    assert (interrupted.run_id, interrupted.kind, interrupted.pid) == (key, "retrain", os.getpid())
    assert found(store, key).state == "interrupted"
    assert recovered(store, project) == []


def test_a_run_of_another_host_is_alive_until_its_heartbeat_is_ten_minutes_old(store: Store, project: Project) -> None:
    key = begin(store, project)
    change(store, key, host="elsewhere", pid=1, process_started=1.0, heartbeat_at=utc_now() - timedelta(minutes=9))
    assert recovered(store, project) == []
    change(store, key, heartbeat_at=utc_now() - timedelta(minutes=11))
    assert [item.host for item in recovered(store, project)] == ["elsewhere"]


def test_a_heartbeat_keeps_a_run_of_another_host_alive(store: Store, project: Project) -> None:
    key = begin(store, project)
    change(store, key, host="elsewhere", heartbeat_at=utc_now() - timedelta(hours=2))
    assert not is_alive(found(store, key))
    with store.transaction() as tx:
        heartbeat(tx, key)
        tx.commit()
    assert is_alive(found(store, key))


def test_runs_of_other_projects_are_not_recovered(store: Store, project: Project) -> None:
    other = given.project(store, "Other")
    change(store, begin(store, other), process_started=1.0)
    assert recovered(store, project) == []


@pytest.mark.parametrize("reaped", [False, True])
def test_kill_9_is_found_with_the_model_it_left_and_the_project_is_free(
    store: Store, store_url: str, project: Project, reaped: bool
) -> None:
    arguments = [sys.executable, "-c", BEGIN, store_url, str(project.id)]
    process = subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None and process.stdout.readline() == "begun\n"
        with pytest.raises(RunHeldError):
            begin(store, project, exclusive=True)
        process.kill()
        if reaped:
            process.wait(30)
        else:
            while psutil.Process(process.pid).status() != psutil.STATUS_ZOMBIE:
                time.sleep(0.01)
        (interrupted,) = recovered(store, project)
        assert (interrupted.pid, interrupted.models) == (process.pid, ("it-support-0001",))
        with store.read() as session:
            assert model(session, "it-support-0001").state == "interrupted"
        begin(store, project, exclusive=True)
    finally:
        process.kill()
        process.communicate(timeout=30)


def test_the_last_run_of_a_kind_is_found_by_its_state(store: Store, project: Project) -> None:
    with store.read() as session:
        assert last_run(session, project.id, "pull") is None
    with tracked(store, project.id, "pull") as done:
        pass
    with pytest.raises(OSError, match="down"), tracked(store, project.id, "pull") as failed:
        raise OSError("down")
    with store.read() as session:
        rows = [last_run(session, project.id, "pull", state=state) for state in ("done", "failed", None)]
    assert [row.id if row else None for row in rows] == [done.id, failed.id, failed.id]


def test_only_the_latest_ended_runs_of_a_frequent_kind_are_kept(store: Store, project: Project) -> None:
    ended = [begin(store, project, "pull") for _ in range(5)]
    other, live = begin(store, project, "publish"), begin(store, project, "pull")
    with store.transaction() as tx:
        for run_id in (*ended, other):
            finish_run(tx, run_id)
        assert forget_runs(tx, project.id, "pull", keep=2) == 3
        tx.commit()
    with store.read() as session:
        assert {run.id for run in session.query(Run)} == {*ended[3:], other, live}


@given.on_both
def test_a_tracked_run_beats_by_itself_until_it_ends(
    store: Store, project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(runs, "BEAT_SECONDS", 0.01)
    with tracked(store, project.id, "pull") as run:
        for _ in range(2):
            change(store, run.id, heartbeat_at=given.at(0))
            wait_for(lambda: found(store, run.id).heartbeat_at > given.at(0))
    assert f"heart of run {run.id}" not in {thread.name for thread in threading.enumerate()}
    assert found(store, run.id).state == "done"


def test_a_heartbeat_that_cannot_be_stored_ends_nothing_and_the_next_one_is_tried(
    store: Store, project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(runs, "BEAT_SECONDS", 0.01)
    real, refusals = runs.heartbeat, [StoreBusyError("busy"), StoreOpenError("gone")]

    def refused(tx: Transaction, run_id: int) -> None:
        if refusals:
            raise refusals.pop()
        real(tx, run_id)

    monkeypatch.setattr(runs, "heartbeat", refused)
    with tracked(store, project.id, "pull") as run:
        change(store, run.id, heartbeat_at=given.at(0))
        wait_for(lambda: found(store, run.id).heartbeat_at > given.at(0))
    assert caplog.text.count("could not be stored") == 2


@given.on_both
def test_a_run_that_was_taken_over_changes_nothing_and_ends_without_an_error(
    store: Store, project: Project, caplog: pytest.LogCaptureFixture
) -> None:
    with tracked(store, project.id, "retrain", exclusive=True) as first:
        with first.transaction() as tx:
            set_overlap(tx, project.id, {"n": 1})
            tx.commit()
        change(store, first.id, host="elsewhere", heartbeat_at=utc_now() - timedelta(minutes=11))
        with tracked(store, project.id, "promote", exclusive=True) as second:
            assert [dead.run_id for dead in second.replaced] == [first.id]
            with pytest.raises(RunHeldError, match=f"run {first.id} no longer does") as caught, first.transaction():
                pytest.fail("the block was entered")
            assert caught.value.exit_code == 6
    assert "a run ends once" in caplog.text
    assert (found(store, first.id).state, found(store, second.id).state) == ("interrupted", "done")
    with store.read() as session:
        assert project_by_id(session, project.id).ls_overlap == {"n": 1}


@pytest.mark.parametrize("failing", [False, True])
def test_a_run_whose_end_cannot_be_noted_does_not_hold_its_project(
    store: Store, project: Project, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, failing: bool
) -> None:
    def refused(*_: object, **__: object) -> None:
        raise StoreBusyError("busy")

    with monkeypatch.context() as patched:
        patched.setattr(runs, "_end", refused)
        with suppress(ValueError), tracked(store, project.id, "retrain", exclusive=True) as first:
            if failing:
                raise ValueError("boom")
    assert ("could not be noted" in caplog.text) is not failing
    assert (found(store, first.id).state, is_alive(found(store, first.id))) == ("running", False)
    with tracked(store, project.id, "pull", exclusive=True) as second:
        assert [dead.run_id for dead in second.replaced] == [first.id]
    assert found(store, first.id).state == "interrupted"


@given.on_both
@pytest.mark.parametrize("ended", [True, False])
def test_a_run_that_ends_or_beats_while_it_is_taken_for_dead_is_left_alone(
    store: Store, project: Project, ended: bool
) -> None:
    key = begin(store, project)
    change(store, key, host="elsewhere", heartbeat_at=utc_now() - timedelta(minutes=11))
    dead: list[list[runs.Interrupted]] = []
    other = threading.Thread(target=lambda: dead.append(recovered(store, project)))
    with store.transaction() as tx:
        (finish_run if ended else heartbeat)(tx, key)
        other.start()
        time.sleep(0.3)  # until the other one has read the run, and waits
        tx.commit()
    other.join()
    assert dead == [[]]
    assert found(store, key).state == ("done" if ended else "running")
