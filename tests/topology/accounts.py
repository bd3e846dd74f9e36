"""What annotations there are, by Label Studio's own list and by the store, in one form that can be compared."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import select

from loop.label_studio.client import LabelStudioClient
from store.annotations import LABEL_STUDIO
from store.database.schema import AnnotationVersion, Document
from store.database.session import Store

Regions = tuple[tuple[int, int, str], ...]


@dataclass(frozen=True)
class Annotation:
    """One annotation: its task, whether the task was skipped, and (start, end, label) of its regions, sorted."""

    task: int
    skipped: bool
    regions: Regions


def in_label_studio(client: LabelStudioClient, project_id: int) -> dict[str, Annotation]:
    """Every annotation by its id, as Label Studio exports it: another route than the one that a pull reads."""
    wanted = {"exportType": "JSON", "download_all_tasks": "true"}
    tasks = client.http.get(f"/api/projects/{project_id}/export", wanted, bulk=True)
    return {
        str(one["id"]): Annotation(task["id"], bool(one["was_cancelled"]), _regions(one["result"]))
        for task in tasks
        for one in task["annotations"]
    }


def in_store(store: Store) -> dict[str, Annotation]:
    """Every live annotation of Label Studio's by its id. Raises AssertionError for one that is there twice."""
    version = AnnotationVersion
    query = (
        select(version.source_id, version.document_id, version.deleted, version.skipped, version.result)
        .where(version.source == LABEL_STUDIO)
        .order_by(version.sequence)
    )
    with store.read() as session:
        tasks = {row.id: row.ls_task_id for row in session.execute(select(Document.id, Document.ls_task_id))}
        latest = {(row.source_id, row.document_id): row for row in session.execute(query)}
    live = [row for row in latest.values() if not row.deleted]
    doubled = [name for name, number in Counter(row.source_id for row in live).items() if number > 1]
    assert not doubled, f"in the store twice: {doubled}"
    return {row.source_id: Annotation(tasks[row.document_id], row.skipped, _regions(row.result)) for row in live}


def repeated_versions(store: Store) -> list[str]:
    """The ids of annotations of which two versions in a row are the same."""
    version = AnnotationVersion
    query = select(version.source_id, version.document_id, version.digest).order_by(version.sequence)
    last: dict[tuple[str, int], str] = {}
    found = []
    with store.read() as session:
        for name, document, digest in session.execute(query):
            if last.get((name, document)) == digest:
                found.append(name)
            last[name, document] = digest
    return found


@dataclass(frozen=True)
class Request:
    """One request of a visitor; times in seconds of the clock that all processes share."""

    began: float
    ended: float
    status: int
    error: str
    version: str | None

    @property
    def failed(self) -> bool:
        return self.status != 200


def requests_in(path: Path) -> list[Request]:
    """What a visitor wrote down."""
    return [Request(**json.loads(line)) for line in path.read_text().splitlines() if line.endswith("}")]


def _regions(result: Iterable[Mapping[str, Any]]) -> Regions:
    values = [region["value"] for region in result]
    return tuple(sorted((value["start"], value["end"], value["labels"][0]) for value in values))
