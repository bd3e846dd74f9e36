"""`kill -9` at fifty random moments of the cycle: pull, retrain, export, promote, publish. Real server, real training.

After every kill the store opens, the promoted bundle verifies, and the next cycle completes; in the end no annotation
is lost or doubled, and no task carries two predictions of one version.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from random import Random

import pytest
from sqlalchemy import select

from loop.connect import link_project
from loop.label_studio_client import LabelStudioClient
from loop.scaffold import config_of_labels, scaffold
from loop.service import Service
from loop.settings import Settings
from loop.steps import Cycle
from ner.bundle import load_bundle
from ner.label_config import LabelConfig
from ner.label_studio import to_result
from ner.spans import Span
from store.projects import project_by_id, project_by_name
from store.registry import promoted
from store.runs import INTERRUPTED
from store.schema import AnnotationVersion, Project, Run
from store.session import open_store
from tests.loop import tiny
from tests.server.real_label_studio import RealLabelStudio

KILLS = 50
START, NAME = 60, "killed"
CONFIG = f"""
[project]
name = "{NAME}"
[service]
retrain_after = 1
"""


@dataclass
class Victim:
    """A project whose cycles run in processes of their own. No store is open here while one is forked."""

    settings: Settings
    url: str
    token: str
    project_id: int
    ls_project_id: int
    folder: Path

    @property
    def client(self) -> LabelStudioClient:
        return LabelStudioClient(self.url, self.token)

    def begin(self) -> int:
        """Fork a process that runs one cycle and exits with 0 if no step failed; its pid."""
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            cycle = Cycle(open_store(self.settings.store_url), self.client, self.settings, self.project_id)
            service = Service(cycle)
            service._recover()
            failed = service.run_cycle().failed
            (self.folder / "failed.txt").write_text("\n".join(f"{step.name}: {step.detail}" for step in failed))
            code = 3 if failed else 0
        finally:
            os._exit(code)

    def complete(self) -> float:
        """Run a cycle to its end; the seconds it took."""
        begin = time.monotonic()
        _, status = os.waitpid(self.begin(), 0)
        assert os.waitstatus_to_exitcode(status) == 0, (self.folder / "failed.txt").read_text()
        return time.monotonic() - begin

    def kill_after(self, seconds: float) -> bool:
        """Run a cycle and kill it; whether it was still at work."""
        pid = self.begin()
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        return os.waitstatus_to_exitcode(status) == -signal.SIGKILL

    def promoted_verifies(self) -> None:
        store = open_store(self.settings.store_url)
        with store.read() as session:
            labels = project_by_id(session, self.project_id).labels
            serving = promoted(session, self.project_id)
        store.close()
        assert serving is not None
        assert load_bundle(self.settings.model_dir / serving.path, labels).manifest.version == serving.version


@dataclass
class Work:
    """New texts and their annotations, as people would bring them."""

    victim: Victim
    texts: Iterator[tuple[str, tuple[Span, ...]]]
    submitted: list[str]

    def add(self, texts: int, annotated: int) -> None:
        client, project_id = self.victim.client, self.victim.ls_project_id
        config = LabelConfig.parse(str(client.project(project_id)["label_config"]))
        known = client.task_ids(project_id, 0, 2**53)
        new = [next(self.texts) for _ in range(texts)]
        client.import_tasks(project_id, [{"data": {"text": text}} for text, _ in new])
        ids = sorted(client.task_ids(project_id, 0, 2**53) - known)
        for task_id, (text, spans) in list(zip(ids, new, strict=True))[:annotated]:
            stored = client.submit_annotation(task_id, {"result": to_result(spans, text, config), "lead_time": 1.0})
            self.submitted.append(str(stored["id"]))


@pytest.fixture
def victim(label_studio: RealLabelStudio, client: LabelStudioClient, tmp_path: Path) -> Victim:
    home = tmp_path / "project"
    scaffold(home, NAME, config_of_labels(",".join(tiny.LABELS)), salt="salt")
    (home / "loop.toml").write_text(CONFIG, "utf-8")
    train = tiny.train_settings(tiny.encoder(tmp_path / "encoder"))
    settings = replace(Settings.load(home, {}), train=train)
    store = open_store(settings.store_url)
    with store.read() as session:
        project: Project = project_by_name(session, NAME)
    linked = link_project(store, client, project.id)
    store.close()
    token = label_studio.first.token
    return Victim(settings, client.url, token, project.id, linked.ls_project_id, tmp_path)


@pytest.mark.training
@pytest.mark.timeout(3600)
def test_nothing_is_lost_doubled_or_broken_by_fifty_kills(victim: Victim) -> None:
    draw = Random(2026)
    work = Work(victim, iter(tiny.corpus(START + 6 * KILLS)), [])
    work.add(START, START - 4)
    victim.complete()
    victim.promoted_verifies()
    # From the good model on, short trainings will do: what counts is that there is one to kill.
    victim.settings = replace(victim.settings, train=replace(victim.settings.train, warm_epochs=1, min_steps=10))
    work.add(2, 1)
    seconds, hit = victim.complete(), 0
    while hit < KILLS:
        work.add(2, 1)
        hit += victim.kill_after(draw.uniform(0, seconds))
        victim.promoted_verifies()
        victim.complete()
    _nothing_lost_or_doubled(victim, work.submitted)
    assert {"pull", "retrain", "publish"} <= _interrupted(victim)


def _nothing_lost_or_doubled(victim: Victim, submitted: list[str]) -> None:
    store = open_store(victim.settings.store_url)
    version = AnnotationVersion
    with store.read() as session:
        rows = session.execute(select(version.source_id, version.sequence, version.deleted)).all()
        serving = promoted(session, victim.project_id)
    store.close()
    assert sorted((str(row[0]), row[1], row[2]) for row in rows) == sorted((name, 1, False) for name in submitted)
    assert serving is not None
    carried = _predictions(victim)
    assert set(carried.values()) == {1}
    open_tasks = victim.client.open_tasks_without(victim.ls_project_id, serving.version)
    assert open_tasks == set()


def _predictions(victim: Victim) -> Counter[tuple[int, str]]:
    """How many predictions of each version each task carries."""
    client, counted = victim.client, Counter[tuple[int, str]]()
    for task_id in client.task_ids(victim.ls_project_id, 0, 2**53):
        task = client.http.get(f"/api/tasks/{task_id}/")
        counted.update((task_id, str(shown["model_version"])) for shown in task["predictions"])
    return counted


def _interrupted(victim: Victim) -> set[str]:
    store = open_store(victim.settings.store_url)
    with store.read() as session:
        kinds = set(session.scalars(select(Run.kind).where(Run.state == INTERRUPTED)))
    store.close()
    return kinds
