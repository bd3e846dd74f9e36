"""A team's installation at work: the services of `docker-compose.yml` with two backends, and what is asked of them.

Where the store is, which key Label Studio takes and which project is linked are read from the running `loop` service.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import make_url, select

from loop.label_studio.client import LabelStudioClient
from loop.settings.template import config_of_labels
from loop.settings.toml_text import with_values
from ner.documents import LabelledText
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import task_text, to_result
from store.database.schema import Project
from store.database.session import Store, open_store
from tests.loop import tiny
from tests.topology.accounts import Annotation, Request, in_label_studio, in_store, requests_in
from tests.topology.compose import Service
from tests.topology.container import Bind, Container
from tests.topology.images import REPOSITORY
from tests.topology.load import Annotators
from tests.topology.network import Network
from tests.topology.topology import Topology

BACKENDS = ("backend-1", "backend-2")
_ASK = (
    "import json; from loop.settings.settings import Settings; s = Settings.load(); "
    "print(json.dumps([s.store_url, s.label_studio.api_key, s.project_name]))"
)
_BACK_SECONDS, _MODEL_SECONDS = 180.0, 240.0
_PAGE, _RETRAIN_AFTER = 500, 35
_EXAMPLE = "desk"
# They find nothing in the texts, so that the first model is made of annotations.
_FUNCTIONS = """
from weak_labeling.functions import labeling_function
from weak_labeling.heuristics import regex

