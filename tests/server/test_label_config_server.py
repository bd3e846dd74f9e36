"""A label config with nested fields, own names and two Labels over one Text, on the real server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loop.label_studio.client import LabelStudioClient
from loop.sync.config_check import ForeignRegions
from loop.sync.connect import link_project, make_tasks
from loop.sync.publish import publish
from loop.sync.pull import pull
from ner.errors import ConfigError
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import task_text
from ner.models.bundle import load_bundle
from ner.tagger import Tagger
from store.database.schema import Project
from store.database.session import Store, open_store
from store.documents import NewDocument, add_documents
from store.gold import gold
from store.projects import create_project, project_by_id
from tests.fakes import tiny_bundle
from tests.store import given

LABELS = ("SOFTWARE", "OS", "ERROR")
CONFIG = """<View>
  <Labels name="products" toName="message"><Label value="SOFTWARE"/><Label value="OS"/></Labels>
  <Labels name="faults" toName="message"><Label value="ERROR"/><Label value="OS"/></Labels>
  <Text name="message" value="$data.body"/>
</View>"""
TEXT = "Excel froze on Windows"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = open_store(f"sqlite:///{tmp_path / 'loop.db'}")
    yield opened
    opened.close()


@pytest.fixture
def project(store: Store) -> Project:
    with store.transaction() as tx:
        made = create_project(tx, "two controls", label_config=CONFIG, labels=LABELS, holdout_share=0.0)
        tx.commit()
    return made


def now(store: Store, project: Project) -> Project:
    with store.read() as session:
        return project_by_id(session, project.id)


def region(from_name: str, start: int, end: int, label: str) -> dict[str, Any]:
    value = {"start": start, "end": end, "text": TEXT[start:end], "labels": [label]}
    return {"id": f"r{start}", "from_name": from_name, "to_name": "message", "type": "labels", "value": value}


def test_predictions_are_stored_with_the_control_of_each_label_and_annotations_of_all_come_back(
    store: Store, client: LabelStudioClient, project: Project, tmp_path: Path
) -> None:
    with store.transaction() as tx:
        add_documents(tx, project.id, [NewDocument(text=TEXT)])
        tx.commit()
    linked = link_project(store, client, project.id)
    assert make_tasks(store, client, now(store, project)) == 1
    version = given.promoted(store, project.id)
    words = {"excel": "SOFTWARE", "froze": "ERROR", "windows": "OS"}
    tagger = Tagger(load_bundle(tiny_bundle(tmp_path / version, LABELS, words, version=version)))
    assert publish(store, client, now(store, project), tagger).created == 1

    task = client.next_task(linked.ls_project_id)
    assert task is not None
    assert task["data"] == {"data": {"body": TEXT}}
    (prediction,) = task["predictions"]
    assert [(one["from_name"], one["value"]["text"]) for one in prediction["result"]] == [
        ("products", "Excel"),
        ("faults", "froze"),
        ("products", "Windows"),
    ]

    drawn = [region("products", 0, 5, "SOFTWARE"), region("faults", 6, 11, "ERROR"), region("faults", 15, 22, "OS")]
    client.submit_annotation(int(task["id"]), {"result": drawn, "lead_time": 2.0})
    assert pull(store, client, now(store, project)).set_aside == {}
    with store.read() as session:
        (document,) = gold(session, project.id)
    assert [(span.start, span.end, span.label) for span in document.spans] == [
        (0, 5, "SOFTWARE"),
        (6, 11, "ERROR"),
        (15, 22, "OS"),
    ]


def test_a_project_is_checked_by_what_it_holds_before_it_is_linked(
    store: Store, client: LabelStudioClient, project: Project
) -> None:
    there = client.create_project("as it was made", CONFIG)["id"]
    result = [region("ner_tags", 0, 5, "SOFTWARE"), region("products", 15, 22, "System")]
    annotated = [{"result": result}]
    client.import_tasks(there, [{"data": {"data": {"body": TEXT}, "id": "a"}, "annotations": annotated}])
    check = link_project(store, client, project.id, ls_project_id=there).check
    assert check is not None
    assert (check.tasks_read, check.without_text, check.labels_added, check.labels_removed) == (1, 0, (), ())
    assert check.foreign == (ForeignRegions("ner_tags", "message", 1),)
    assert (check.doubts.documents, check.doubts.labels) == (1, {"System": 1})

    client.update_project(there, label_config=CONFIG.replace("$data.body", "$text"))
    with pytest.raises(ConfigError, match=r"'text'.*got fields data\.body, id"):
        link_project(store, client, project.id, ls_project_id=there)


def test_the_server_takes_the_values_that_are_shown_as_texts(client: LabelStudioClient) -> None:
    made = client.create_project("values", CONFIG)["id"]
    values: list[Any] = [3.0, 12345, True, ["Excel", "froze"], TEXT]
    client.import_tasks(made, [{"data": {"data": {"body": value}}} for value in values])
    config = LabelConfig.parse(CONFIG)
    ids = sorted(client.task_ids(made, 0, 2**53))
    tasks = [client.http.get(f"/api/tasks/{task_id}/") for task_id in ids]
    assert [task_text(task, config) for task in tasks] == ["3", "12345", "true", "Excel,froze", TEXT]
