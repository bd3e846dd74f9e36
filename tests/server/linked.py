"""A project in the store and in a real Label Studio, tied together, with a model that looks words up."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loop.label_studio.client import LabelStudioClient, Patience, TaskPage, TaskQuery
from loop.sync.connect import link_project
from ner.models.bundle import load_bundle
from ner.tagger import Tagger
from store.database.schema import Project
from store.database.session import Store
from store.projects import create_project, project_by_id
from tests.fakes import CONFIG, tiny_bundle
from tests.server.real_label_studio import RealLabelStudio
from tests.store import given

LABELS = ("SOFTWARE", "OS")


@dataclass(frozen=True)
class Linked:
    """Both sides of one project."""

    store: Store
    client: LabelStudioClient
    project: Project

    @property
    def ls_id(self) -> int:
        return int(self.project.ls_project_id or 0)

    def add(self, texts: Iterable[str]) -> list[int]:
        """Import texts as tasks; the ids of all tasks, in order."""
        self.client.import_tasks(self.ls_id, [{"data": {"text": text}} for text in texts])
        return self.task_ids()

    def task_ids(self) -> list[int]:
        return sorted(self.client.task_ids(self.ls_id, 0, 2**53))

    def annotate(self, task_id: int, *spans: tuple[int, int, str], **fields: Any) -> dict[str, Any]:
        result = [region(*span) for span in spans]
        return self.client.submit_annotation(task_id, {"result": result, "lead_time": 2.0, **fields})

    def task(self, task_id: int) -> dict[str, Any]:
        return dict(self.client.http.get(f"/api/tasks/{task_id}/"))

    def act(self, action: str, task_ids: Iterable[int]) -> None:
        """A bulk action of the data manager."""
        selected = {"selectedItems": {"all": False, "included": list(task_ids)}}
        self.client.http.post("/api/dm/actions", selected, {"id": action, "project": self.ls_id})

    def promoted_tagger(self, folder: Path, words: dict[str, str], certainty: dict[str, float]) -> Tagger:
        """The next version, promoted: it tags the words it knows."""
        version = given.promoted(self.store, self.project.id)
        path = tiny_bundle(folder / version, LABELS, words, certainty=certainty, version=version)
        return Tagger(load_bundle(path))


def region(start: int, end: int, label: str) -> dict[str, Any]:
    value = {"start": start, "end": end, "labels": [label]}
    return {"id": f"r{start}-{end}", "from_name": "label", "to_name": "text", "type": "labels", "value": value}


def make_linked(store: Store, client: LabelStudioClient, title: str, *, holdout_share: float = 0.0) -> Linked:
    """A new project on both sides."""
    with store.transaction() as tx:
        made = create_project(
            tx, title, label_config=CONFIG, labels=list(LABELS), holdout_share=holdout_share, salt="s"
        )
        tx.commit()
    link_project(store, client, made.id)
    with store.read() as session:
        return Linked(store, client, project_by_id(session, made.id))


class StopsAfter(LabelStudioClient):
    """A client that does not wait, on a server that is stopped once so many pages of tasks were read."""

    def __init__(self, server: RealLabelStudio, pages: int) -> None:
        super().__init__(server.url, server.first.token, patience=Patience(retries=0))
        self.server, self.pages = server, pages

    def tasks_page(self, project_id: int, query: TaskQuery, page_size: int) -> TaskPage:
        if self.pages == 0:
            self.server.stop()
        self.pages -= 1
        return super().tasks_page(project_id, query, page_size)