beos = labeling_function(name="beos")(regex(r"\\bBeOS\\b", "OS"))
"""


@dataclass
class Team:
    """A started topology, and its project."""

    topology: Topology

    @cached_property
    def label_studio(self) -> Container:
        return self.topology[self._by_image("label-studio")]

    @cached_property
    def postgres(self) -> Container:
        return self.topology[self._by_image("postgres")]

    @cached_property
    def loop(self) -> Container:
        return self.topology["loop"]

    @cached_property
    def store(self) -> Store:
        """The store that the loop works on."""
        url = make_url(self._settings[0])
        assert url.host == self._by_image("postgres")
        return open_store(url.set(host=self.postgres.member.address).render_as_string(hide_password=False))

    @cached_property
    def client(self) -> LabelStudioClient:
        """Label Studio, with the key of the loop."""
        return LabelStudioClient(f"http://{self.label_studio.member.address}:8080", self.key)

    @property
    def key(self) -> str:
        return str(self._settings[1])

    @property
    def project(self) -> Project:
        """The project's row as it is now."""
        with self.store.read() as session:
            return session.scalars(select(Project).where(Project.name == self._settings[2])).one()

    @cached_property
    def ls_project_id(self) -> int:
        return int(self.project.ls_project_id or 0)

    def annotators(self, gold: Sequence[LabelledText], people: int = 3, pace: float = 0.5) -> Annotators:
        """People who will answer every task with its gold."""
        config = LabelConfig.parse(str(self.client.project(self.ls_project_id)["label_config"]))
        spans = {item.text: item.spans for item in gold}
        answers = []
        for task in self._tasks():
            text = task_text(task, config)
            answers.append((int(task["id"]), to_result(spans[text], text, config)))
        return Annotators(self.topology.network, self.client.url, self.key, answers, people, pace)

    def visitor(self, name: str, threads: int, pause: float) -> Visitor:
        """A container that asks `backend` for predictions, by the name that Label Studio uses."""
        folder = self.topology.folder / name
        folder.mkdir()
        folder.chmod(0o777)
        host = (*self._backend.aliases, self._backend.name)[0]
        url, out = f"http://{host}:{self._backend_port}", "/out/requests.jsonl"
        words = [sys.executable, "-m", "tests.topology.visitor", url, str(self.ls_project_id), out]
        visitor = self.topology.add(self._backend, name, [*words, str(threads), str(pause)])
        visitor.binds = [*visitor.binds, Bind(folder, "/out")]
        visitor.work_dir = str(REPOSITORY)
        return Visitor(visitor, folder / "requests.jsonl")

    def health(self, name: str) -> Mapping[str, Any]:
        """What a backend's `/health` says."""
        code = f"import urllib.request as u; print(u.urlopen('http://127.0.0.1:{self._backend_port}/health').read().decode())"
        answer = self.topology[name].run(["python", "-c", code])
        assert answer.returncode == 0, answer.stderr
        return dict(json.loads(answer.stdout))

    def wait_until_back(self, container: Container) -> None:
        """Wait for a container's health check."""
        self.topology.wait_until(lambda: self.topology.is_healthy(container), f"{container.name} again", _BACK_SECONDS)

    def open_task(self) -> dict[str, Any]:
        """The task that the queue offers next."""
        task = self.client.next_task(self.ls_project_id)
        assert task is not None
        return dict(task)

    def wait_for_a_model(self) -> str:
        """Wait until one promoted version answers in both backends and shows in Label Studio; the version."""

        def is_served() -> bool:
            version = self.project.promoted_version
            if version is None or not self.open_task()["predictions"]:
                return False
            found = [one["model_version"] for name in BACKENDS for one in self.health(name)["projects"].values()]
            return found == [version] * len(BACKENDS)

        self.topology.wait_until(is_served, "a model is in service", _MODEL_SECONDS)
        return str(self.project.promoted_version)

    def agreed(self) -> dict[str, Annotation]:
        """Every annotation by its id, once the store holds exactly what Label Studio lists."""
        there: dict[str, Annotation] = {}

        def agree() -> bool:
            there.clear()
            there.update(in_label_studio(self.client, self.ls_project_id))
            return in_store(self.store) == there

        self.topology.wait_until(agree, "the store holds what Label Studio lists", _BACK_SECONDS)
        return there

    @property
    def _backend(self) -> Service:
        return self.topology.services["backend"]

    @property
    def _backend_port(self) -> str:
        return self._backend.environment.get("PORT", "9090")

    @cached_property
    def _settings(self) -> list[str]:
        answer = self.loop.run(["python", "-c", _ASK])
        assert answer.returncode == 0, answer.stderr
        return list(json.loads(answer.stdout))

    def _by_image(self, word: str) -> str:
        return next(name for name, service in self.topology.services.items() if word in service.image)

    def _tasks(self) -> Iterator[dict[str, Any]]:
        wanted = {"project": self.ls_project_id, "fields": "all", "page_size": _PAGE}
        number = self.client.task_number(self.ls_project_id)
        for page in range(1, -(-number // _PAGE) + 1):
            yield from self.client.http.get("/api/tasks", {**wanted, "page": page})["tasks"]


@dataclass
class Visitor:
    """A client of the backends, and where it writes down its requests."""

    container: Container
    requests: Path

    @contextmanager
    def at_work(self) -> Iterator[None]:
        """Requests, one after another, until the block ends."""
        self.container.start()
        try:
            deadline = time.monotonic() + 30
            while not (self.requests.exists() and self.requests.stat().st_size):
                assert time.monotonic() < deadline, self.container.log
                time.sleep(0.05)
            yield
        finally:
            self.container.stop(60)

    def made(self) -> list[Request]:
        """Every request so far."""
        return requests_in(self.requests)


def quick_training(home: Path, encoder: str) -> None:
    """Write settings into loop.toml under which a tiny encoder learns in seconds, and promotions take no longer."""
    train = {"encoder": encoder, "max_length": 24, "rank": 4, "alpha": 8, "learning_rate": 1e-2, "batch_size": 8}
    train |= {"warm_learning_rate": 5e-3, "passes": 6, "averaging": 0.9, "encoder_dropout": 0.0, "threads": 1}
    promotion = {"reference": False, "robustness": 0, "timed": 0, "unlabelled": 0, "resamples": 1000}
    promotion["first_model"] = "gates"
    values: dict[str, Any] = {f"train.{key}": value for key, value in train.items()}
    values |= {f"promotion.{key}": value for key, value in promotion.items()}
    values["service.retrain_after"] = _RETRAIN_AFTER
    config = home / "loop.toml"
    config.write_text(with_values(config.read_text("utf-8"), values), "utf-8")


def gold(number: int) -> list[LabelledText]:
    """The texts of the project, with their gold."""
    return [LabelledText(f"d{place}", text, spans) for place, (text, spans) in enumerate(tiny.corpus(number))]


@contextmanager
def working(folder: Path, texts: Sequence[LabelledText]) -> Iterator[Team]:
    """The whole installation until the block ends, its project made of these texts as an example of its own."""
    with Network() as network:
        topology = Topology(
            folder,
            network,
            environ={"EXAMPLE": _EXAMPLE},
            replicas={"backend": len(BACKENDS)},
            instead={"/app/examples": _example(folder / "examples" / _EXAMPLE, texts)},
        )
        for file in tiny.encoder(topology.volume("project") / "encoder").iterdir():
            file.chmod(0o644)
        home = topology.volume("project") / _EXAMPLE
        topology.before["loop"] = lambda: quick_training(home, "/project/encoder")
        try:
            topology.up()
            with network.here():
                yield Team(topology)
        finally:
            topology.down()
            _keep_logs(topology)


def _example(folder: Path, texts: Sequence[LabelledText]) -> Path:
    """An example project in its own folder; the folder of all examples."""
    (folder / "gazetteers").mkdir(parents=True)
    (folder / "name.txt").write_text("Desk\n")
    (folder / "labeling_functions.py").write_text(_FUNCTIONS)
    (folder / "labels.xml").write_text(config_of_labels(",".join(tiny.LABELS)), "utf-8")
    lines = (json.dumps({"id": item.id, "text": item.text}) for item in texts)
    (folder / "tasks.jsonl").write_text("\n".join(lines) + "\n", "utf-8")
    return folder.parent


def _keep_logs(topology: Topology) -> None:
    """Copy the logs where the environment asks for that."""
    kept = os.environ.get("TOPOLOGY_LOGS")
    for name, container in topology.containers.items() if kept else ():
        Path(str(kept)).mkdir(parents=True, exist_ok=True)
        (Path(str(kept)) / f"{name}.log").write_text(container.log, "utf-8")
