"""Texts imported here become tasks there, once each, and stay the documents that they were."""

from __future__ import annotations

from pathlib import Path

from loop.files.importing import import_file
from loop.files.reading import Request
from loop.label_studio.client import LabelStudioClient
from loop.settings.template import config_of_labels
from loop.sync.connect import link_project, make_tasks
from ner.label_studio.label_config import LabelConfig
from store.database.session import open_store
from store.documents import stored_documents
from store.projects import create_project, project_by_id


def test_open_texts_become_tasks_once_and_keep_id_group_and_split(client: LabelStudioClient, tmp_path: Path):
    store = open_store(f"sqlite:///{tmp_path}/loop.db")
    with store.transaction() as tx:
        config = config_of_labels("OS")
        project = create_project(tx, "push", label_config=config, labels=["OS"], holdout_share=0.5)
        tx.commit()
    lines = [f'{{"id": "t{n}", "doc": "g{n % 10}", "text": "text {n}", "meta": {{"lang": "en"}}}}' for n in range(40)]
    lines.append('{"id": "gold", "text": "labelled already", "spans": []}')
    (tmp_path / "in.jsonl").write_text("\n".join(lines))
    import_file(store, project, tmp_path / "in.jsonl", "pool", Request(LabelConfig.parse(project.label_config)))
    with store.read() as session:
        before = {
            doc.external_id: (doc.split, doc.group_key, doc.text) for doc in stored_documents(session, project.id)
        }
    linked = link_project(store, client, project.id)
    assert make_tasks(store, client, project) == 40
    assert make_tasks(store, client, project) == 0
    with store.read() as session:
        documents = stored_documents(session, project.id)
        row = project_by_id(session, project.id)
    assert client.task_number(linked.ls_project_id) == 40
    assert {doc.external_id: (doc.split, doc.group_key, doc.text) for doc in documents} == before
    assert {doc.external_id for doc in documents if doc.ls_task_id is None} == {"gold"}
    assert row.pull_watermark is not None
    store.close()


def test_a_push_that_was_cut_short_before_its_pull_is_not_done_twice(client: LabelStudioClient, tmp_path: Path):
    store = open_store(f"sqlite:///{tmp_path}/loop.db")
    with store.transaction() as tx:
        project = create_project(tx, "cut", label_config=config_of_labels("OS"), labels=["OS"])
        tx.commit()
    (tmp_path / "in.jsonl").write_text('{"id": "a", "text": "one"}\n{"id": "b", "text": "two"}\n')
    import_file(store, project, tmp_path / "in.jsonl", "pool", Request(LabelConfig.parse(project.label_config)))
    linked = link_project(store, client, project.id)
    client.import_tasks(linked.ls_project_id, [{"data": {"text": "one"}, "meta": {"id": "a"}}])
    assert make_tasks(store, client, project) == 1
    assert client.task_number(linked.ls_project_id) == 2
    store.close()
