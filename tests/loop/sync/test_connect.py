"""Linking a project: one server, also at another address, and never a project made twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loop.label_studio.client import LabelStudioClient
from loop.label_studio.http import LabelStudioError
from loop.sync.config_check import ConfigCheck, ForeignRegions
from loop.sync.connect import BackendAccount, connect_backend, follow_server, link_project, make_tasks
from loop.sync.pull import pull
from ner.errors import ConfigError, InputError
from store.counts import Doubts
from store.database.schema import Project
from store.database.session import Store, open_store
from store.documents import NewDocument, add_documents, stored_documents
from store.projects import create_project, project_by_id, set_label_map
from tests.fakes import CONFIG, Answer, FakeLabelStudio, ScriptedServer

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


def region(from_name: str, label: str, to_name: str = "text", kind: str = "labels") -> dict[str, Any]:
    value = {"start": 0, "end": 5, kind: [label]}
    return {"from_name": from_name, "to_name": to_name, "type": kind, "value": value}


def checked(store: Store, server: Server, project_id: int) -> ConfigCheck:
    check = link_project(store, server, project_id, ls_project_id=1).check
    assert check is not None
    return check


def test_a_project_whose_config_fits_what_it_holds_is_linked_without_a_note(
    store: Store, server: Server, project_id: int
) -> None:
    server.annotate(1, [region("label", "OS")])
    check = checked(store, server, project_id)
    assert check == ConfigCheck(("SOFTWARE", "OS"), (), (), (), 3, without_text=0, foreign=(), doubts=Doubts())


def test_tasks_that_lack_the_field_of_the_config_are_refused_by_their_fields_and_nothing_is_linked(
    store: Store, project_id: int
) -> None:
    server = Server([])
    server.settings["label_config"] = CONFIG.replace("$text", "$data.body")
    server.import_tasks(1, [{"data": {"ticket": {"body": "Excel crashed"}, "team": "A"}}])
    with pytest.raises(ConfigError, match=r"'data\.body'.*got fields team, ticket\.body in the tasks of project 1"):
        link_project(store, server, project_id, ls_project_id=1)
    assert now(store, project_id).ls_project_id is None


@pytest.mark.parametrize("data", [{"data": {"body": "Excel"}}, {"data.body": "Excel"}, {"$undefined$": "Excel"}])
def test_tasks_whose_text_the_page_finds_are_linked(store: Store, project_id: int, data: dict[str, Any]) -> None:
    server = Server([])
    server.settings["label_config"] = CONFIG.replace("$text", "$data.body")
    server.import_tasks(1, [{"data": data}, {"data": {"other": "x"}}, {"data": {"data": {"by": "x"}}}])
    check = checked(store, server, project_id)
    assert (check.tasks_read, check.without_text) == (3, 2)


def test_a_project_without_tasks_is_linked(store: Store, project_id: int) -> None:
    assert checked(store, Server([]), project_id).tasks_read == 0


def test_regions_of_controls_and_labels_that_the_config_lacks_are_counted(
    store: Store, server: Server, project_id: int
) -> None:
    server.annotate(1, [region("ner_tags", "SOFTWARE"), region("label", "Person"), region("label", "Person")])
    server.annotate(2, [region("label", "OS", to_name="doc"), region("mood", "good", kind="choices")])
    server.annotate(3, [region("title_tags", "ORDER", to_name="title")])
    titles = '<Labels name="title_tags" toName="title"><Label value="ORDER"/></Labels><Text name="title" value="$t"/>'
    server.settings["label_config"] = CONFIG.replace("</View>", f"{titles}</View>")
    check = checked(store, server, project_id)
    assert check.foreign == (ForeignRegions("ner_tags", "text", 1), ForeignRegions("label", "doc", 1))
    assert check.doubts.labels == {"Person": 1}
    assert [control.name for control in check.left_out] == ["title_tags"]


def test_labels_that_the_map_knows_are_not_unknown(store: Store, server: Server, project_id: int) -> None:
    server.annotate(1, [region("label", "Person"), region("label", "Brand"), region("label", "Junk")])
    with store.transaction() as tx:
        set_label_map(tx, project_id, {"Person": "PER", "Brand": "SOFTWARE", "Junk": "O"})
        tx.commit()
    assert checked(store, server, project_id).doubts.labels == {"Person": 1}


def test_the_labels_that_a_pull_will_take_over_are_named(store: Store, server: Server, project_id: int) -> None:
    server.settings["label_config"] = CONFIG.replace('"OS"', '"HARDWARE"')
    check = checked(store, server, project_id)
    assert (check.labels_added, check.labels_removed) == (("HARDWARE",), ("OS",))


def test_a_config_that_cannot_be_learned_from_is_not_linked(store: Store, server: Server, project_id: int) -> None:
    server.settings["label_config"] = CONFIG.replace("$text", "$parts[0]")
    with pytest.raises(InputError, match=r"has value='\$parts\[0\]'"):
        link_project(store, server, project_id, ls_project_id=1)
    assert now(store, project_id).ls_project_id is None


def test_texts_become_tasks_where_the_config_looks_for_them(store: Store) -> None:
    config = CONFIG.replace("$text", "$data.body")
    server = Server([])
    server.settings["label_config"] = config
    with store.transaction() as tx:
        made = create_project(tx, "nested", label_config=config, labels=["SOFTWARE", "OS"], holdout_share=0.0)
        add_documents(tx, made.id, [NewDocument(text="Excel crashed")])
        tx.commit()
    link_project(store, server, made.id, ls_project_id=1)
    assert make_tasks(store, server, now(store, made.id)) == 1
    assert [task["data"] for task in server.tasks.values()] == [{"data": {"body": "Excel crashed"}}]


def test_a_backend_that_does_not_run_names_the_command_that_starts_it_and_the_way_without_it() -> None:
    refusal = Answer(400, {"non_field_errors": ["Can't connect to ML backend"]})
    with ScriptedServer(Answer(200, []), Answer(200, []), refusal, Answer(200, [])) as server:
        client = LabelStudioClient(server.url, "k" * 40)
        with pytest.raises(LabelStudioError, match=r"loop serve.*--no-backend"):
            connect_backend(client, 1, BackendAccount("http://127.0.0.1:9090"))
