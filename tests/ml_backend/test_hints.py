"""A webhook is answered from memory; the store hears of it later, or never."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend.hints import Hints
from store.database.session import Store, open_store
from store.errors import StoreError
from store.runs import pending_hints
from tests.ml_backend.given import Home, until


def stored(home: Home) -> list[tuple[int, str]]:
    with home.store.read() as session:
        return [(hint.ls_project_id, hint.action) for hint in pending_hints(session, 7)]


def test_a_hint_reaches_the_store(home: Home) -> None:
    hints = Hints(lambda: home.store)
    hints.start()
    hints.add(7, "ANNOTATION_CREATED")
    until(lambda: stored(home) == [(7, "ANNOTATION_CREATED")])
    hints.stop()


def test_a_burst_of_one_action_is_one_row(home: Home) -> None:
    hints = Hints(lambda: home.store)
    for _ in range(50):
        hints.add(7, "ANNOTATION_CREATED")
    hints.add(7, "ANNOTATION_UPDATED")
    assert hints.write() == 2
    assert stored(home) == [(7, "ANNOTATION_CREATED"), (7, "ANNOTATION_UPDATED")]


def test_a_full_queue_lets_go_of_its_oldest(home: Home) -> None:
    lost: list[None] = []
    hints = Hints(lambda: home.store, lambda: lost.append(None))
    for number in range(1001):
        hints.add(7, f"ACTION_{number}")
    assert len(lost) == 1
    assert hints.write() == 1000
    assert stored(home)[0] == (7, "ACTION_1")


def test_hints_wait_for_a_store_that_is_away(home: Home, tmp_path: Path) -> None:
    """A restart of the database loses none of them, and keeps their order."""
    lost: list[None] = []
    stores = [lambda: open_store(f"sqlite:///{tmp_path / 'none.db'}", migrate=False), lambda: home.store]
    hints = Hints(lambda: stores.pop(0)(), lambda: lost.append(None))
    hints.add(7, "FIRST")
    assert hints.write() == 0
    hints.add(7, "SECOND")
    assert hints.write() == 2
    assert stored(home) == [(7, "FIRST"), (7, "SECOND")]
    assert not lost


def test_hints_that_no_store_took_are_counted_when_the_backend_ends(tmp_path: Path) -> None:
    lost: list[None] = []
    hints = Hints(lambda: open_store(f"sqlite:///{tmp_path / 'none.db'}", migrate=False), lambda: lost.append(None))
    hints.start()
    hints.add(7, "ANNOTATION_CREATED")
    hints.stop()
    assert len(lost) == 1


def test_what_waits_is_written_when_the_backend_ends(home: Home) -> None:
    hints = Hints(lambda: home.store)
    hints.start()
    hints.add(7, "ANNOTATION_CREATED")
    hints.stop()
    assert stored(home) == [(7, "ANNOTATION_CREATED")]


@pytest.mark.parametrize("error", [StoreError("the store is free"), RuntimeError("nobody foresaw this")])
def test_the_thread_outlives_a_failed_write(home: Home, error: Exception) -> None:
    failures = [error]

    def store() -> Store:
        if failures:
            raise failures.pop()
        return home.store

    hints = Hints(store)
    hints.start()
    hints.add(7, "FIRST")
    until(lambda: not failures)
    hints.add(7, "SECOND")
    until(lambda: (7, "SECOND") in stored(home))
    hints.stop()
