from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event, text

from store.annotations import LABEL_STUDIO, sync_annotations
from store.database.schema import Project
from store.database.session import Store, Transaction, open_store
from store.documents import NewDocument, add_documents
from store.predictions import reviewed_prelabels
from store.tasks import upsert_tasks
from tests.store import given

# What SQLite says of a step that reads every row of a table, or every document of a project.
WHOLE = re.compile(r"^SCAN (?!splits USING COVERING INDEX ix_splits_epoch)(?!CONSTANT)|\(project_id=\?\)$")


def plans(store: Store, work: Callable[[Transaction], object]) -> list[str]:
    """The steps of SQLite's plans for all reading that `work` does."""
    statements: list[tuple[str, Any]] = []

    def note(_: object, __: object, statement: str, parameters: Any, *___: object) -> None:
        if statement.lstrip().startswith("SELECT"):
            statements.append((statement, parameters))

    event.listen(store._engine, "before_cursor_execute", note)
    with store.transaction() as tx:
        work(tx)
    event.remove(store._engine, "before_cursor_execute", note)
    with store.read() as session:
        connection = session.connection()
        found = [connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {s}", p).all() for s, p in statements]
    return [row[3] for rows in found for row in rows]


@pytest.mark.parametrize(
    "work",
    [
        lambda tx, project: add_documents(tx, project, [NewDocument("new", external_id="new", group="g")]),
        lambda tx, project: upsert_tasks(tx, project, [given.task(1, "new"), given.task(7, "edited")]),
        lambda tx, project: sync_annotations(tx, LABEL_STUDIO, {1: [given.annotation(source=LABEL_STUDIO)]}),
    ],
    ids=["add_documents", "upsert_tasks", "sync_annotations"],
)
def test_what_a_pull_does_reads_no_more_of_a_larger_project(store_url: str, work: Callable[..., object]) -> None:
    store = open_store(store_url)
    project: Project = given.project(store)
    with store.transaction() as tx:
        upsert_tasks(tx, project.id, [given.task(7, "a text"), given.task(8, "another")])
        tx.commit()
    steps = plans(store, lambda tx: work(tx, project.id))
    assert steps
    assert [step for step in steps if WHOLE.search(step)] == []
    store.close()


def test_new_annotations_from_pre_labels_are_found_without_reading_the_older_ones(store_url: str) -> None:
    store = open_store(store_url)
    project = given.project(store)
    with store.transaction() as tx:
        upsert_tasks(tx, project.id, [given.task(7, "a text")])
        tx.commit()
    steps = plans(store, lambda tx: list(reviewed_prelabels(tx.session, project.id, after=5)))
    assert any(re.match(r"SEARCH annotation_versions USING INTEGER PRIMARY KEY \(rowid>\?\)", step) for step in steps)
    read_whole = [step for step in steps if WHOLE.search(step) and "promotions" not in step]
    assert [*read_whole, *(step for step in steps if "ORDER BY" in step)] == []
    store.close()


def test_a_plan_that_reads_a_whole_table_would_be_noticed(store_url: str) -> None:
    store = open_store(store_url)
    steps = plans(store, lambda tx: tx.session.execute(text("SELECT * FROM documents WHERE length(text) > 3")))
    assert [step for step in steps if WHOLE.search(step)] == ["SCAN documents"]
    store.close()
