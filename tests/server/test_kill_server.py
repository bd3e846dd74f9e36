"""`kill -9` early and late in pull, retrain, export, promote and publish. Real server, real training.

The cycle at work writes down which phase it is in. Each kill waits for its phase, and then for a random moment of its
part of that phase. A kill counts where it met its phase, and the run of that phase was at work in the store. Any other
part is tried again, somewhat earlier: a phase on a busy machine is shorter or longer than it was the last time.

After every kill the store opens, the promoted bundle verifies, and the next cycle completes; in the end no annotation
is lost or doubled, no task carries two predictions of one version, and the store knows what each task shows.
"""

from __future__ import annotations

import os
import signal
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib import import_module
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest
from sqlalchemy import select

from loop.label_studio.client import LabelStudioClient
from loop.service import cycle as steps
from loop.service.cycle import STEPS, Cycle, LoggedTraining, StepCounts
from loop.service.service import Service
from loop.settings.settings import Settings
from loop.settings.template import config_of_labels, scaffold
from loop.sync.connect import link_project
from loop.sync.publish import PublishCounts, publish
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import to_result
from ner.models.bundle import load_bundle
from ner.spans import Span
from store.database.schema import HOLDOUT, AnnotationVersion, Project, Run
from store.database.session import open_store
from store.documents import open_documents
from store.predictions import predictions
from store.projects import project_by_id, project_by_name
from store.registry import promoted
from store.runs import INTERRUPTED, RUNNING
from tests.loop import tiny
from tests.server.real_label_studio import RealLabelStudio

# Each phase is cut into so many parts, and killed once in each.
PARTS = int(os.environ.get("LOOP_KILLS", "2"))
PHASES = ("pull", "retrain", "export", "promote", "publish")
# What a cycle imports when it first needs it, seconds of work: the forked cycles find it imported.
HEAVY = ("onnxruntime.quantization", "peft.utils", "seqeval.metrics", "torch.onnx")
# Which kind of run is at work in a phase, where it is not named like the phase.
_RUN_OF = {"export": "retrain"}
# The step "publish" opens the model first, for longer than it publishes: the phase begins with the publishing itself.
_BY_STEP = {"evaluate and promote": "promote", "publish": "open"}
_BY_STAGE = {"preparing": "retrain", "training": "retrain", "exporting": "export", "checking": "export"}
_POLL_SECONDS = 0.001
# A phase that had nothing to do takes less; its length says nothing of the next one.
_SKIPPED_SECONDS = 0.1
TRIES = 8
# How much earlier the next kill comes after each that came too late.
_EARLIER = 0.8
START, NAME = 60, "killed"
CONFIG = f"""
[project]
name = "{NAME}"
[service]
retrain_after = 1
[promotion]
least_documents = 1
reference = false
robustness = 0
timed = 0
"""


@dataclass(frozen=True)
class Diary:
    """Where a cycle at work writes down which phase began, and when (by the clock that all processes share)."""

    path: Path

    def note(self, phase: str) -> None:
        with self.path.open("a") as stream:
            stream.write(f"{phase}\t{time.monotonic()}\n")

    def entries(self) -> list[tuple[str, float]]:
        """(phase, when it began); a line cut short by a kill is left out."""
        lines = self.path.read_text().splitlines(keepends=True) if self.path.exists() else []
        return [(line.split("\t")[0], float(line.split("\t")[1])) for line in lines if line.endswith("\n")]

    def phase(self) -> str | None:
        """The phase that is at work."""
        entries = self.entries()
        return entries[-1][0] if entries else None

    def lengths(self) -> dict[str, float]:
        """Seconds spent in each phase, from its beginning to the next entry."""
        spent: dict[str, float] = {}
        for (phase, begin), (_, end) in pairwise(self.entries()):
            spent[phase] = spent.get(phase, 0.0) + end - begin
        return spent

    def step(self, name: str, step: Callable[[Cycle], StepCounts]) -> tuple[str, Callable[[Cycle], StepCounts]]:
        """The step, which writes down that it begins."""

        def noted(cycle: Cycle) -> StepCounts:
            self.note(_BY_STEP.get(name, name))
            return step(cycle)

        return name, noted

    def publishing(self, *given: Any, **named: Any) -> PublishCounts:
        """Publish, and write down that the publishing begins."""
        self.note("publish")
        return publish(*given, **named)

    def training(self) -> LoggedTraining:
        """What retrain reports to, which writes its stages down."""
        diary = self

        class Noted(LoggedTraining):
            def stage(self, name: str) -> None:
                diary.note(_BY_STAGE[name])
                super().stage(name)

        return Noted()


