from __future__ import annotations

import pytest
from sqlalchemy import event

from ner.documents import content_hash
from ner.errors import InputError
from store.database.schema import POOL, TRAIN, Project
from store.database.session import Store, chunks
from store.documents import (
    NewDocument,
    add_documents,
    check_key,
    count_open,
    insert_documents,
    open_documents,
    stored_documents,
)
from store.tasks import mark_deleted, upsert_tasks
from tests.store import given


def texts(store: Store, project: Project) -> list[tuple[str, str]]:
    with store.read() as session:
        return [(item.external_id, item.text) for item in stored_documents(session, project.id)]


def open_names(store: Store, project: Project, **options: bool) -> list[str]:
    with store.read() as session:
        return [item.external_id for item in open_documents(session, project.id, **options)]


def test_documents_come_back_as_they_were_given(store: Store, project: Project) -> None:
    text = "Gnome 🐧 crashes  on\tFedora\u2028"
    document = NewDocument(text, external_id="post-1", group="thread", meta={"author": "ana", "n": [1, None]})
    with store.transaction() as tx:
        added = add_documents(tx, project.id, [document], TRAIN)
        tx.commit()
    with store.read() as session:
        (found,) = stored_documents(session, project.id)
    assert (found.document_id,) == added.document_ids
    assert (found.external_id, found.group_key, found.text, found.split) == ("post-1", "thread", text, TRAIN)
    assert found.content_hash == content_hash(text)
    assert found.meta == {"author": "ana", "n": [1, None]}
    assert found.ls_task_id is None


def test_adding_the_same_documents_again_adds_none(store: Store, project: Project) -> None:
    first = given.documents(store, project.id, ["one", "two"])
    with store.transaction() as tx:
        again = [NewDocument(text, external_id=text) for text in ("two", "one", "three")]
        counts = add_documents(tx, project.id, again, TRAIN)
        tx.commit()
    assert (counts.added, counts.known, counts.splits) == (1, 2, {TRAIN: 1})
    assert counts.document_ids[:2] == (first[1], first[0])
    assert texts(store, project) == [("one", "one"), ("two", "two"), ("three", "three")]


def test_a_document_without_an_id_is_its_text(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        counts = add_documents(tx, project.id, [NewDocument(text) for text in ("same", "other", "same")])
        again = add_documents(tx, project.id, [NewDocument("same")])
        tx.commit()
    assert (counts.added, counts.known, again.added) == (2, 1, 0)
    assert counts.document_ids[0] == counts.document_ids[2] == again.document_ids[0]


def test_an_id_names_one_text_for_good(store: Store, project: Project) -> None:
    given.documents(store, project.id, ["one"])
    with pytest.raises(InputError, match="1 ids with another text, such as one"), store.transaction() as tx:
        add_documents(tx, project.id, [NewDocument("new"), NewDocument("changed", external_id="one")])
    with pytest.raises(InputError, match="such as twice"), store.transaction() as tx:
        add_documents(tx, project.id, [NewDocument(text, external_id="twice") for text in ("a", "b")])
    assert texts(store, project) == [("one", "one")]


def test_equal_ids_in_two_projects_are_two_documents(store: Store, project: Project) -> None:
    other = given.project(store, "Other")
    assert given.documents(store, project.id, ["one"]) != given.documents(store, other.id, ["one"])
    assert texts(store, project) == texts(store, other) == [("one", "one")]


@pytest.mark.parametrize("text", ["", " \n", "nul \0 inside", "half \ud83d pair", "x" * 1_000_001])
def test_a_text_that_nobody_can_label_is_refused_and_nothing_is_added(
    store: Store, project: Project, text: str
) -> None:
    with pytest.raises(InputError), store.transaction() as tx:
        add_documents(tx, project.id, [NewDocument("fine"), NewDocument(text)])
    assert texts(store, project) == []


@pytest.mark.parametrize("key", ["", "x" * 501, "nul \0", "half \udc00", 7])
def test_an_id_that_no_database_keeps_is_refused(key: object) -> None:
    with pytest.raises(InputError, match="1 to 500 characters"):
        check_key(key, "a document's id")


def test_a_text_of_a_million_characters_is_kept(store: Store, project: Project) -> None:
    text = "ü🐧" * 500_000
    with store.transaction() as tx:
        add_documents(tx, project.id, [NewDocument(text, external_id="long")])
        tx.commit()
    assert texts(store, project) == [("long", text)]


def test_documents_are_listed_by_split_and_by_id(store: Store, project: Project) -> None:
    one, two = given.documents(store, project.id, ["one", "two"])
    (three,) = given.documents(store, project.id, ["three"], "holdout")
    with store.read() as session:
        assert [item.document_id for item in stored_documents(session, project.id, [TRAIN])] == [one, two]
        listed = stored_documents(session, project.id, document_ids=[three, one, 999])
        assert [item.document_id for item in listed] == [one, three]


def test_a_task_is_open_until_label_studio_calls_it_labelled(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        tasks = [given.task(1, "open"), given.task(2, "done", is_labeled=True), given.task(3, "one of two annotators")]
        ids = upsert_tasks(tx, project.id, tasks).document_ids
        tx.commit()
    given.annotated(store, ids[3], given.annotation(source="label_studio"))
    assert open_names(store, project) == ["task:1", "task:3"]


def test_a_document_that_is_no_task_is_open_until_it_is_annotated_or_skipped(store: Store, project: Project) -> None:
    one, two, three, _ = given.documents(store, project.id, ["annotated", "skipped", "unlearnable", "open"])
    given.annotated(store, one, given.annotation())
    given.annotated(store, two, given.annotation(skipped=True))
    given.annotated(store, three, given.annotation(spans=None))
    assert open_names(store, project) == ["open"]
    assert open_names(store, project, tasks_only=True) == []
    with store.read() as session:
        assert count_open(session, project.id) == 1


def test_deleted_tasks_are_neither_listed_nor_open(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        upsert_tasks(tx, project.id, [given.task(1, "stays"), given.task(2, "goes")])
        mark_deleted(tx, project.id, [2])
        tx.commit()
    assert open_names(store, project) == ["task:1"]
    assert texts(store, project) == [("task:1", "stays")]


@given.on_both
def test_thousands_of_documents_take_a_handful_of_statements(store: Store, project: Project) -> None:
    statements = []
    event.listen(store._engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
    with store.transaction() as tx:
        counts = add_documents(tx, project.id, [NewDocument(f"text {i}") for i in range(3_000)], POOL)
        tx.commit()
    assert counts.added == 3_000
    reads = [statement for statement in statements if statement.lstrip().startswith("SELECT")]
    assert len(reads) < 10


@given.on_both
def test_more_ids_than_a_statement_has_variables_are_looked_up(store: Store, project: Project) -> None:
    keys = given.documents(store, project.id, ["one", "two"])
    with store.read() as session:
        found = stored_documents(session, project.id, document_ids=range(70_000))
    assert [document.document_id for document in found] == keys


def test_chunks_keep_order_and_lose_nothing() -> None:
    parts = list(chunks(range(70_000)))
    assert max(map(len, parts)) <= 32_766
    assert [item for part in parts for item in part] == list(range(70_000))
    assert list(chunks([])) == []


def test_inserting_nothing_inserts_nothing(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        assert insert_documents(tx, project.id, []) == []
        assert add_documents(tx, project.id, []).document_ids == ()
