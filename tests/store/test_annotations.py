from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st
from sqlalchemy import delete, select, text, update

from ner.spans import Span
from store.annotations import (
    LABEL_STUDIO,
    NewAnnotation,
    NewSetAside,
    append_annotations,
    history,
    latest_versions,
    list_set_aside,
    sync_annotations,
)
from store.database.schema import AnnotationVersion, Project
from store.database.session import Store
from store.errors import NotFoundError, StoreError
from tests.store import given


@pytest.fixture
def document(store: Store, project: Project) -> int:
    """A document to annotate."""
    return given.documents(store, project.id, ["Gnome crashes on Fedora and on Debian."])[0]


A = given.annotation((0, 5, "SOFTWARE"))
B = given.annotation((0, 5, "SOFTWARE"), (17, 23, "OS"))


def append(store: Store, document_id: int, *annotations: NewAnnotation) -> list[bool]:
    with store.transaction() as tx:
        new = [given.append_annotation(tx, document_id, annotation) for annotation in annotations]
        tx.commit()
    return new


def versions(store: Store, document_id: int) -> list[AnnotationVersion]:
    with store.read() as session:
        return history(session, document_id)


def test_an_annotation_comes_back_as_it_was_seen(store: Store, document: int) -> None:
    seen = replace(
        B,
        creator="ana",
        lead_time=12.25,
        parent_prediction=2**40,
        source_created_at=given.at(1),
        source_updated_at=given.at(2),
    )
    append(store, document, seen)
    (version,) = versions(store, document)
    assert (version.result, version.spans) == (list(seen.result), (Span(0, 5, "SOFTWARE"), Span(17, 23, "OS")))
    assert (version.creator, version.lead_time, version.skipped, version.ground_truth) == ("ana", 12.25, False, False)
    assert version.parent_prediction == 2**40
    assert (version.source_created_at, version.source_updated_at) == (given.at(1), given.at(2))
    assert (version.sequence, version.deleted) == (1, False)


def test_the_same_annotation_again_is_no_new_version(store: Store, document: int) -> None:
    assert append(store, document, A, A) == [True, False]
    assert append(store, document, A) == [False]
    assert len(versions(store, document)) == 1


def test_there_and_back_again_is_three_versions(store: Store, document: int) -> None:
    assert append(store, document, A, B, A) == [True, True, True]
    found = versions(store, document)
    assert [version.sequence for version in found] == [1, 2, 3]
    assert found[0].digest == found[2].digest != found[1].digest


def test_there_and_back_in_one_batch_is_three_versions(store: Store, document: int) -> None:
    with store.transaction() as tx:
        counts = append_annotations(tx, [(document, A), (document, B), (document, B), (document, A)])
        tx.commit()
    assert (counts.added, counts.unchanged) == (3, 1)
    assert [version.spans for version in versions(store, document)] == [A.spans, B.spans, A.spans]


@pytest.mark.parametrize(
    "change",
    [
        {"creator": "ben"},
        {"lead_time": 3.5},
        {"skipped": True},
        {"ground_truth": True},
        {"parent_prediction": 5},
        {"result": [{"id": "other"}]},
        {"spans": None},
        {"spans": ()},
    ],
)
def test_whatever_people_or_the_config_changed_is_a_new_version(
    store: Store, document: int, change: dict[str, Any]
) -> None:
    assert append(store, document, A, replace(A, **change)) == [True, True]


def test_what_says_nothing_about_the_labels_is_no_new_version(store: Store, document: int) -> None:
    assert append(store, document, A, replace(A, source_updated_at=given.at(9))) == [True, False]


def test_a_whole_number_of_seconds_is_the_same_lead_time_as_int_and_float(store: Store, document: int) -> None:
    assert append(store, document, replace(A, lead_time=12), replace(A, lead_time=12.0)) == [True, False]


def test_annotations_of_other_ids_sources_and_documents_are_others(
    store: Store, project: Project, document: int
) -> None:
    (other,) = given.documents(store, project.id, ["other"])
    assert append(store, document, A, replace(A, source_id="2"), replace(A, source=LABEL_STUDIO)) == [True] * 3
    assert append(store, other, A) == [True]
    with store.read() as session:
        found = latest_versions(session, [document])
    assert [(version.source, version.source_id) for version in found] == [
        ("file", "1"),
        ("file", "2"),
        ("label_studio", "1"),
    ]


def test_a_deletion_is_a_version_that_keeps_what_was_there(store: Store, document: int) -> None:
    append(store, document, B)
    with store.transaction() as tx:
        assert given.mark_annotation_deleted(tx, document, B.source, B.source_id)
        assert not given.mark_annotation_deleted(tx, document, B.source, B.source_id)
        assert not given.mark_annotation_deleted(tx, document, B.source, "unknown")
        tx.commit()
    first, last = versions(store, document)
    assert (first.deleted, last.deleted, last.sequence) == (False, True, 2)
    assert (last.result, last.spans) == (first.result, first.spans)


def test_a_deleted_annotation_that_is_back_is_live_again(store: Store, document: int) -> None:
    append(store, document, A)
    with store.transaction() as tx:
        given.mark_annotation_deleted(tx, document, A.source, A.source_id)
        assert given.append_annotation(tx, document, A)
        tx.commit()
    assert [version.deleted for version in versions(store, document)] == [False, True, False]