@dataclass
class Victim:
    """A project whose cycles run in processes of their own. No store is open here while one is forked."""

    settings: Settings
    url: str
    token: str
    project_id: int
    ls_project_id: int
    folder: Path
    diary: Diary = field(init=False)

    def __post_init__(self) -> None:
        self.diary = Diary(self.folder / "phases.txt")

    @property
    def client(self) -> LabelStudioClient:
        return LabelStudioClient(self.url, self.token)

    def begin(self) -> int:
        """Fork a process that runs one cycle and exits with 0 if no step failed; its pid."""
        self.diary.path.unlink(missing_ok=True)
        pid = os.fork()
        if pid:
            return pid
        code = 1
        try:
            steps.LoggedTraining = self.diary.training  # type: ignore[assignment,misc]
            steps.publish = self.diary.publishing
            cycle = Cycle(open_store(self.settings.store_url), self.client, self.settings, self.project_id)
            service = Service(cycle, [self.diary.step(name, step) for name, step in STEPS])
            service._recover()
            failed = service.run_cycle().failed
            (self.folder / "failed.txt").write_text("\n".join(f"{step.name}: {step.detail}" for step in failed))
            code = 3 if failed else 0
        finally:
            self.diary.note("end")
            os._exit(code)

    def complete(self) -> dict[str, float]:
        """Run a cycle to its end; the seconds that each phase took."""
        _, status = os.waitpid(self.begin(), 0)
        assert os.waitstatus_to_exitcode(status) == 0, (self.folder / "failed.txt").read_text()
        return self.diary.lengths()

    def kill_in(self, phase: str, seconds: float) -> str | None:
        """Run a cycle and kill it `seconds` into a phase; the phase it died in, None when no run of it was at work."""
        pid = self.begin()
        while self.diary.phase() not in (phase, "end"):
            if os.waitpid(pid, os.WNOHANG)[0]:
                return None  # it ended by itself, or somebody else's kill met it
            time.sleep(_POLL_SECONDS)
        time.sleep(seconds)
        os.kill(pid, signal.SIGKILL)
        _, status = os.waitpid(pid, 0)
        died_in = self.diary.phase() if os.waitstatus_to_exitcode(status) == -signal.SIGKILL else None
        return died_in if died_in and _RUN_OF.get(died_in, died_in) in _kinds_of_runs(self, RUNNING) else None

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
    for name in HEAVY:
        import_module(name)
    home = tmp_path / "project"
    scaffold(home, NAME, config_of_labels(",".join(tiny.LABELS)), salt="salt")
    (home / "loop.toml").write_text(CONFIG, "utf-8")
    train = tiny.train_settings(tiny.encoder(tmp_path / "encoder"))
    settings = Settings.load(home, {}).model_copy(update={"train": train})
    store = open_store(settings.store_url)
    with store.read() as session:
        project: Project = project_by_name(session, NAME)
    linked = link_project(store, client, project.id)
    store.close()
    token = label_studio.first.token
    return Victim(settings, client.url, token, project.id, linked.ls_project_id, tmp_path)


@pytest.mark.training
@pytest.mark.timeout(3600)
def test_nothing_is_lost_doubled_or_broken_by_kills(victim: Victim) -> None:
    draw, hits, misses = Random(2026), set[tuple[str, int]](), Counter[tuple[str, int]]()
    planned = [(phase, part) for part in range(PARTS) for phase in PHASES]
    work = Work(victim, iter(tiny.corpus(START + 3 * TRIES * len(planned))), [])
    work.add(START, START - 4)
    usual = victim.complete()
    victim.promoted_verifies()
    # From the good model on, short trainings will do: what counts is that there is one to kill.
    quick = victim.settings.train.changed(passes=2)
    victim.settings = victim.settings.model_copy(update={"train": quick})
    for phase, part in planned * TRIES:
        if (phase, part) in hits:
            continue
        work.add(3, 2)  # two labelled: were one alone drawn into the holdout, there would be nothing to train on
        moment = draw.uniform(part, part + 1) / PARTS * usual[phase] * _EARLIER ** misses[phase, part]
        if victim.kill_in(phase, moment) == phase:
            hits.add((phase, part))
        misses[phase, part] += 1
        victim.promoted_verifies()
        usual |= {name: seconds for name, seconds in victim.complete().items() if seconds > _SKIPPED_SECONDS}
    _nothing_lost_or_doubled(victim, work.submitted)
    assert hits == set(planned)
    assert {"pull", "retrain", "promote", "publish"} <= _kinds_of_runs(victim, INTERRUPTED)


def _nothing_lost_or_doubled(victim: Victim, submitted: list[str]) -> None:
    store = open_store(victim.settings.store_url)
    version = AnnotationVersion
    with store.read() as session:
        rows = session.execute(select(version.source_id, version.sequence, version.deleted)).all()
        serving = promoted(session, victim.project_id)
        noted = predictions(session, serving.version) if serving else {}
        documents = open_documents(session, victim.project_id, tasks_only=True)
    store.close()
    assert sorted((str(row[0]), row[1], row[2]) for row in rows) == sorted((name, 1, False) for name in submitted)
    assert serving is not None
    carried = _predictions(victim)
    assert {len(results) for results in carried.values()} == {1}
    open_tasks = victim.client.open_tasks_without(victim.ls_project_id, serving.version)
    assert open_tasks == set()
    for document in documents:
        row = noted[document.document_id]
        (result,) = carried[document.ls_task_id or 0, serving.version]
        assert row.confirmed_at is not None
        assert row.holdout is (document.split == HOLDOUT)
        assert bool(row.spans) is bool(result)
        assert not (row.holdout and result)


def _predictions(victim: Victim) -> dict[tuple[int, str], list[Any]]:
    """The results of the predictions by task and version."""
    client, found = victim.client, defaultdict[tuple[int, str], list[Any]](list)
    tasks = sorted(client.task_ids(victim.ls_project_id, 0, 2**53))
    for task_id, predicted in client.predictions(victim.ls_project_id, tasks).items():
        for shown in predicted:
            found[task_id, str(shown["model_version"])].append(shown["result"])
    return found


def _kinds_of_runs(victim: Victim, state: str) -> set[str]:
    store = open_store(victim.settings.store_url)
    with store.read() as session:
        kinds = set(session.scalars(select(Run.kind).where(Run.state == state)))
    store.close()
    return kinds
