"""What tests of the backend start from: a store with a project, its models on disk, and a running backend."""

from __future__ import annotations

import http.client
import json
import os
import re
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from ml_backend.settings import ServerSettings
from store.database.session import Store
from store.documents import NewDocument
from store.holdout import HoldoutTerms, rotate, spend_look
from store.projects import create_project, link
from store.registry import finish_model, promote, rollback, start_model
from store.runs import begin_run
from store.splits import current_epoch
from store.tasks import upsert_tasks
from tests.fakes import tiny_bundle
from tests.store.empty import new_store

LS_URL = "http://label-studio.test"
LABELS = ("SOFTWARE", "OS")
CONFIG = """<View><Labels name="spans" toName="message"><Label value="SOFTWARE"/><Label value="OS"/></Labels>
<Text name="message" value="$body"/></View>"""
OTHER_CONFIG = CONFIG.replace('"OS"', '"ERROR"')
WORDS = {"windows": "OS", "excel": "SOFTWARE"}


@dataclass
class Home:
    """A store and a model folder with one project, linked to Label Studio's project 7."""

    folder: Path
    store: Store
    project_id: int
    ls_project_id: int = 7

    @property
    def settings(self) -> ServerSettings:
        """Settings of a backend on this store that polls often."""
        return ServerSettings(self.store_url, self.model_dir, poll_seconds=0.05)

    @property
    def store_url(self) -> str:
        return _store_url(self.folder)

    @property
    def model_dir(self) -> Path:
        return self.folder / "models"

    def model(
        self,
        words: Mapping[str, str] = WORDS,
        labels: Sequence[str] = LABELS,
        project_id: int | None = None,
        **more: Any,
    ) -> str:
        """The version of a new candidate that knows these words; its folder is written."""
        project_id = project_id or self.project_id
        with self.store.transaction() as tx:
            run = begin_run(tx, project_id, "retrain")
            made = start_model(
                tx, project_id, run_id=run.id, encoder="tiny", seed=1, settings={}, libraries={}, data_fingerprint="0"
            )
            finish_model(tx, made.version, files={})
            tx.commit()
        tiny_bundle(self.model_dir / made.path, labels, words, **({"version": made.version} | more))
        return made.version

    def promote(self, version: str, project_id: int | None = None) -> str:
        with self.store.transaction() as tx:
            promote(tx, project_id or self.project_id, version, reason="a test", who="a test", force=True)
            tx.commit()
        return version

    def roll_back(self) -> None:
        with self.store.transaction() as tx:
            rollback(tx, self.project_id, reason="a test", who="a test")
            tx.commit()

    def pulled(self, tasks: Mapping[int, str], groups: Mapping[int, str] = MappingProxyType({})) -> None:
        """Store these texts as Label Studio tasks, as a pull does; `groups` names the group of a task that has one."""
        documents = [NewDocument(text, ls_task_id=key, group=groups.get(key)) for key, text in tasks.items()]
        with self.store.transaction() as tx:
            upsert_tasks(tx, self.project_id, documents)
            tx.commit()

    def rotate_holdout(self) -> int:
        """Spend a look at the holdout, retire it and draw the next one; the number of the new holdout."""
        version = self.model()
        with self.store.transaction() as tx:
            spend_look(
                tx,
                self.project_id,
                current_epoch(tx.session, self.project_id),
                version,
                "0" * 64,
                default=HoldoutTerms(0.05, 1, "even"),
                alpha_of=lambda _schedule, alpha, _looks, _number: alpha,
            )
            done = rotate(tx, self.project_id)
            tx.commit()
        assert done is not None
        return done.epoch

    @contextmanager
    def store_away(self) -> Iterator[None]:
        """The store's file is somewhere else until the end of the block."""
        self.store.close()
        database, elsewhere = self.folder / "loop.db", self.folder / "elsewhere.db"
        database.rename(elsewhere)
        try:
            yield
        finally:
            database.unlink(missing_ok=True)
            elsewhere.rename(database)

    def environ(self, **more: str) -> dict[str, str]:
        """The environment of a backend on this store."""
        own = {"LOOP_STORE_URL": self.store_url, "MODEL_DIR": str(self.model_dir), "POLL_SECONDS": "0.05"}
        return {**os.environ, **own, "PORT": "0", **more}


