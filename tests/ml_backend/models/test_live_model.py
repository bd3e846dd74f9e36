"""The promoted model is followed; what cannot be served never takes the place of what can."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.orm import Session

from ml_backend.holdout import fingerprint
from ml_backend.models.live_model import LiveModels, Served, load_tagger
from ner.errors import BundleError
from ner.models.bundle import MODEL
from ner.models.model_library import ModelLibrary
from ner.tagger import Tagger
from store.errors import StoreError
from store.projects import link, set_label_config
from tests.ml_backend.given import LABELS, LS_URL, OTHER_CONFIG, WORDS, Home, make_project, until


class Told:
    """Remembers what live models report."""

    def __init__(self) -> None:
        self.changes: list[tuple[str, str | None, str | None]] = []
        self.failures: list[str] = []

    def changed(self, slug: str, old: str | None, new: str | None) -> None:
        self.changes.append((slug, old, new))

    def failed(self, slug: str) -> None:
        self.failures.append(slug)


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def live(home: Home, told: Told) -> Iterator[LiveModels]:
    """Live models on `home` that are refreshed by hand."""
    made = LiveModels(home.store_url, ModelLibrary(home.model_dir), poll_seconds=3600.0, threads=2, listener=told)
    yield made
    made.stop()


def served(live: LiveModels, ls_project_id: int = 7) -> Served:
    live.refresh()
    (one,) = live.served[ls_project_id]
    return one


def test_a_project_without_a_model_is_known_and_served_nothing(live: LiveModels) -> None:
    assert served(live).tagger is None
    assert served(live).problem is None


def test_a_promotion_is_followed(home: Home, live: LiveModels, told: Told) -> None:
    assert served(live).version is None
    for number in ("it-support-0001", "it-support-0002"):
        home.promote(home.model())
        assert served(live).version == number
    assert told.changes == [
        ("it-support", None, "it-support-0001"),
        ("it-support", "it-support-0001", "it-support-0002"),
    ]


def test_a_rollback_is_followed(home: Home, live: LiveModels) -> None:
    home.promote(home.model())
    home.promote(home.model())
    assert served(live).version == "it-support-0002"
    home.roll_back()
    assert served(live).version == "it-support-0001"


def test_what_a_request_holds_goes_on_answering_after_a_promotion(home: Home, live: LiveModels) -> None:
    home.promote(home.model())
    before = served(live)
    home.promote(home.model({"windows": "SOFTWARE"}))
    after = served(live)
    assert before.tagger is not None
    assert after.tagger is not None
    assert before.tagger.tag_many(["windows"] * 3)[0].spans[0].label == "OS"
    assert after.tagger.tag("windows").spans[0].label == "SOFTWARE"


@pytest.mark.parametrize("flaw", ["bytes", "labels", "width", "version", "gone"])
def test_a_bad_bundle_leaves_the_incumbent_in_service(home: Home, live: LiveModels, told: Told, flaw: str) -> None:
    home.promote(home.model())
    assert served(live).version == "it-support-0001"
    more = {"width": {"width": 2}, "version": {"version": "it-support-9999"}}.get(flaw, {})
    labels = ("SOFTWARE", "ERROR") if flaw == "labels" else LABELS
    bad = home.model({} if flaw == "labels" else WORDS, labels, **more)
    if flaw == "bytes":
        (home.model_dir / "it-support" / bad / MODEL).write_bytes(b"not what was hashed")
    if flaw == "gone":
        (home.model_dir / "it-support" / bad).rename(home.folder / "elsewhere")
    home.promote(bad)
    now = served(live)
    assert now.version == "it-support-0001"
    assert isinstance(now.problem, BundleError)
    assert told.failures == ["it-support"]


def test_a_bad_bundle_is_tried_again_ever_more_seldom(
    home: Home, live: LiveModels, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.promote(home.model(width=2))
    clock = [1000.0]
    monkeypatch.setattr("ml_backend.models.live_model.time.monotonic", lambda: clock[0])
    tries = []
    for _ in range(200):
        live.refresh()
        if len(told.failures) > len(tries):
            tries.append(clock[0])
        clock[0] += 1.0
    waits = [after - before for before, after in pairwise(tries)]
    assert waits == [2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0]


def test_a_mended_bundle_is_taken_into_service(home: Home, live: LiveModels, monkeypatch: pytest.MonkeyPatch) -> None:
    version = home.promote(home.model())
    folder = home.model_dir / "it-support" / version
    folder.rename(home.folder / "elsewhere")
    assert served(live).version is None
    (home.folder / "elsewhere").rename(folder)
    monkeypatch.setattr("ml_backend.models.live_model._FIRST_RETRY", 0.0)
    until(lambda: served(live).version == version)
    assert served(live).problem is None


def test_another_promotion_after_a_bad_bundle_is_not_made_to_wait(home: Home, live: LiveModels) -> None:
    home.promote(home.model(width=2))
    assert served(live).version is None
    home.promote(home.model())
    assert served(live).version == "it-support-0002"


def test_a_project_that_cannot_be_served_does_not_hold_up_the_next(home: Home, live: LiveModels) -> None:
    home.promote(home.model(width=2))
    other = make_project(home, "Other", 8)
    home.promote(home.model(project_id=other), other)
    assert served(live).version is None
    assert served(live, 8).version == "other-0001"


def test_splits_that_cannot_be_read_keep_the_project_s_model_and_hold_up_no_other(
    home: Home, live: LiveModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded: list[str] = []

    def load(folder: Path, version: str, *more: Any) -> Tagger:
        loaded.append(version)
        return load_tagger(folder, version, *more)

    def read(session: Session, project_id: int, version: str | None) -> tuple[object, ...]:
        if project_id == home.project_id and away:
            raise StoreError("the splits can be read", value="a test")
        return fingerprint(session, project_id, version)

    monkeypatch.setattr("ml_backend.models.live_model.load_tagger", load)
    monkeypatch.setattr("ml_backend.models.live_model.fingerprint", read)
    other = make_project(home, "Other", 8)
    home.promote(home.model())
    home.promote(home.model(project_id=other), other)
    away = True
    for _ in range(3):
        live.refresh()
        assert set(live.served) == {8}
        assert live.store_problem is not None
    away = False
    assert served(live).version == "it-support-0001"
    assert live.store_problem is None
    assert loaded == ["it-support-0001", "other-0001"]
    away = True
    home.promote(home.model())
    assert served(live).version == "it-support-0002"


def test_a_failure_that_nobody_foresaw_is_a_problem_of_its_project(
    home: Home, live: LiveModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall(_: Path) -> None:
        raise PermissionError("not yours")

    home.promote(home.model())
    monkeypatch.setattr("ml_backend.models.live_model.load_bundle", fall)
    assert "not yours" in str(served(live).problem)


def test_a_config_whose_labels_were_only_moved_about_keeps_its_model(home: Home, live: LiveModels) -> None:
    home.promote(home.model())
    with home.store.transaction() as tx:
        set_label_config(tx, home.project_id, "<View/>", ["OS", "SOFTWARE"])
        tx.commit()
    assert served(live).version == "it-support-0001"


def test_a_model_for_other_labels_is_not_put_into_service(home: Home, live: LiveModels) -> None:
    home.promote(home.model())
    with home.store.transaction() as tx:
        set_label_config(tx, home.project_id, OTHER_CONFIG, ["SOFTWARE", "ERROR"])
        tx.commit()
    problem = served(live).problem
    assert problem is not None
    assert problem.value == "model ['OS', 'SOFTWARE'], config ['ERROR', 'SOFTWARE']"


def test_a_project_that_is_linked_elsewhere_is_served_there_only(home: Home, live: LiveModels) -> None:
    home.promote(home.model())
    assert served(live).version == "it-support-0001"
    with home.store.transaction() as tx:
        link(tx, home.project_id, LS_URL, 70)
        tx.commit()
    live.refresh()
    assert set(live.served) == {70}


def test_a_store_that_is_away_leaves_everything_in_service(
    home: Home, live: LiveModels, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.promote(home.model())
    assert served(live).version == "it-support-0001"
    live.store().close()
    database, away = home.folder / "loop.db", home.folder / "away.db"
    home.store.close()
    database.rename(away)
    assert served(live).version == "it-support-0001"
    assert live.store_problem is not None
    database.unlink(missing_ok=True)
    away.rename(database)
    live.store().close()
    home.promote(home.model())
    assert served(live).version == "it-support-0002"
    assert live.store_problem is None


def test_a_store_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    live = LiveModels(f"sqlite:///{tmp_path / 'none.db'}", ModelLibrary(tmp_path), poll_seconds=0.05, threads=1)
    live.start()
    try:
        assert live.served == {}
        assert live.store_problem is not None
    finally:
        live.stop()


def test_the_thread_follows_by_itself_gives_memory_back_and_ends_when_told(
    home: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    trimmed = threading.Event()
    monkeypatch.setattr("ml_backend.models.live_model.Trimmer.trim", lambda _: trimmed.set())
    live = LiveModels(home.store_url, ModelLibrary(home.model_dir), poll_seconds=0.05, threads=1)
    live.start()
    home.promote(home.model())
    until(lambda: live.served[7][0].version == "it-support-0001")
    assert trimmed.wait(30)
    live.stop()
    assert "live-models" not in {thread.name for thread in threading.enumerate()}


def test_the_cache_of_a_shared_folder_keeps_what_serves_and_no_more(home: Home, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    trainer = ModelLibrary.at(home.model_dir, f"file://{tmp_path / 'shared'}", cache_mb=100)
    library = ModelLibrary(tmp_path / "cache", trainer.shared, cache_bytes=1)
    live = LiveModels(home.store_url, library, poll_seconds=3600.0, threads=1)
    kept = []
    for number in (1, 2, 3):
        version = home.model()
        trainer.share(f"it-support/{version}", {})
        home.promote(version)
        assert served(live).version == f"it-support-000{number}"
        kept.append(sorted(path.name for path in (tmp_path / "cache" / "it-support").glob("it-*")))
    live.stop()
    # The model that served stays until its follower serves.
    assert kept == [
        ["it-support-0001"],
        ["it-support-0001", "it-support-0002"],
        ["it-support-0002", "it-support-0003"],
    ]


def test_a_model_that_fails_for_days_is_tried_again_after_the_longest_pause(home: Home, live: LiveModels) -> None:
    home.promote(home.model(width=2))
    assert served(live).problem is not None
    model = live._models[home.project_id]
    model._failures, model._retry_at = 5_000, 0.0
    live.refresh()
    assert 50 < model._retry_at - time.monotonic() <= 60
