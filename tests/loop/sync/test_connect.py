"""Linking a project: one server, also at another address, and never a project made twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loop.sync.connect import follow_server, link_project
from loop.sync.pull import pull
from ner.errors import ConfigError
from store.documents import stored_documents
from store.projects import create_project, project_by_id
from store.schema import Project
from store.session import Store, open_store
from tests.fakes import CONFIG, FakeLabelStudio

MOVED = "http://elsewhere.fake"


class Server(FakeLabelStudio):
    """A fake that makes and lists projects; the tasks are those of the first one."""

    def __init__(self, texts: list[str]) -> None:
        super().__init__(CONFIG, texts)
        self.made: list[dict[str, Any]] = []

    def projects(self, title: str) -> list[dict[str, Any]]:
        return [one for one in self.made if one["title"] == title]

    def create_project(self, title: str, label_config: str, **fields: Any) -> dict[str, Any]:
        self.made.append({"id": len(self.made) + 1, "title": title, "label_config": label_config, **fields})
        return self.made[-1]


@pytest.fixture
def server() -> Server:
    return Server([f"Excel number {n} crashed" for n in range(3)])


@pytest.fixture
def project_id(store: Store) -> int:
    return new_project(store, "desk")


def new_project(store: Store, name: str) -> int:
    with store.transaction() as tx:
        made = create_project(tx, name, label_config=CONFIG, labels=["SOFTWARE", "OS"])
        tx.commit()
    return made.id


def now(store: Store, project_id: int) -> Project:
    with store.read() as session:
        return project_by_id(session, project_id)


def pulled(store: Store, server: Server, project_id: int) -> int:
    """Link and pull; how many documents there are."""
    link_project(store, server, project_id)
    pull(store, server, now(store, project_id))
    return documents(store, project_id)


def documents(store: Store, project_id: int) -> int:
    with store.read() as session:
        return len(stored_documents(session, project_id))


@pytest.mark.parametrize("ls_project_id", [None, 1])
def test_a_second_server_is_refused_while_documents_are_tied_to_the_first(
    store: Store, server: Server, project_id: int, ls_project_id: int | None
) -> None:
    pulled(store, server, project_id)
    server.url = MOVED
    with pytest.raises(ConfigError, match="--moved"):
        link_project(store, server, project_id, ls_project_id=ls_project_id)
    assert len(server.made) == 1
    with pytest.raises(ConfigError, match="--moved"):
        pull(store, server, now(store, project_id))


def test_a_link_that_brought_nothing_yet_may_go_to_another_server(
    store: Store, server: Server, project_id: int
) -> None:
    link_project(store, server, project_id)
    server.url, server.made = MOVED, []
    assert link_project(store, server, project_id).created
    assert now(store, project_id).ls_url == MOVED


def test_a_server_that_moved_is_followed_and_doubles_nothing(store: Store, server: Server, project_id: int) -> None:
    before = pulled(store, server, project_id)
    server.url = MOVED
    assert follow_server(store, server, now(store, project_id))
    assert not follow_server(store, server, now(store, project_id))
    assert pull(store, server, now(store, project_id)).new == 0
    assert pulled(store, server, project_id) == before == 3


def test_one_task_that_is_as_it_was_tells_the_same_server(store: Store, server: Server, project_id: int) -> None:
    pulled(store, server, project_id)
    first, second, _ = sorted(server.tasks)
    del server.tasks[first]
    server.edit(second, text="Word crashed instead")
    server.url = MOVED
    assert follow_server(store, server, now(store, project_id))


def test_a_server_with_other_texts_under_the_same_ids_is_not_the_one_that_moved(
    store: Store, server: Server, project_id: int
) -> None:
    pulled(store, server, project_id)
    other = Server([f"Word number {n} froze" for n in range(3)])
    other.url = MOVED
    with pytest.raises(ConfigError, match="none of 3 looked for"):
        follow_server(store, other, now(store, project_id))
    assert now(store, project_id).ls_url == server.url


def test_an_unlinked_project_follows_nobody(store: Store, server: Server, project_id: int) -> None:
    assert not follow_server(store, server, now(store, project_id))
    assert now(store, project_id).ls_url is None


def test_a_project_made_by_a_try_that_was_killed_is_found_again(
    store: Store, server: Server, project_id: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("loop.sync.connect.link", killed)
        with pytest.raises(KeyboardInterrupt):
            link_project(store, server, project_id)
    again = link_project(store, server, project_id)
    assert (again.ls_project_id, again.created, again.found_again) == (1, False, True)
    assert len(server.made) == 1


def test_a_project_of_another_store_with_the_same_name_and_salt_is_left_alone(
    store: Store, server: Server, project_id: int, tmp_path: Path
) -> None:
    assert link_project(store, server, project_id).created
    other = open_store(f"sqlite:///{tmp_path / 'other.sqlite'}")
    with other.transaction() as tx:
        salt = now(store, project_id).salt
        twin = create_project(tx, "desk", label_config=CONFIG, labels=["SOFTWARE", "OS"], salt=salt)
        tx.commit()
    assert link_project(other, server, twin.id).ls_project_id == 2
    other.close()


def test_a_project_of_the_same_title_that_is_somebody_elses_is_left_alone(
    store: Store, server: Server, project_id: int
) -> None:
    server.create_project("desk", CONFIG, description="Ours since March.")
    server.create_project("desk", CONFIG, description=None)
    linked = link_project(store, server, project_id)
    assert (linked.ls_project_id, linked.created) == (3, True)
