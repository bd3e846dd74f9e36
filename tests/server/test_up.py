"""`scripts/up` for real: reaches ready, is killed, picks up, ends by Ctrl-C, and leaves and doubles nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from loop.label_studio.client import LabelStudioClient
from loop.settings.settings import Settings
from loop.settings.toml_text import with_values
from loop.up.options import Options
from loop.up.project import EXAMPLE, make_project
from store.counts import project_counts
from store.database.session import open_store
from store.predictions import is_of_votes, predictions
from store.projects import project_by_name
from tests.server.real_label_studio import free_port

ROOT = Path(__file__).parents[2]
TASKS = sum(1 for _ in (EXAMPLE / "tasks.jsonl").open(encoding="utf-8"))


@dataclass
class Running:
    """One `scripts/up`, its output in a file."""

    process: subprocess.Popen[bytes]
    output: Path

    @property
    def said(self) -> str:
        return self.output.read_text("utf-8", "replace")

    def await_ready(self, seconds: float = 1200) -> None:
        end = time.monotonic() + seconds
        while "simulate-annotator" not in self.said:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < end, self.said
            time.sleep(0.5)

    def family(self) -> list[psutil.Process]:
        own = psutil.Process(self.process.pid)
        return [own, *own.children(recursive=True)]


def start(options: Options, output: Path) -> Running:
    words = ["--port", str(options.port), "--backend-port", str(options.backend_port), "--data", str(options.data)]
    environ = {**os.environ, "LOOP_VENV": str(Path(sys.executable).parents[1])}
    with output.open("wb") as sink:
        process = subprocess.Popen(
            [str(ROOT / "scripts" / "up"), *words],
            env=environ,
            cwd="/",
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    return Running(process, output)


def left_of(family: list[psutil.Process], seconds: float = 30) -> list[psutil.Process]:
    """Those that are still there after a time."""
    _, alive = psutil.wait_procs(family, timeout=seconds)
    return [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]


@dataclass(frozen=True)
class Standing:
    """What must be there once, whatever happened before."""

    projects: int
    tasks: int
    backends: int
    webhooks: int
    documents: int


def standing(options: Options) -> Standing:
    client = client_of(options)
    settings = Settings.load(options.project, {})
    store = open_store(settings.store_url)
    with store.read() as session:
        project = project_by_name(session, settings.project_name)
        documents = project_counts(session, project.id).documents
    store.close()
    linked = project.ls_project_id or 0
    return Standing(
        projects=int(client.http.get("/api/projects/")["count"]),
        tasks=client.task_number(linked),
        backends=len(client.backends(linked)),
        webhooks=len(client.webhooks(linked)),
        documents=sum(documents.values()),
    )


def client_of(options: Options) -> LabelStudioClient:
    return LabelStudioClient(options.url, (options.data / "api-key").read_text().strip())


def check_first_task(options: Options) -> None:
    """The first task that Label Studio offers carries what the sources of weak labels agree on: no model serves yet."""
    settings = Settings.load(options.project, {})
    store = open_store(settings.store_url)
    with store.read() as session:
        project = project_by_name(session, settings.project_name)
    client = client_of(options)
    task = client.next_task(project.ls_project_id or 0)
    assert task is not None
    version = client.project(project.ls_project_id or 0)["model_version"]
    assert is_of_votes(version)
    assert version in {prediction["model_version"] for prediction in task["predictions"]}
    with store.read() as session:
        assert len(predictions(session, version)) == TASKS
    store.close()


@pytest.mark.training
@pytest.mark.timeout(3000)
def test_up_reaches_ready_survives_a_kill_picks_up_and_leaves_nothing_behind(tmp_path: Path):
    options = Options(free_port(), free_port(), tmp_path / "data")
    make_project(options)
    quick: dict[str, str | int | float] = {"train.passes": 1, "service.poll_seconds": 1}
    quick |= {"promotion.reference": False, "promotion.robustness": 0, "promotion.timed": 0}
    config = options.project / "loop.toml"
    config.write_text(with_values(config.read_text(), quick))

    first = start(options, tmp_path / "first.txt")
    first.await_ready()
    check_first_task(options)
    once = standing(options)
    assert once == Standing(1, TASKS, 1, 1, TASKS)
    credentials = (options.data / "credentials").read_text()

    same_folder = start(Options(free_port(), free_port(), options.data), tmp_path / "same.txt")
    assert same_folder.process.wait(60) == 6
    busy = start(Options(options.port, free_port(), tmp_path / "other"), tmp_path / "busy.txt")
    assert busy.process.wait(60) == 3
    assert f"{options.port} is in use" in busy.said
    assert not (tmp_path / "other" / "logs").exists()

    family = first.family()
    assert len(family) >= 4
    first.process.kill()
    first.process.wait()
    assert left_of(family) == []

    moved = Options(free_port(), options.backend_port, options.data)
    second = start(moved, tmp_path / "second.txt")
    second.await_ready()
    check_first_task(moved)
    assert standing(moved) == once
    assert (options.data / "credentials").read_text() == credentials

    family = second.family()
    os.killpg(second.process.pid, signal.SIGINT)
    assert second.process.wait(60) == 0
    assert left_of(family) == []
    assert "ended" in second.said.splitlines()[-1]


@pytest.mark.timeout(600)
def test_a_child_that_dies_ends_the_others_and_is_reported_with_its_log(tmp_path: Path):
    options = Options(free_port(), free_port(), tmp_path / "data")
    (options.data / "label-studio").mkdir(parents=True)
    (options.data / "label-studio" / "label_studio.sqlite3").write_bytes(b"no database")
    running = start(options, tmp_path / "out.txt")
    assert running.process.wait(300) == 1
    assert "label-studio keeps running" in " ".join(running.said.split())
    assert "file is not a database" in running.said
