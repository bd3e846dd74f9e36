from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event

from ner.spans import Span
from store.annotations import append_annotations
from store.database.schema import HOLDOUT, POOL, SPLITS, TRAIN, Project
from store.database.session import ROWS_AT_ONCE, Store
from store.documents import NewDocument, add_documents, each_document
from store.errors import RefusedError
from store.gold import GoldDocument, count_fresh_gold, each_labelled, fingerprint, gold, training_gold
from store.registry import TrainedOn
from store.tasks import mark_deleted, upsert_tasks
from tests.store import given

OS = (17, 23, "OS")
SOFTWARE = (0, 5, "SOFTWARE")


@pytest.fixture
def document(store: Store, project: Project) -> int:
    """A document to annotate."""
    return given.documents(store, project.id, ["Gnome crashes on Fedora and on Debian."])[0]


def believed(store: Store, project: Project, *splits: str) -> list[GoldDocument]:
    with store.read() as session:
        return gold(session, project.id, splits) if splits else gold(session, project.id)


def only(store: Store, project: Project) -> GoldDocument:
    (found,) = believed(store, project)
    return found


def ann(*spans: tuple[int, int, str], name: str, minute: int | None = 0, **fields: Any) -> Any:
    at = None if minute is None else given.at(minute)
    return given.annotation(*spans, name=name, source_updated_at=at, **fields)


def test_an_annotated_document_is_gold(store: Store, project: Project, document: int) -> None:
    given.annotated(store, document, ann(SOFTWARE, OS, name="1", creator="ana"))
    found = only(store, project)
    assert (found.document_id, found.text) == (document, "Gnome crashes on Fedora and on Debian.")
    assert found.spans == (Span(0, 5, "SOFTWARE"), Span(17, 23, "OS"))
    assert (found.creator, found.split, found.alternatives, found.disagreements) == ("ana", TRAIN, 0, 0)


def test_a_document_without_annotations_is_not_gold(store: Store, project: Project, document: int) -> None:
    assert believed(store, project) == []


def test_an_annotation_without_spans_says_there_are_none(store: Store, project: Project, document: int) -> None:
    given.annotated(store, document, ann(name="1"))
    assert only(store, project).spans == ()


def test_the_annotation_updated_last_is_believed_and_the_other_counted(
    store: Store, project: Project, document: int
) -> None:
    given.annotated(store, document, ann(SOFTWARE, name="1", minute=9), ann(OS, name="2", minute=5))
    found = only(store, project)
    assert found.spans == (Span(*SOFTWARE),)
    assert (found.alternatives, found.disagreements) == (1, 1)


def test_annotators_who_agree_in_another_order_do_not_disagree(store: Store, project: Project, document: int) -> None:
    given.annotated(store, document, ann(SOFTWARE, OS, name="1"), ann(OS, SOFTWARE, name="2"), ann(OS, name="3"))
    found = only(store, project)
    assert found.spans == (Span(*OS),)
    assert (found.alternatives, found.disagreements) == (2, 2)
    given.annotated(store, document, ann(SOFTWARE, OS, name="2", minute=30))
    found = only(store, project)
    assert (found.alternatives, found.disagreements) == (2, 1)


def test_ground_truth_is_believed_before_anything_newer(store: Store, project: Project, document: int) -> None:
    given.annotated(
        store,
        document,
        ann(SOFTWARE, name="1", minute=1, ground_truth=True),
        ann(SOFTWARE, OS, name="2", minute=2, ground_truth=True),
        ann(OS, name="3", minute=3),
    )
    found = only(store, project)
    assert found.spans == (Span(*SOFTWARE), Span(*OS))
    assert (found.ground_truth, found.alternatives, found.disagreements) == (True, 2, 2)


def test_only_the_latest_version_counts(store: Store, project: Project, document: int) -> None:
    given.annotated(store, document, ann(SOFTWARE, name="1", minute=9))
    given.annotated(store, document, ann(OS, name="1", minute=5))
    found = only(store, project)
    assert found.spans == (Span(*OS),)
    assert found.alternatives == 0


@pytest.mark.parametrize("fields", [{"skipped": True}, {"spans": None}])
def test_a_skip_and_what_cannot_be_learned_from_are_no_gold_and_no_disagreement(
    store: Store, project: Project, document: int, fields: dict[str, Any]
) -> None:
    given.annotated(store, document, ann(SOFTWARE, name="1", minute=9, ground_truth=True, **fields))
    assert believed(store, project) == []
    given.annotated(store, document, ann(OS, name="2"))
    assert (only(store, project).spans, only(store, project).alternatives) == ((Span(*OS),), 0)


def test_a_deleted_annotation_gives_way_to_the_one_that_is_left(store: Store, project: Project, document: int) -> None:
    given.annotated(store, document, ann(SOFTWARE, name="1", minute=9), ann(OS, name="2"))
    with store.transaction() as tx:
        given.mark_annotation_deleted(tx, document, "file", "1")
        tx.commit()
    assert only(store, project).spans == (Span(*OS),)


def test_without_the_sources_time_the_one_seen_last_is_believed(store: Store, project: Project, document: int) -> None:
    given.annotated(store, document, ann(SOFTWARE, name="1", minute=None), ann(OS, name="2", minute=None))
    assert only(store, project).spans == (Span(*OS),)


