"""What the store knows of annotations that were begun from pre-labels, on every database."""

from __future__ import annotations

from typing import Any

from ner.spans import Span
from store.annotations import FILE, LABEL_STUDIO
from store.database.schema import Project
from store.database.session import Store
from store.predictions import (
    BegunFromPrelabel,
    NewPrediction,
    begun_from_prelabels,
    confirm_predictions,
    published_on,
    save_predictions,
)
from store.tasks import mark_deleted, upsert_tasks
from tests.store import given

OS = (0, 5, "OS")


def tasks(store: Store, project: Project, *texts: str) -> list[int]:
    """Documents that are the tasks 1, 2, ... of Label Studio."""
    with store.transaction() as tx:
        ids = upsert_tasks(tx, project.id, [given.task(key, text) for key, text in enumerate(texts, 1)]).document_ids
        tx.commit()
    return [ids[key] for key in sorted(ids)]


def annotated(store: Store, document_id: int, name: str, **fields: Any) -> None:
    given.annotated(store, document_id, given.annotation(OS, name=name, **{"source": LABEL_STUDIO} | fields))


def begun(store: Store, project: Project) -> list[BegunFromPrelabel]:
    with store.read() as session:
        return begun_from_prelabels(session, project.id)


def test_an_annotation_comes_with_its_task_its_annotator_and_the_prediction_it_began_from(
    store: Store, project: Project
) -> None:
    one, two = tasks(store, project, "Linux", "Gnome")
    annotated(store, one, "10", parent_prediction=100, creator="7", source_created_at=given.at(1))
    annotated(store, two, "11")
    (found,) = begun(store, project)
    assert (found.document_id, found.external_id, found.ls_task_id) == (one, "task:1", 1)
    assert (found.annotation_id, found.annotator, found.made_at) == (10, "7", given.at(1))
    assert (found.parent_prediction, found.spans) == (100, (Span(*OS),))


def test_what_it_began_from_is_remembered_when_label_studio_forgets_it(store: Store, project: Project) -> None:
    (one,) = tasks(store, project, "Linux")
    for parent in (100, 101, None):
        annotated(store, one, "10", parent_prediction=parent)
    assert [(item.annotation_id, item.parent_prediction) for item in begun(store, project)] == [(10, 101)]


def test_skips_deletions_and_what_came_from_files_are_left_out(store: Store, project: Project) -> None:
    one, two, three, four = tasks(store, project, "Linux", "Gnome", "Fedora", "Debian")
    annotated(store, one, "10", parent_prediction=100, skipped=True)
    annotated(store, two, "11", parent_prediction=101)
    annotated(store, three, "12", parent_prediction=102)
    annotated(store, four, "line 1", parent_prediction=103, source=FILE)
    with store.transaction() as tx:
        given.mark_annotation_deleted(tx, two, LABEL_STUDIO, "11")
        mark_deleted(tx, project.id, [3])
        tx.commit()
    assert begun(store, project) == []


def test_other_projects_are_left_out(store: Store, project: Project) -> None:
    (one,) = tasks(store, project, "Linux")
    annotated(store, one, "10", parent_prediction=100)
    assert begun(store, given.project(store, "Another")) == []


def test_what_was_published_comes_oldest_first(store: Store, project: Project) -> None:
    one, two = tasks(store, project, "Linux", "Gnome")
    versions = [given.candidate(store, project.id) for _ in range(3)]
    for version in reversed(versions):
        with store.transaction() as tx:
            save_predictions(tx, version, [NewPrediction(one, 0.5, (Span(*OS),)), NewPrediction(two, 0.5, (), True)])
            tx.commit()
    with store.read() as session:
        found = published_on(session, [one])
    assert found.keys() == {one}
    assert [item.version for item in found[one]] == versions[::-1]
    assert {(item.spans, item.holdout) for item in found[one]} == {((Span(*OS),), False)}


def test_what_was_published_empty_counts_as_empty_once_it_is_confirmed(store: Store, project: Project) -> None:
    (one,) = tasks(store, project, "Linux")
    version = given.candidate(store, project.id)
    with store.transaction() as tx:
        save_predictions(tx, version, [NewPrediction(one, 0.5, (), holdout=True)])
        assert [item.holdout for item in published_on(tx.session, [one])[one]] == [False]
        confirm_predictions(tx, version, [one])
        tx.session.expire_all()
        assert [item.holdout for item in published_on(tx.session, [one])[one]] == [True]
