"""What `loop run` says before its first cycle: the settings, the store and the folders that it needs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loop.service.starting import check_folders
from loop.training.room import LEAST_FREE, NoRoomError, check_room
from ner.errors import ConfigError
from tests.loop.desk import Desk, make_desk

# Root may write everywhere; a program without these rights may not.
_NOBODY_S_RIGHTS = ["setpriv", "--bounding-set=-dac_override,-dac_read_search"] if os.geteuid() == 0 else []


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A project."""
    return make_desk(tmp_path / "desk", capsys, monkeypatch)


@pytest.fixture
def full_disk(monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage("/")._replace(free=LEAST_FREE - 1)
    monkeypatch.setattr("shutil.disk_usage", lambda _: usage)


def run(desk: Desk, **environ: str) -> subprocess.CompletedProcess[str]:
    """`loop run` as a program of a user without rights; torch cannot be imported, so only what comes before it runs."""
    blocked = desk.home / "blocked"
    blocked.mkdir(exist_ok=True)
    (blocked / "torch.py").write_text("raise RuntimeError('torch was imported')", "utf-8")
    command = [*_NOBODY_S_RIGHTS, sys.executable, "-m", "loop.cli", "-C", str(desk.home), "run"]
    own = {
        "PYTHONPATH": f"{blocked}:{Path.cwd()}",
        "LABEL_STUDIO_URL": "http://127.0.0.1:9",
        "LABEL_STUDIO_API_KEY": "k",
    }
    return subprocess.run(command, env={**os.environ, **own, **environ}, capture_output=True, text=True, timeout=60)


def test_a_missing_address_is_told_before_torch_is_imported(desk: Desk):
    ended = run(desk, LABEL_STUDIO_URL="")
    assert ended.returncode == 3
    assert "Set LABEL_STUDIO_URL" in ended.stderr
    assert "torch" not in ended.stderr


def test_a_service_of_a_container_waits_for_a_person(desk: Desk):
    words = [sys.executable, "-m", "loop.cli", "-C", str(desk.home), "run"]
    environ = {**os.environ, "LABEL_STUDIO_URL": "", "HOLD_WHEN_MISCONFIGURED": "1"}
    with subprocess.Popen(words, env=environ, stderr=subprocess.PIPE, text=True) as service:
        assert service.stderr is not None
        assert any("This service waits now" in line for line in service.stderr)
        assert service.poll() is None
        service.terminate()
        assert service.wait(30) == 3


def test_a_key_file_that_is_not_there_is_named(desk: Desk):
    desk.configure(**{"label_studio.api_key_file": "api-key"})
    ended = run(desk, LABEL_STUDIO_API_KEY="")
    assert ended.returncode == 3
    assert "got no file api-key" in ended.stderr


def test_an_empty_database_says_how_to_make_the_project(desk: Desk, tmp_path: Path):
    ended = run(desk, LOOP_STORE_URL=f"sqlite:///{tmp_path / 'empty.db'}")
    assert ended.returncode == 3
    assert "make the project with `loop init`, or correct the store's address (LOOP_STORE_URL)" in ended.stderr


def test_a_model_folder_of_another_user_ends_the_service_at_its_start(desk: Desk, tmp_path: Path):
    models = tmp_path / "volume"
    models.mkdir(mode=0o555)
    if os.geteuid() == 0:
        os.chown(models, 65534, 65534)
    ended = run(desk, MODEL_DIR=str(models))
    assert ended.returncode == 3
    assert f"the model folder can be written to: got {models}, of user " in ended.stderr


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_told_at_the_start_and_pulling_goes_on(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    check_folders(tmp_path, tmp_path / "models")
    assert "nothing is trained until there is room: a training needs 100 MiB" in caplog.text


@pytest.mark.usefixtures("full_disk")
def test_a_full_disk_is_told_before_a_training_and_not_after_it(desk: Desk):
    said = desk.loop("retrain")
    assert said.code == 3
    assert "a training needs 100 MiB of room for its model" in said.err


@pytest.mark.usefixtures("full_disk")
def test_a_model_folder_that_is_not_made_yet_is_judged_by_the_folder_above_it(tmp_path: Path):
    with pytest.raises(NoRoomError, match=f"MiB free at {tmp_path}"):
        check_room(tmp_path / "a" / "b")


def test_a_file_is_no_model_folder(tmp_path: Path):
    (tmp_path / "models").touch()
    with pytest.raises(ConfigError, match="can be written to"):
        check_room(tmp_path / "models")
