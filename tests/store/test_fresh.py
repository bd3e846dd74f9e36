from __future__ import annotations

from dataclasses import replace

from store.annotations import NewAnnotation
from store.database.columns import utc_now
from store.database.schema import HOLDOUT, Project
from store.database.session import Store
from store.documents import NewDocument, add_documents
from store.gold import count_fresh_gold
from tests.store import given

SHOWN = given.annotation((0, 5, "SOFTWARE"), parent_prediction=9)


def fresh_after(store: Store, project: Project, *later: NewAnnotation, before: NewAnnotation = SHOWN) -> int:
    (key,) = given.documents(store, project.id, ["Gnome"])
    given.annotated(store, key, before)
    since = utc_now()
    given.annotated(store, key, *later)
    with store.read() as session:
        return count_fresh_gold(session, project.id, since)


def test_a_later_version_with_the_same_spans_is_nothing_new(store: Store, project: Project) -> None:
    assert fresh_after(store, project, replace(SHOWN, parent_prediction=None)) == 0


def test_other_spans_are_new_also_when_a_version_with_the_same_spans_follows(store: Store, project: Project) -> None:
    corrected = given.annotation((0, 5, "OS"), parent_prediction=9)
    assert fresh_after(store, project, corrected, replace(corrected, parent_prediction=None)) == 1


def test_a_skip_that_becomes_an_answer_is_new(store: Store, project: Project) -> None:
    assert fresh_after(store, project, SHOWN, before=replace(SHOWN, skipped=True)) == 1


def test_another_persons_answer_is_new(store: Store, project: Project) -> None:
    assert fresh_after(store, project, replace(SHOWN, source_id="2")) == 1


def test_a_deleted_annotation_that_is_back_is_new(store: Store, project: Project) -> None:
    (key,) = given.documents(store, project.id, ["Gnome"])
    given.annotated(store, key, SHOWN)
    with store.transaction() as tx:
        given.mark_annotation_deleted(tx, key, SHOWN.source, SHOWN.source_id)
        tx.commit()
    since = utc_now()
    given.annotated(store, key, SHOWN)
    with store.read() as session:
        assert count_fresh_gold(session, project.id, since) == 1


def test_what_shares_its_text_with_the_holdout_is_no_reason_to_train(store: Store, project: Project) -> None:
    (key,) = given.documents(store, project.id, ["Gnome"])
    given.annotated(store, key, SHOWN)
    with store.read() as session:
        assert count_fresh_gold(session, project.id, None) == 1
    with store.transaction() as tx:
        add_documents(tx, project.id, [NewDocument("Gnome", external_id="h")], HOLDOUT)
        tx.commit()
    with store.read() as session:
        assert count_fresh_gold(session, project.id, None) == 0