def _store_url(folder: Path) -> str:
    return f"sqlite:///{folder / 'loop.db'}"


def make_home(folder: Path, *, share: float = 0.0) -> Home:
    """A store with one linked project; no model yet. Nothing is held out unless a share is given."""
    store = new_store(folder / "loop.db")
    home = Home(folder, store, 0)
    home.project_id = make_project(home, "IT Support", home.ls_project_id, share=share)
    return home


def make_project(home: Home, name: str, ls_project_id: int, *, share: float = 0.0, ls_url: str = LS_URL) -> int:
    """The id of a new project linked to Label Studio's `ls_project_id`."""
    with home.store.transaction() as tx:
        made = create_project(tx, name, label_config=CONFIG, labels=LABELS, holdout_share=share, salt="salt")
        link(tx, made.id, ls_url, ls_project_id)
        tx.commit()
    return made.id


def task(text: object, task_id: int | None = 1, field: str = "body") -> dict[str, Any]:
    """A task as Label Studio sends it."""
    return {"id": task_id, "data": {field: text}, "meta": {}, "project": 7}


def request_body(*texts: object, config: str | None = CONFIG, project: object = "7.1795219575") -> dict[str, Any]:
    """A /predict body with a task for each text, numbered from 1."""
    tasks = [task(text, number) for number, text in enumerate(texts, 1)]
    context = {"login": None, "password": None, "context": None}
    return {"tasks": tasks, "project": project, "label_config": config, "params": context}


def until(true: Callable[[], object], seconds: float = 30.0) -> None:
    """Wait for what another thread or process will do; fails when it has not been done by then."""
    deadline = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < deadline, "waited in vain"
        time.sleep(0.01)


@dataclass
class RunningBackend:
    """A real server process."""

    process: subprocess.Popen[bytes]
    log: Path
    url: str


@contextmanager
def running(environ: Mapping[str, str], log: Path, *, ready: bool = True) -> Iterator[RunningBackend]:
    """`python -m ml_backend` until the end of the block, once it answers (or, unless `ready`, has begun to start)."""
    with log.open("wb") as file:
        process = subprocess.Popen([sys.executable, "-m", "ml_backend"], env=dict(environ), stderr=file, stdout=file)
    try:
        url = _address(process, log)
        if ready:
            until(lambda: _connects(url), 60)
        yield RunningBackend(process, log, url)
    finally:
        process.terminate()
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def _connects(url: str) -> bool:
    host, _, port = url.removeprefix("http://").partition(":")
    try:
        socket.create_connection((host, int(port)), timeout=30).close()
    except ConnectionRefusedError:
        return False
    return True


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        found = re.search(r"listening on (http://\S+)", log.read_text("utf-8"))
        if found:
            return found.group(1)
        time.sleep(0.05)
    raise RuntimeError(f"the backend did not start: {log.read_text('utf-8')}")


BODY = json.dumps(request_body("on windows")).encode()
TYPE = {"Content-Type": "application/json"}


@dataclass
class Caller:
    """Asks for predictions, on one connection or on a new one each time, until told to stop."""

    address: str
    keep_alive: bool
    stop: threading.Event
    versions: list[str] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)

    def run(self) -> None:
        connection = http.client.HTTPConnection(self.address, timeout=60)
        while not self.stop.is_set():
            try:
                connection.request("POST", "/predict", BODY, TYPE)
                answer = connection.getresponse()
                body = answer.read()
                if answer.status == 200:
                    self.versions.append(json.loads(body)["results"][0]["model_version"])
                else:
                    self.failures.append(f"{answer.status} {body!r}")
            except OSError as error:
                self.failures.append(repr(error))
            if not self.keep_alive:
                connection.close()
