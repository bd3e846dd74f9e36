"""What ends the backend at its start with the mend, and what it waits for."""

from __future__ import annotations

import logging
import os
import sqlite3
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from ml_backend.starting import check
from ner.errors import ConfigError
from store.errors import StoreOpenError
from tests.ml_backend.given import Home, running, until

# Root may read every file; a program without these rights may not.
_NOBODY_S_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"]


def end(environ: dict[str, str], *before: str) -> tuple[int, str]:
    """(exit code, what was printed) of a backend that ends by itself."""
    command = [*before, sys.executable, "-m", "ml_backend"]
    ended = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=60)
    return ended.returncode, ended.stderr


def at_revision(home: Home, revision: str) -> Home:
    """The store as another version of the program would have left it."""
    home.store.close()
    with sqlite3.connect(home.folder / "loop.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (revision,))
    return home


def test_a_wrong_address_ends_the_backend_before_it_listens(served: Home):
    code, said = end(served.environ(LOOP_STORE_URL="sqlite:////nowhere/loop.db"))
    assert code == 3
    assert said.strip() == "the folder of the store is there: got /nowhere. Correct the store's address."


def test_a_container_waits_for_a_person_in_place_of_being_started_again_and_again(served: Home):
    environ = served.environ(LOOP_STORE_URL="sqlite:////nowhere/loop.db", HOLD_WHEN_MISCONFIGURED="1")
    words = [sys.executable, "-m", "ml_backend"]
    with subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True) as backend:
        assert backend.stderr is not None
        assert "the folder of the store is there: got /nowhere" in backend.stderr.readline()
        assert "This service waits now" in backend.stderr.readline()
        assert backend.poll() is None
        backend.terminate()
        assert backend.wait(30) == 3


def test_a_store_of_a_newer_program_ends_the_backend_before_it_listens(served: Home):
    code, said = end(at_revision(served, "9999").environ())
    assert code == 3
    assert "listening" not in said
    assert "a store is never newer than the program that opens it: got store at 9999" in said


@pytest.mark.parametrize("place", ["loop.db", "."])
def test_a_store_of_another_user_is_named_with_its_owner(served: Home, place: str):
    path = served.folder / place
    refused(path, 0o555 if path.is_dir() else 0)
    code, said = end(served.environ(), *_without_rights())
    assert code == 3
    assert f"got {path.resolve()}, of user " in said


def test_a_model_folder_of_another_user_is_named_with_its_owner(served: Home):
    refused(served.model_dir)
    code, said = end(served.environ(), *_without_rights())
    assert code == 3
    assert f"MODEL_DIR is a folder that this user can read: got {served.model_dir}, of user " in said


def refused(path: Path, mode: int = 0) -> None:
    """Take the rights of a file or folder, as far as `mode` does not give them."""
    path.chmod(mode)
    if os.geteuid() == 0:
        os.chown(path, 65534, 65534)


def _without_rights() -> list[str]:
    return _NOBODY_S_RIGHTS if os.geteuid() == 0 else []


@pytest.mark.parametrize("revision", ["0001", None])
def test_the_backend_waits_for_a_store_that_another_process_makes_or_upgrades(
    home: Home, caplog: pytest.LogCaptureFixture, revision: str | None
):
    if revision is None:
        home.store.close()
        (home.folder / "loop.db").unlink()
    else:
        at_revision(home, revision)
    with caplog.at_level(logging.WARNING):
        check(home.settings)
    assert "the backend waits for the store: the store" in caplog.text


def test_a_backend_that_waited_serves_once_the_store_is_there(served: Home, tmp_path: Path):
    log = tmp_path / "backend.log"
    with served.store_away(), running(served.environ(), log):
        assert "the backend waits for the store: the store is there" in log.read_text("utf-8")
        (served.folder / "elsewhere.db").rename(served.folder / "loop.db")
        until(lambda: "it-support-0001 is in service" in log.read_text("utf-8"))
        (served.folder / "loop.db").rename(served.folder / "elsewhere.db")


def test_a_model_folder_that_is_not_there_yet_is_said(home: Home, caplog: pytest.LogCaptureFixture):
    check(replace(home.settings, model_dir=home.folder / "later"))
    assert "later is not there yet: no model can be served" in caplog.text


def test_a_file_is_no_model_folder(home: Home):
    with pytest.raises(ConfigError, match="Correct MODEL_DIR"):
        check(replace(home.settings, model_dir=home.folder / "loop.db"))


def test_a_password_that_is_refused_is_no_reason_to_wait(home: Home, monkeypatch: pytest.MonkeyPatch):
    """The words of a real server are tried in tests/store/database/test_session.py."""

    def refuse(*_: object, **__: object) -> None:
        raise StoreOpenError("the store's server lets this user in")

    monkeypatch.setattr("store.database.session.open_store", refuse)
    with pytest.raises(StoreOpenError):
        check(home.settings)
