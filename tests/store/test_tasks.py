from __future__ import annotations

import pytest

from ner.errors import InputError
from store.annotations import history
from store.database.schema import HOLDOUT, Document, Project, Split
from store.database.session import Store
from store.documents import NewDocument, add_documents, stored_documents
from store.gold import gold
from store.projects import link
from store.tasks import UpsertCounts, count_live_tasks, live_task_ids, mark_deleted, upsert_tasks
from tests.store import given


def upsert(store: Store, project: Project, *tasks: NewDocument) -> UpsertCounts:
    with store.transaction() as tx:
        counts = upsert_tasks(tx, project.id, tasks)
        tx.commit()
    return counts


def rows(store: Store, project: Project) -> list[Document]:
    with store.read() as session:
        return list(session.query(Document).order_by(Document.id))


def test_a_new_task_becomes_a_document(store: Store, project: Project) -> None:
    counts = upsert(store, project, given.task(7, "a text", external_id="post-7", ls_updated_at=given.at(1)))
    (row,) = rows(store, project)
    assert (counts.added, counts.changed, counts.known) == (1, 0, 0)
    assert counts.document_ids == {7: row.id}
    assert (row.external_id, row.ls_task_id, row.ls_updated_at) == ("post-7", 7, given.at(1))


def test_a_task_seen_again_stays_one_document_and_takes_over_what_is_new(store: Store, project: Project) -> None:
    first = upsert(store, project, given.task(7, "a text", meta={"a": 1}))
    later = given.task(7, "a text", meta={"a": 2}, is_labeled=True, ls_updated_at=given.at(2))
    counts = upsert(store, project, later)
    (row,) = rows(store, project)
    assert (counts.added, counts.known, counts.document_ids) == (0, 1, first.document_ids)
    assert (row.is_labeled, row.ls_updated_at, row.meta) == (True, given.at(2), {"a": 2})


def test_a_document_imported_here_first_is_recognised_as_the_task(store: Store, project: Project) -> None:
    (key,) = given.documents(store, project.id, ["a text"], HOLDOUT)
    counts = upsert(store, project, given.task(7, "a text", external_id="a text"))
    assert counts.document_ids == {7: key}
    (row,) = rows(store, project)
    assert row.ls_task_id == 7


def test_a_task_with_another_documents_id_and_another_text_is_another_document(store: Store, project: Project) -> None:
    (key,) = given.documents(store, project.id, ["a text"])
    counts = upsert(store, project, given.task(7, "not that text", external_id="a text"))
    assert counts.added == 1
    assert counts.document_ids[7] != key
    assert [row.ls_task_id for row in rows(store, project)] == [None, 7]


def test_a_file_imported_twice_into_label_studio_gives_a_document_for_each_task(store: Store, project: Project) -> None:
    counts = upsert(store, project, *(given.task(i, "a text", external_id="post-7") for i in (1, 2)))
    assert counts.added == 2
    again = upsert(store, project, *(given.task(i, "a text", external_id="post-7") for i in (2, 1)))
    assert (again.known, again.document_ids) == (2, counts.document_ids)
    third = upsert(store, project, given.task(3, "a text", external_id="post-7"))
    assert third.added == 1
    assert [row.ls_task_id for row in rows(store, project)] == [1, 2, 3]


def test_an_edited_text_becomes_another_document_in_the_same_split(store: Store, project: Project) -> None:
    before = upsert(store, project, given.task(7, "a txet", external_id="post-7")).document_ids[7]
    given.annotated(store, before, given.annotation((2, 6, "OS"), source="label_studio"))
    with store.transaction() as tx:
        tx.session.get_one(Split, before).split = HOLDOUT
        tx.commit()
    counts = upsert(store, project, given.task(7, "a text", external_id="post-7"))
    after = counts.document_ids[7]
    assert (counts.added, counts.changed, counts.known) == (0, 1, 0)
    old, new = rows(store, project)
    assert (old.id, old.text, old.ls_task_id, old.external_id) == (before, "a txet", None, f"post-7@{before}")
    assert old.deleted_at is not None
    assert (new.id, new.text, new.ls_task_id, new.external_id) == (after, "a text", 7, "post-7")
    with store.read() as session:
        assert [item.split for item in stored_documents(session, project.id)] == [HOLDOUT]
        assert gold(session, project.id) == []
        assert len(history(session, before)) == 1


