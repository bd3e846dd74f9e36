"""Texts that were imported here become tasks in Label Studio; the next pull ties the two together."""

from __future__ import annotations

from typing import Any

from loop.label_studio_client import LabelStudioClient
from loop.pull import linked_project_id, pull
from ner.label_config import LabelConfig
from store.documents import StoredDocument, open_documents
from store.projects import project_by_id
from store.schema import Project
from store.session import Store


def push(store: Store, client: LabelStudioClient, project: Project) -> int:
    """Make tasks of the open documents that are none yet; gives how many. Safe to repeat, also after a kill.

    A pull before finds the tasks of a push that was cut short, and one after ties the new ones to their documents by
    the id that each task carries in its meta. Labelled documents stay here: their labels are known.
    """
    pull(store, client, project)
    with store.read() as session:
        row = project_by_id(session, project.id)
        waiting = [doc for doc in open_documents(session, project.id) if doc.ls_task_id is None]
    if not waiting:
        return 0
    field = LabelConfig.parse(row.label_config).data_field
    made = client.import_tasks(linked_project_id(row, client), [_task(document, field) for document in waiting])
    pull(store, client, project)
    return made


def _task(document: StoredDocument, field: str) -> dict[str, Any]:
    """The text as data, everything else as meta, where it is kept and not shown."""
    group = {"doc": document.group_key} if document.group_key != document.content_hash else {}
    return {
        "data": {field: document.text},
        "meta": {**document.meta, **group, "id": document.external_id},
    }
