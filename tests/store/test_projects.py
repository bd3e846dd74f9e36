from __future__ import annotations

import pytest

from store.database.schema import Project
from store.database.session import Store
from store.documents import stored_documents
from store.errors import NotFoundError, RefusedError
from store.projects import (
    create_project,
    link,
    project_by_id,
    project_by_ls_id,
    project_by_name,
    set_label_config,
    set_watermark,
    slugify,
)
from store.tasks import upsert_tasks
from tests.store import given


def test_a_project_is_found_by_name_slug_and_id(store: Store, project: Project) -> None:
    with store.read() as session:
        assert project_by_name(session, "IT Support").id == project.id
        assert project_by_name(session, "it-support").id == project.id
        assert project_by_id(session, project.id).labels == ["OS", "SOFTWARE"]


def test_an_unknown_project_is_named_with_those_there(store: Store, project: Project) -> None:
    with store.read() as session:
        with pytest.raises(NotFoundError, match="IT Support") as caught:
            project_by_name(session, "Other")
        assert caught.value.exit_code == 3
        with pytest.raises(NotFoundError):
            project_by_id(session, 99)
        assert project_by_ls_id(session, 99) is None


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("IT Support", "it-support"),
        ("  Größe & Maß!  ", "groe-ma"),
        ("支持", "project"),
        ("a" * 60, "a" * 40),
        ("../../etc", "etc"),
    ],
)
def test_a_slug_is_safe_as_a_folder(name: str, slug: str) -> None:
    assert slugify(name) == slug


def test_two_projects_never_share_a_slug(store: Store, project: Project) -> None:
    with pytest.raises(RefusedError, match="it-support"), store.transaction() as tx:
        create_project(tx, "IT -- support", label_config="", labels=[])


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_a_holdout_share_that_is_no_share_is_refused(store: Store, share: float) -> None:
    with pytest.raises(RefusedError, match="share"), store.transaction() as tx:
        create_project(tx, "p", label_config="", labels=[], holdout_share=share)


def test_salts_differ_between_projects(store: Store) -> None:
    with store.transaction() as tx:
        salts = {create_project(tx, name, label_config="", labels=[]).salt for name in ("a", "b")}
    assert len(salts) == 2


def test_a_project_is_linked_to_one_in_label_studio(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        link(tx, project.id, "http://host:8080/", 7)
        tx.commit()
    with store.read() as session:
        found = project_by_ls_id(session, 7)
        assert found is not None and found.id == project.id
        assert project_by_ls_id(session, 7, "http://host:8080") is not None
        assert project_by_ls_id(session, 7, "http://other:8080") is None


def test_the_same_id_on_two_servers_needs_the_server(store: Store, project: Project) -> None:
    other = given.project(store, "Other")
    with store.transaction() as tx:
        link(tx, project.id, "http://one", 7)
        link(tx, other.id, "http://two", 7)
        tx.commit()
    with store.read() as session:
        found = project_by_ls_id(session, 7, "http://two")
        assert found is not None and found.id == other.id
        with pytest.raises(RefusedError, match="which server"):
            project_by_ls_id(session, 7)


def test_a_project_in_label_studio_feeds_one_project(store: Store, project: Project) -> None:
    other = given.project(store, "Other")
    with pytest.raises(RefusedError, match="IT Support"), store.transaction() as tx:
        link(tx, project.id, "http://one", 7)
        link(tx, other.id, "http://one/", 7)


def test_linking_elsewhere_forgets_task_ids_and_the_watermark_and_linking_again_does_not(
    store: Store, project: Project
) -> None:
    with store.transaction() as tx:
        link(tx, project.id, "http://one", 7)
        upsert_tasks(tx, project.id, [given.task(1, "a text")])
        set_watermark(tx, project.id, given.at(5))
        again = link(tx, project.id, "http://one/", 7)
        assert again.pull_watermark == given.at(5)
        assert [item.ls_task_id for item in stored_documents(tx.session, project.id)] == [1]
        elsewhere = link(tx, project.id, "http://two", 7)
        assert elsewhere.pull_watermark is None
        assert [item.ls_task_id for item in stored_documents(tx.session, project.id)] == [None]


def test_the_watermark_never_goes_back_unless_it_is_taken_away(store: Store, project: Project) -> None:
    def after(minute: int | None) -> object:
        with store.transaction() as tx:
            set_watermark(tx, project.id, None if minute is None else given.at(minute))
            tx.commit()
        with store.read() as session:
            return project_by_id(session, project.id).pull_watermark

    assert [after(10), after(5), after(20), after(None)] == [given.at(10), given.at(10), given.at(20), None]


def test_a_changed_label_config_is_taken_over(store: Store, project: Project) -> None:
    with store.transaction() as tx:
        set_label_config(tx, project.id, "<View/>", ["NEW"])
        tx.commit()
    with store.read() as session:
        assert project_by_id(session, project.id).labels == ["NEW"]