def test_a_text_edited_there_and_back_and_again_is_followed(store: Store, project: Project) -> None:
    seen = [
        upsert(store, project, given.task(7, text, external_id="p")).document_ids[7] for text in ("a", "b", "a", "b")
    ]
    assert len(set(seen)) == 4
    assert [row.ls_task_id for row in rows(store, project)] == [None, None, None, 7]


def test_a_task_without_an_id_is_refused(store: Store, project: Project) -> None:
    with pytest.raises(InputError, match="Label Studio's id"):
        upsert(store, project, NewDocument("a text"))


def test_a_text_that_is_refused_stores_none_of_the_page(store: Store, project: Project) -> None:
    with pytest.raises(InputError, match="blank"):
        upsert(store, project, given.task(1, "fine"), given.task(2, " "))
    assert rows(store, project) == []


def test_deleted_tasks_are_noted_once_and_live_again_when_they_are_back(store: Store, project: Project) -> None:
    upsert(store, project, given.task(1, "one"), given.task(2, "two"))
    with store.transaction() as tx:
        assert mark_deleted(tx, project.id, [2, 3]) == 1
        assert mark_deleted(tx, project.id, [2]) == 0
        assert live_task_ids(tx.session, project.id) == {1}
        assert count_live_tasks(tx.session, project.id) == 1
        upsert_tasks(tx, project.id, [given.task(2, "two")])
        assert live_task_ids(tx.session, project.id) == {1, 2}


def test_documents_in_no_label_studio_are_no_live_tasks(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        add_documents(tx, project.id, [NewDocument("here only")])
        assert live_task_ids(tx.session, project.id) == set()
        assert count_live_tasks(tx.session, project.id) == 0


def test_a_page_seen_twice_changes_nothing(store: Store, project: Project) -> None:
    page = [given.task(i, f"text {i}", ls_updated_at=given.at(i), meta={"i": i}) for i in range(1, 6)]
    upsert(store, project, *page)
    before = [(row.id, row.external_id, row.ls_updated_at) for row in rows(store, project)]
    counts = upsert(store, project, *page)
    assert (counts.added, counts.changed, counts.known) == (0, 0, 5)
    assert [(row.id, row.external_id, row.ls_updated_at) for row in rows(store, project)] == before


@given.on_both
def test_task_ids_beyond_32_bits_are_kept(store: Store, project: Project) -> None:
    assert list(upsert(store, project, given.task(2**40, "text")).document_ids) == [2**40]


def test_an_imported_export_is_recognised_as_the_tasks_it_came_from(store: Store, project: Project) -> None:
    names = ["task:1", "task:2#0123456789ab", "task:3", "mine"]
    with store.transaction() as tx:
        new = [NewDocument(f"text {n}", external_id=name) for n, name in enumerate(names, 1)]
        ids = add_documents(tx, project.id, new).document_ids
        tx.commit()
    counts = upsert(
        store,
        project,
        given.task(1, "text 1"),
        given.task(2, "text 2", external_id="post-2"),
        given.task(3, "another text"),
        given.task(4, "text 4"),
    )
    assert (counts.known, counts.added) == (2, 2)
    assert (counts.document_ids[1], counts.document_ids[2]) == ids[:2]


def test_a_new_link_to_the_same_tasks_doubles_no_document(store: Store, project: Project) -> None:
    tasks = [given.task(i, "a text", external_id="post-7") for i in (1, 2)] + [given.task(3, "more")]
    with store.transaction() as tx:
        link(tx, project.id, "http://127.0.0.1:8080", 5)
        tx.commit()
    before = upsert(store, project, *tasks)
    with store.transaction() as tx:
        link(tx, project.id, "http://localhost:8080", 5)
        tx.commit()
    after = upsert(store, project, *tasks)
    assert (after.added, after.known) == (0, 3)
    assert sorted(after.document_ids.values()) == sorted(before.document_ids.values())


def test_two_tasks_of_one_text_never_share_a_document(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        add_documents(tx, project.id, [NewDocument("a text", external_id="post-7")])
        tx.commit()
    counts = upsert(store, project, *(given.task(i, "a text", external_id="post-7") for i in (1, 2)))
    assert (counts.added, counts.known) == (1, 1)