def test_syncing_appends_what_changed_and_deletes_what_is_gone(store: Store, project: Project, document: int) -> None:
    (other,) = given.documents(store, project.id, ["other"])
    one, two = (given.annotation(name=name, source=LABEL_STUDIO) for name in "12")
    from_file = given.annotation(name="3", source="file")
    append(store, document, one, two, from_file)
    append(store, other, one)
    with store.transaction() as tx:
        changed = replace(one, lead_time=2.0)
        counts = sync_annotations(tx, LABEL_STUDIO, {document: [changed], other: [one]})
        tx.commit()
        assert (counts.added, counts.unchanged, counts.deleted) == (1, 1, 1)
        again = sync_annotations(tx, LABEL_STUDIO, {document: [changed], other: [one]})
        assert (again.added, again.unchanged, again.deleted) == (0, 2, 0)
    with store.read() as session:
        live = [(v.source, v.source_id) for v in latest_versions(session, [document]) if not v.deleted]
    assert sorted(live) == [("file", "3"), (LABEL_STUDIO, "1")]


def test_a_task_without_annotations_any_more_has_none(store: Store, document: int) -> None:
    append(store, document, given.annotation(source=LABEL_STUDIO))
    with store.transaction() as tx:
        assert sync_annotations(tx, LABEL_STUDIO, {document: []}).deleted == 1


def test_an_annotation_of_an_unknown_document_is_refused(store: Store, project: Project) -> None:
    with pytest.raises(NotFoundError, match="99"), store.transaction() as tx:
        given.append_annotation(tx, 99, A)


@given.on_both
@pytest.mark.parametrize(
    "statement",
    [
        update(AnnotationVersion).values(creator="someone else"),
        delete(AnnotationVersion),
        text("UPDATE annotation_versions SET skipped = skipped"),
        text("DELETE FROM annotation_versions"),
    ],
)
def test_versions_cannot_be_changed_or_removed(store: Store, document: int, statement: Any) -> None:
    append(store, document, A)
    with pytest.raises(StoreError, match="append-only") as caught, store.transaction() as tx:
        tx.session.execute(statement)
        tx.commit()
    assert caught.value.exit_code == 4
    assert [version.creator for version in versions(store, document)] == [None]


def test_a_loaded_version_cannot_be_changed(store: Store, document: int) -> None:
    append(store, document, A)
    with pytest.raises(StoreError, match="append-only"), store.transaction() as tx:
        tx.session.scalars(select(AnnotationVersion)).one().skipped = True
        tx.commit()


def test_what_was_set_aside_is_stored_with_its_version(store: Store, project: Project, document: int) -> None:
    aside = NewSetAside("unused", "label outside the config", {"labels": ["PRINTER"]})
    append(store, document, replace(A, set_aside=[aside]))
    append(store, document, replace(A, set_aside=[aside]))
    with store.read() as session:
        (stored,) = list_set_aside(session, project.id)
        (version,) = history(session, document)
    assert (stored.reason, stored.payload) == ("label outside the config", {"labels": ["PRINTER"]})
    assert (stored.source_ref, stored.document_id, stored.annotation_version_id) == ("file:1", document, version.id)


ANNOTATIONS = st.builds(
    lambda name, spans, skipped, seconds: given.annotation(
        *spans, name=name, skipped=skipped, lead_time=seconds, source=LABEL_STUDIO
    ),
    st.sampled_from("123"),
    st.lists(st.sampled_from([(0, 5, "SOFTWARE"), (17, 23, "OS")]), max_size=2),
    st.booleans(),
    st.sampled_from([None, 1, 2.5]),
)
PAGES = st.lists(st.dictionaries(st.integers(0, 2), st.lists(ANNOTATIONS, max_size=3), max_size=3), max_size=4)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@for_all(pages=PAGES)
def test_a_pull_seen_twice_stores_nothing_twice(store: Store, project: Project, pages: list[Any]) -> None:
    """Pages as pulls bring them: each sync of a page is done twice, and stores what a single one does."""
    once, twice = (
        given.documents(store, project.id, [f"{project.id} {copy} {i} {id(pages)}" for i in range(3)])
        for copy in ("once", "twice")
    )
    last: dict[int, list[NewAnnotation]] = {}
    with store.transaction() as tx:
        for page in pages:
            page = {key: list({a.source_id: a for a in items}.values()) for key, items in page.items()}
            sync_annotations(tx, LABEL_STUDIO, {once[key]: items for key, items in page.items()})
            sync_annotations(tx, LABEL_STUDIO, {twice[key]: items for key, items in page.items()})
            again = sync_annotations(tx, LABEL_STUDIO, {twice[key]: items for key, items in page.items()})
            assert (again.added, again.deleted) == (0, 0)
            last |= page
        for i in range(3):
            pair = [[(v.source_id, v.digest) for v in history(tx.session, ids[i])] for ids in (once, twice)]
            assert pair[0] == pair[1]
            live = {v.source_id for v in latest_versions(tx.session, [twice[i]]) if not v.deleted}
            assert live == {item.source_id for item in last.get(i, [])}
