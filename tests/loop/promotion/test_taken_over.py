"""A promotion on a store that hosts share: what another process does in the meantime is never overwritten."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from loop.promotion.gates import gates_of
from loop.promotion.promote import promote_candidate
from ner.spans import Span
from store import registry
from store.database.columns import utc_now
from store.database.schema import Project, Run
from store.database.session import Store, open_store
from store.errors import RefusedError, RunHeldError
from store.registry import finish_model, promotions, start_model
from store.runs import begin_run, finish_run, last_run, recover, tracked
from tests.fakes import tiny_bundle
from tests.loop import tiny
from tests.loop.tiny import Placement
from tests.store.cluster import Cluster
from tests.store.empty import new_store

GOLD = [(f"windows and excel {n}", (Span(0, 7, "OS"), Span(12, 17, "SOFTWARE"))) for n in range(20)]
WORDS = {"windows": "OS", "excel": "SOFTWARE"}
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = new_store(tmp_path / "store.db")
    yield opened
    opened.close()


@pytest.fixture
def placed(tmp_path: Path) -> Placement:
    return Placement(tmp_path / "models")


def desk(store: Store) -> Project:
    made = tiny.project(store)
    tiny.put(store, made, list(GOLD), "holdout")
    return made


def candidate(store: Store, project: Project, placed: Placement, words: Mapping[str, str] = WORDS) -> str:
    with store.transaction() as tx:
        run = begin_run(tx, project.id, "retrain")
        model = start_model(
            tx, project.id, run_id=run.id, encoder="tiny", seed=1, settings={}, libraries={}, data_fingerprint="0" * 64
        )
        (placed.model_dir / model.path).parent.mkdir(parents=True, exist_ok=True)
        tiny_bundle(placed.model_dir / model.path, project.labels, words, version=model.version)
        finish_model(tx, model.version, files={})
        finish_run(tx, run.id)
        tx.commit()
    return model.version


def in_service(store: Store, project: Project) -> str | None:
    with store.read() as session:
        found = registry.promoted(session, project.id)
    return found.version if found else None


def actions(store: Store, project: Project) -> list[str]:
    with store.read() as session:
        return [decision.action for decision in promotions(session, project.id)]


def taken_over(store: Store, project: Project) -> None:
    """Another host begins a promotion, and hears of the one at work as of a host that was silent for ten minutes."""
    with store.transaction() as tx:
        row = last_run(tx.session, project.id, "promote", state="running")
        assert row is not None
        row.host, row.heartbeat_at = "elsewhere", utc_now() - timedelta(minutes=11)
        assert [dead.run_id for dead in recover(tx, project.id)] == [row.id]
        tx.commit()
    with tracked(store, project.id, "promote", exclusive=True):
        pass


def at_stage(name: str, then: Callable[[], None]) -> Callable[[str], None]:
    return lambda stage: then() if stage == name else None


@pytest.mark.parametrize("stage", ["proving the files", "asking the candidate", "deciding", "perturbing texts"])
def test_a_promotion_that_another_host_took_over_decides_nothing(store: Store, placed: Placement, stage: str) -> None:
    project = desk(store)
    candidate(store, project, placed)
    stages = at_stage(stage, lambda: taken_over(store, project))
    with pytest.raises(RunHeldError, match="no longer") as caught:
        promote_candidate(store, placed, project, who="lead", stages=stages)
    assert caught.value.exit_code == 6
    assert (in_service(store, project), actions(store, project)) == (None, [])


def test_a_promotion_that_is_taken_over_once_it_has_decided_ends_well(
    store: Store, placed: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = desk(store)
    version = candidate(store, project, placed)
    real = registry.promote

    def decided(*given: Any, **named: Any) -> Any:
        decision = real(*given, **named)
        commit = given[0].commit

        def and_then() -> None:
            commit()
            taken_over(store, project)

        given[0].commit = and_then
        return decision

    monkeypatch.setattr(registry, "promote", decided)
    assert promote_candidate(store, placed, project, who="lead").promoted
    assert (in_service(store, project), actions(store, project)) == (version, ["promote"])


def test_other_hosts_hear_that_a_promotion_is_alive(
    store: Store, placed: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = desk(store)
    candidate(store, project, placed)
    monkeypatch.setattr("store.runs.BEAT_SECONDS", 0.01)

    def beaten() -> None:
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:
            with store.read() as session:
                run = last_run(session, project.id, "promote", state="running")
            if run is not None and run.heartbeat_at > run.started_at:
                return
            time.sleep(0.01)
        raise AssertionError("the run was silent")

    assert promote_candidate(store, placed, project, who="lead", stages=at_stage("deciding", beaten)).promoted


@pytest.mark.parametrize(("running", "begun"), [("retrain", "promote"), ("promote", "retrain")])
def test_a_promotion_and_a_training_exclude_each_other(
    store: Store, placed: Placement, running: str, begun: str
) -> None:
    project = desk(store)
    with (
        tracked(store, project.id, running, exclusive=True) as holder,
        pytest.raises(RunHeldError, match="one training or promotion at a time") as caught,
        tracked(store, project.id, begun, exclusive=True),
    ):
        pass
    assert caught.value.exit_code == 6
    with store.read() as session:
        assert f"{running} of process {session.get_one(Run, holder.id).pid}" in str(caught.value)


def test_a_rollback_that_commits_while_the_decision_waits_for_it_stands(
    postgres: Cluster, placed: Placement, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres.url(postgres.create())
    store, elsewhere = open_store(url), open_store(url)
    project = desk(store)
    first, second, third = (candidate(store, project, placed, words) for words in ({}, {"excel": "SOFTWARE"}, WORDS))
    with store.transaction() as tx:
        for version in (first, second):
            registry.promote(tx, project.id, version, reason="by hand", who="lead")
        tx.commit()
    held, threads = threading.Event(), []

    def roll_back() -> None:
        with elsewhere.transaction() as tx:
            registry.rollback(tx, project.id, reason="it fails on tickets", who="another")
            held.set()
            waited = (
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
            )
            deadline = time.monotonic() + 30
            while not tx.session.scalar(text(waited)) and time.monotonic() < deadline:
                time.sleep(0.01)
            tx.commit()

    def meanwhile(*given: Any, **named: Any) -> Any:
        threads.append(threading.Thread(target=roll_back))
        threads[0].start()
        assert held.wait(30)
        return gates_of(*given, **named)

    monkeypatch.setattr("loop.promotion.promote.gates_of", meanwhile)
    with pytest.raises(RefusedError, match=f"{first} went into service meanwhile"):
        promote_candidate(store, placed, project, third, who="lead")
    threads[0].join()
    assert (in_service(store, project), actions(store, project)) == (first, ["promote", "promote", "rollback"])
    store.close()
    elsewhere.close()
