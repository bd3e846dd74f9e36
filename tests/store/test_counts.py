from __future__ import annotations

from dataclasses import replace

from store.annotations import (
    NewSetAside,
    append_annotations,
    list_set_aside,
    mend_set_aside,
    save_set_aside,
)
from store.counts import project_counts
from store.database.schema import HOLDOUT, POOL, TRAIN, Project
from store.database.session import Store
from store.documents import NewDocument, add_documents
from store.tasks import mark_deleted, set_aside_without_document, upsert_tasks
from tests.store import given

OS, SOFTWARE = (0, 6, "OS"), (0, 5, "SOFTWARE")


def test_a_new_project_counts_nothing(store: Store, project: Project) -> None:
    with store.read() as session:
        counts = project_counts(session, project.id)
    assert counts.documents == {POOL: 0, TRAIN: 0, HOLDOUT: 0}
    assert (counts.gold, counts.holdout_gold, counts.open, counts.tasks, counts.deleted) == (0, 0, 0, 0, 0)
    assert counts.labels == counts.holdout_labels == counts.set_aside == counts.annotators == {}


def test_labels_documents_and_people_are_counted(store: Store, project: Project) -> None:
    one, two, three = given.documents(store, project.id, ["Fedora Gnome", "Debian", "nothing"])
    (held,) = given.documents(store, project.id, ["Ubuntu"], HOLDOUT)
    given.annotated(store, one, given.annotation(OS, (7, 12, "SOFTWARE"), creator="ana"))
    given.annotated(store, two, given.annotation(OS, creator="ana"), given.annotation(name="2", creator="ben"))
    given.annotated(store, three, given.annotation(skipped=True, creator="ben"))
    given.annotated(store, held, given.annotation(OS, creator="cyd"))
    with store.read() as session:
        counts = project_counts(session, project.id)
    assert counts.documents == {POOL: 0, TRAIN: 3, HOLDOUT: 1}
    assert (counts.gold, counts.holdout_gold, counts.disagreements, counts.skipped) == (2, 1, 1, 1)
    assert counts.labels == {"OS": 1, "SOFTWARE": 1}
    assert counts.holdout_labels == {"OS": 1}
    assert counts.annotators == {"ana": 2, "ben": 1, "cyd": 1}
    assert counts.open == 0


def test_gold_that_duplicates_the_holdout_is_counted_apart(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        add_documents(tx, project.id, [NewDocument("Fedora", external_id="h")], HOLDOUT)
        (key,) = add_documents(tx, project.id, [NewDocument("Fedora", external_id="t")], TRAIN).document_ids
        append_annotations(tx, [(key, given.annotation(OS))])
        counts = project_counts(tx.session, project.id)
    assert (counts.gold, counts.duplicates, counts.labels) == (0, 1, {})


def test_tasks_are_counted_open_and_deleted(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        tasks = [given.task(1, "one"), given.task(2, "two", is_labeled=True), given.task(3, "three")]
        upsert_tasks(tx, project.id, tasks)
        mark_deleted(tx, project.id, [3])
        counts = project_counts(tx.session, project.id)
    assert (counts.tasks, counts.open, counts.deleted) == (2, 1, 1)


def test_what_is_set_aside_is_counted_as_annotations_are_now(store: Store, project: Project) -> None:
    def counted() -> dict[str, int]:
        with store.read() as session:
            return dict(project_counts(session, project.id).set_aside)

    (key,) = given.documents(store, project.id, ["Fedora"])
    outside = NewSetAside("", "label outside the config", {"label": "PRINTER"})
    beyond = NewSetAside("", "span outside the text", {"start": 99})
    first = replace(given.annotation(OS), set_aside=[outside, outside, beyond])
    given.annotated(store, key, first, given.annotation(name="2", set_aside=[beyond]))
    assert counted() == {"label outside the config": 1, "span outside the text": 2}
    given.annotated(store, key, replace(first, lead_time=1.0, set_aside=[outside]))
    assert counted() == {"label outside the config": 1, "span outside the text": 1}
    with store.transaction() as tx:
        given.mark_annotation_deleted(tx, key, "file", "2")
        save_set_aside(tx, project.id, [NewSetAside("train.jsonl:3", "text refused", "\0")])
        tx.commit()
    assert counted() == {"label outside the config": 1, "text refused": 1}
    with store.read() as session:
        assert len(list_set_aside(session, project.id)) == 5


def test_what_is_set_aside_is_stored_once(store: Store, project: Project) -> None:
    items = [
        NewSetAside("train.jsonl:1", "text refused", {"text": ""}),
        NewSetAside("train.jsonl:2", "text refused", 1),
    ]
    with store.transaction() as tx:
        assert save_set_aside(tx, project.id, items) == 2
        assert save_set_aside(tx, project.id, [*items, items[0]]) == 0
        assert len(list_set_aside(tx.session, project.id, "text refused")) == 2
        assert list_set_aside(tx.session, project.id, "another reason") == []


def test_whatever_arrived_is_kept_when_set_aside(store: Store, project: Project) -> None:
    payloads = [None, "nul \0", "half \ud83d", 2**70, [True, {"ключ": "🐧"}], {"b": 1, "a": None}]
    odd = {"score": float("nan"), 3: (1, 2)}
    with store.transaction() as tx:
        save_set_aside(tx, project.id, [NewSetAside(str(i), "text refused", p) for i, p in enumerate([*payloads, odd])])
        tx.commit()
    with store.read() as session:
        stored = [row.payload for row in list_set_aside(session, project.id)]
    assert stored == [*payloads, {"score": "nan", "3": [1, 2]}]


def test_what_was_mended_is_kept_and_not_counted_until_it_comes_again(store: Store, project: Project) -> None:
    item = NewSetAside("task:7", "text refused", {"data": {"text": ""}})
    with store.transaction() as tx:
        save_set_aside(tx, project.id, [item, replace(item, source_ref="task:8")])
        assert mend_set_aside(tx, project.id, ["task:7"], ["another reason"]) == 0
        assert mend_set_aside(tx, project.id, ["task:7"], ["text refused"]) == 1
        assert project_counts(tx.session, project.id).set_aside == {"text refused": 1}
        assert set_aside_without_document(tx.session, project.id, ["text refused"]) == {"task:8"}
        assert len(list_set_aside(tx.session, project.id)) == 2
        assert save_set_aside(tx, project.id, [item]) == 0
        assert project_counts(tx.session, project.id).set_aside == {"text refused": 2}