def test_a_deleted_document_has_no_gold(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        ids = upsert_tasks(tx, project.id, [given.task(1, "stays"), given.task(2, "goes")]).document_ids
        append_annotations(tx, [(key, ann(name="1")) for key in ids.values()])
        mark_deleted(tx, project.id, [2])
        tx.commit()
    assert [found.document_id for found in believed(store, project)] == [ids[1]]


def test_gold_is_given_by_split_and_by_project(store: Store, project: Project) -> None:
    other = given.project(store, "Other")
    keys = {split: given.documents(store, project.id, [f"in {split}"], split)[0] for split in (TRAIN, HOLDOUT)}
    keys["other"] = given.documents(store, other.id, ["in other"])[0]
    for key in keys.values():
        given.annotated(store, key, ann(name="1"))
    assert [found.document_id for found in believed(store, project, HOLDOUT)] == [keys[HOLDOUT]]
    assert [found.document_id for found in believed(store, project)] == [keys[TRAIN], keys[HOLDOUT]]
    assert [found.document_id for found in believed(store, other)] == [keys["other"]]
    assert believed(store, project, POOL) == []


def test_a_text_that_stands_in_the_holdout_is_never_trained_on_and_is_named(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        held = add_documents(tx, project.id, [NewDocument("same text", external_id="h", group="g")], HOLDOUT)
        names = [NewDocument("same text", external_id="t", group="f"), NewDocument("own text", external_id="o")]
        free = add_documents(tx, project.id, names, TRAIN)
        append_annotations(tx, [(key, ann(name="1")) for key in held.document_ids + free.document_ids])
        tx.commit()
    with store.read() as session:
        found = training_gold(session, project.id)
    assert [item.external_id for item in found.documents] == ["o"]
    assert [item.external_id for item in found.excluded_as_holdout_duplicates] == ["t"]


def test_a_group_that_stands_in_the_holdout_is_never_trained_on_and_is_counted(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        held = add_documents(tx, project.id, [NewDocument("first of the thread", external_id="h", group="g")], HOLDOUT)
        names = [
            NewDocument("second of it", external_id="t", group="g"),
            NewDocument("own text", external_id="o", group="f"),
        ]
        free = add_documents(tx, project.id, names, TRAIN)
        append_annotations(tx, [(key, ann(name="1")) for key in held.document_ids + free.document_ids])
        tx.commit()
    with store.read() as session:
        found = training_gold(session, project.id)
        assert count_fresh_gold(session, project.id, None) == 1
    assert [item.external_id for item in found.documents] == ["o"]
    assert [item.external_id for item in found.excluded_as_holdout_duplicates] == ["t"]
    version = given.candidate(store, project.id, finished=False)
    with pytest.raises(RefusedError, match="holdout is trained on"):
        given.trained_on(store, version, TrainedOn(free.document_ids[0], None, "train", "weak"))


def test_a_holdout_text_stays_untrained_when_its_task_is_deleted(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        add_documents(tx, project.id, [NewDocument("same text", external_id="h")], HOLDOUT)
        upsert_tasks(tx, project.id, [given.task(1, "same text", external_id="h")])
        mark_deleted(tx, project.id, [1])
        (key,) = add_documents(tx, project.id, [NewDocument("same text", external_id="t")], TRAIN).document_ids
        append_annotations(tx, [(key, ann(name="1"))])
        tx.commit()
    with store.read() as session:
        assert training_gold(session, project.id).documents == ()


def test_gold_of_many_documents_takes_three_queries(store: Store, project: Project) -> None:
    keys = given.documents(store, project.id, [f"text {i}" for i in range(50)])
    with store.transaction() as tx:
        append_annotations(tx, [(key, ann(name=name)) for key in keys for name in "12"])
        tx.commit()
    statements: list[str] = []
    with store.read() as session:
        session.connection()
        event.listen(store._engine, "before_cursor_execute", lambda *call: statements.append(call[2]))
        assert len(gold(session, project.id)) == 50
        assert len(statements) == 3
        assert len(training_gold(session, project.id).documents) == 50
        assert len(statements) == 7


def test_the_fingerprint_is_of_texts_and_spans_alone(store: Store, project: Project) -> None:
    def of(name: str, second: tuple[int, int, str], *, reverse: bool = False) -> str:
        there = given.project(store, name)
        one, two = given.documents(store, there.id, ["Gnome", "Fedora"][:: -1 if reverse else 1])
        first, last = (two, one) if reverse else (one, two)
        given.annotated(store, first, ann((0, 5, "SOFTWARE"), name=name))
        given.annotated(store, last, ann(second, name=name, creator=name))
        return fingerprint(believed(store, there))

    same = of("a", (0, 6, "OS"))
    assert of("b", (0, 6, "OS"), reverse=True) == same
    assert of("c", (0, 6, "SOFTWARE")) != same
    assert of("d", (0, 5, "OS")) != same


@given.on_both
def test_documents_read_one_after_another_are_those_read_at_once(store: Store):
    project = given.project(store)
    texts = [f"Gnome {number}" for number in range(2 * ROWS_AT_ONCE + 1)]
    ids = given.documents(store, project.id, texts)
    with store.transaction() as tx:
        append_annotations(tx, [(number, given.annotation((0, 5, "SOFTWARE"))) for number in ids[::2]])
        tx.commit()
    with store.read() as session:
        every, of_labels = each_document(session, project.id, SPLITS), each_labelled(session, project.id)
        side_by_side = [
            (next(every).document_id, next(every).document_id, next(of_labels).document_id) for _ in ids[1::2]
        ]
        assert side_by_side == list(zip(ids[::2], ids[1::2], ids[::2], strict=False))
        assert [(one.document_id, next(every).document_id) for one in of_labels] == [(ids[-1], ids[-1])]
