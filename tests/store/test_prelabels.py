"""What annotators did with pre-labels, as the store tells it."""

from __future__ import annotations

import pytest

from ner.label_studio.edits import Edits
from store.annotations import FILE, LABEL_STUDIO
from store.database.schema import Project
from store.database.session import Store
from store.predictions import ReviewedPrelabel, reviewed_prelabels
from store.registry import rollback
from store.tasks import mark_deleted
from tests.store import given
from tests.store.prelabelled import GNOME, LINUX, TEXT, serve, show, submit, tasks


@pytest.fixture
def project(store: Store) -> Project:
    return given.project(store, share=0.0)


def reviewed(store: Store, project: Project, after: int = 0) -> list[ReviewedPrelabel]:
    with store.read() as session:
        return list(reviewed_prelabels(session, project.id, after))


def test_an_annotation_stands_beside_the_pre_label_that_it_was_begun_from(store: Store, project: Project) -> None:
    (one,) = tasks(store, project, TEXT, group="thread")
    version = serve(store, project, given.at(0))
    show(store, version, [one], given.at(1), LINUX, GNOME)
    submit(store, one, 2, LINUX, (6, 11, "OS"), creator="7")
    (found,) = reviewed(store, project)
    assert (found.group, found.annotator, found.at, found.version) == ("thread", "7", given.at(2), version)
    assert found.edits == {"OS": Edits(kept=1), "SOFTWARE": Edits(retyped=1)}


def test_white_space_at_the_ends_of_a_region_moves_nothing(store: Store, project: Project) -> None:
    (one,) = tasks(store, project, TEXT)
    show(store, serve(store, project, given.at(0)), [one], given.at(1), LINUX)
    submit(store, one, 2, (0, 6, "OS"))
    assert reviewed(store, project)[0].edits == {"OS": Edits(kept=1)}


def test_only_the_first_submitted_version_counts(store: Store, project: Project) -> None:
    (one,) = tasks(store, project, TEXT)
    show(store, serve(store, project, given.at(0)), [one], given.at(1), LINUX)
    submit(store, one, 2, LINUX, skipped=True)
    submit(store, one, 2)
    submit(store, one, 2, LINUX)
    assert [item.edits for item in reviewed(store, project)] == [{"OS": Edits(removed=1)}]


def test_an_annotation_that_is_deleted_later_still_counts(store: Store, project: Project) -> None:
    (one, two) = tasks(store, project, TEXT, "Linux")
    show(store, serve(store, project, given.at(0)), [one, two], given.at(1), LINUX)
    submit(store, one, 2, LINUX)
    submit(store, two, 2, LINUX)
    before = reviewed(store, project)
    with store.transaction() as tx:
        given.mark_annotation_deleted(tx, one, LABEL_STUDIO, "10")
        mark_deleted(tx, project.id, [2])
        tx.commit()
    assert reviewed(store, project) == before != []


def test_what_was_begun_from_nothing_does_not_count(store: Store, project: Project) -> None:
    ids = tasks(store, project, TEXT, "Linux", "Gnome", "Debian")
    show(store, serve(store, project, given.at(0)), ids, given.at(1), LINUX)
    submit(store, ids[0], 2, LINUX, parent_prediction=None)
    submit(store, ids[1], 2, LINUX, skipped=True)
    submit(store, ids[2], 2, LINUX, source=FILE)
    submit(store, ids[3], 2, spans=None)
    assert reviewed(store, project) == []


def test_a_held_out_text_never_counts(store: Store, project: Project) -> None:
    then, now, unknown = tasks(store, project, TEXT, "Linux", "Gnome")
    version = serve(store, project, given.at(0))
    show(store, version, [then], given.at(1), held=True)
    show(store, version, [now], given.at(1), LINUX)
    with store.transaction() as tx:
        given.move(tx, [now, unknown], "holdout")
        tx.commit()
    for document in (then, now, unknown):
        submit(store, document, 2, LINUX)
    assert reviewed(store, project) == []


def test_a_pre_label_that_the_backend_gave_on_demand_is_not_known(store: Store, project: Project) -> None:
    (one,) = tasks(store, project, TEXT)
    version = serve(store, project, given.at(0))
    submit(store, one, 2, LINUX)
    assert [(item.version, item.edits) for item in reviewed(store, project)] == [(version, None)]


@given.on_both
def test_the_version_is_the_one_that_was_shown_when_the_annotation_was_submitted(
    store: Store, project: Project
) -> None:
    ids = tasks(store, project, TEXT, "Linux Mint", "Linux Gno")
    first = serve(store, project, given.at(0))
    show(store, first, ids, given.at(1), LINUX)
    submit(store, ids[0], 2, LINUX)
    second = serve(store, project, given.at(3))
    submit(store, ids[1], 4, LINUX)  # before the new version was published
    show(store, second, [ids[2]], given.at(5), (0, 9, "OS"))
    submit(store, ids[2], 6, LINUX)
    with store.transaction() as tx:
        rollback(tx, project.id, reason="a test", who="a test")
        tx.commit()
    found = [(item.version, item.edits) for item in reviewed(store, project)]
    kept, moved = {"OS": Edits(kept=1)}, {"OS": Edits(moved=1)}
    assert found == [(first, kept), (first, kept), (second, moved)]


def test_it_goes_on_after_the_last_version_that_was_read(store: Store, project: Project) -> None:
    one, two = tasks(store, project, TEXT, "Linux")
    show(store, serve(store, project, given.at(0)), [one, two], given.at(1), LINUX)
    submit(store, one, 2, LINUX)
    last = reviewed(store, project)[-1].annotation_version_id
    assert reviewed(store, project, last) == []
    submit(store, one, 2)  # a correction
    submit(store, two, 3, LINUX)
    assert [item.at for item in reviewed(store, project, last)] == [given.at(3)]


def test_other_projects_are_left_out(store: Store, project: Project) -> None:
    (one,) = tasks(store, project, TEXT)
    submit(store, one, 2, LINUX)
    assert reviewed(store, given.project(store, "Another")) == []
