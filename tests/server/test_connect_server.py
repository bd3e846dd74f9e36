"""Connecting a backend on the real server: one row and one webhook, however it stood before."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from loop.label_studio.client import LabelStudioClient, LabelStudioError
from loop.sync.connect import BackendAccount, connect_backend, link_project
from store.database.session import open_store
from store.projects import create_project
from tests.fakes import StubBackend
from tests.server.real_label_studio import free_port

CONFIG = (
    '<View><Labels name="label" toName="text"><Label value="SOFTWARE"/><Label value="OS"/></Labels>'
    '<Text name="text" value="$text"/></View>'
)


@pytest.fixture
def backend() -> Iterator[StubBackend]:
    with StubBackend("loop", "secret") as backend:
        yield backend


@pytest.fixture
def project_id(client: LabelStudioClient) -> int:
    project_id = int(client.create_project("connect", CONFIG)["id"])
    client.import_tasks(project_id, [{"data": {"text": "Excel on Windows"}}])
    return project_id


def _stands(client: LabelStudioClient, project_id: int) -> tuple[list[Any], list[Any]]:
    rows = [(row["url"], row["state"]) for row in client.backends(project_id)]
    return rows, [(hook["url"], hook["is_active"]) for hook in client.webhooks(project_id)]


def test_connecting_twice_leaves_one_row_and_one_webhook(
    client: LabelStudioClient, project_id: int, backend: StubBackend
) -> None:
    account = BackendAccount(backend.url, "loop", "secret")
    first = connect_backend(client, project_id, account)
    again = connect_backend(client, project_id, account)
    assert (first.added, again.added, first.backend_id) == (True, False, again.backend_id)
    assert _stands(client, project_id) == ([(backend.url, "CO")], [(account.webhook_url, True)])


def test_duplicate_rows_and_webhooks_are_removed(
    client: LabelStudioClient, project_id: int, backend: StubBackend
) -> None:
    account = BackendAccount(backend.url, "loop", "secret")
    for _ in range(3):
        client.add_backend(project_id, backend.url, "by hand", "loop", "secret")
    client.create_webhook(project_id, account.webhook_url, {})
    done = connect_backend(client, project_id, account)
    assert (done.added, done.rows_removed, done.webhooks_removed) == (False, 2, 1)
    assert _stands(client, project_id) == ([(backend.url, "CO")], [(account.webhook_url, True)])


def test_a_row_that_the_backend_no_longer_lets_in_is_replaced(
    client: LabelStudioClient, project_id: int, backend: StubBackend
) -> None:
    client.add_backend(project_id, backend.url, "by hand", "loop", "secret")
    moved = BackendAccount(backend.url, "loop", "changed")
    with StubBackend("loop", "changed") as successor:
        backend.expected = successor.expected
        done = connect_backend(client, project_id, moved)
    assert (done.added, done.rows_removed) == (True, 1)
    assert _stands(client, project_id)[0] == [(backend.url, "CO")]


def test_a_webhook_event_passes_the_backends_basic_auth(
    client: LabelStudioClient, project_id: int, backend: StubBackend
) -> None:
    connect_backend(client, project_id, BackendAccount(backend.url, "loop", "secret"))
    task = client.next_task(project_id)
    assert task is not None
    client.submit_annotation(int(task["id"]), {"result": []})
    (event,) = [seen for seen in backend.seen if seen.path == "/webhook"]
    assert event.headers["Authorization"] == backend.expected
    assert b"ANNOTATION_CREATED" in event.body


def test_a_backend_that_is_down_or_refuses_is_an_error_and_leaves_no_row(
    client: LabelStudioClient, project_id: int, backend: StubBackend
) -> None:
    for account in (BackendAccount(f"http://127.0.0.1:{free_port()}"), BackendAccount(backend.url, "loop", "wrong")):
        with pytest.raises(LabelStudioError, match="BASIC_AUTH_USER") as refused:
            connect_backend(client, project_id, account)
        assert "wrong" not in str(refused.value)
        assert client.backends(project_id) == []


def test_a_project_that_a_killed_connect_left_behind_is_found_by_its_description(
    client: LabelStudioClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: object) -> None:
        raise KeyboardInterrupt

    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    with store.transaction() as tx:
        project = create_project(tx, "orphan & co", label_config=CONFIG, labels=["SOFTWARE", "OS"])
        tx.commit()
    client.create_project("orphan & co", CONFIG)
    with monkeypatch.context() as patched:
        patched.setattr("loop.sync.connect.link", killed)
        with pytest.raises(KeyboardInterrupt):
            link_project(store, client, project.id)
    again = link_project(store, client, project.id)
    store.close()
    assert again.found_again
    assert len(client.projects("orphan & co")) == 2
