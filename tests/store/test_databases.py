"""What databases are known to differ in, and the store must not."""

from __future__ import annotations

import subprocess
import sys
from typing import Any

import pytest
from sqlalchemy import create_engine, inspect, text

from store import migrating
from store.annotations import NewSetAside, append_annotation, history, list_set_aside, save_set_aside
from store.documents import NewDocument, add_documents, stored_documents, texts_by_name
from store.errors import StoreError, StoreOpenError
from store.projects import all_projects, create_project, project_by_name
from store.schema import LABEL, Project, WeakVote
from store.session import Store, open_store
from tests.store import given, mariadb


def nested(levels: int) -> Any:
    value: Any = "\0 and \ud800"
    for _ in range(levels):
        value = {"in": [value]}
    return value


def test_names_that_look_alike_are_names_of_their_own(store: Store) -> None:
    names = ["Müller", "Muller", "müller", "Müller ", "Mu\N{COMBINING DIAERESIS}ller", "M😀ller", "M😁ller"]
    with store.transaction() as tx:
        for number, name in enumerate(names):
            create_project(tx, name, label_config="", labels=[], slug=f"p{number}")
        tx.commit()
    with store.read() as session:
        assert [project_by_name(session, name).slug for name in names] == [f"p{n}" for n in range(len(names))]
        assert [project.name for project in all_projects(session)] == names


def test_the_longest_text_under_the_longest_id_comes_back(store: Store, project: Project) -> None:
    document = NewDocument("😀" * 1_000_000, external_id="😀" * 500, group="ü" * 500, meta={"float": 0.1 + 0.2})
    with store.transaction() as tx:
        add_documents(tx, project.id, [document], "train")
        tx.commit()
    with store.read() as session:
        (found,) = stored_documents(session, project.id)
    assert (found.text, found.external_id, found.group_key) == (document.text, document.external_id, document.group)
    assert found.meta == document.meta


def test_thousands_of_the_longest_ids_can_be_asked_for(store: Store, project: Project) -> None:
    (key,) = given.documents(store, project.id, ["Fedora"])
    with store.read() as session:
        found = texts_by_name(
            session, project.id, ["Fedora", *("😀" * 495 + f"{number:05}" for number in range(9_000))]
        )
    assert key and list(found) == ["Fedora"]


@pytest.mark.parametrize("payload", [None, nested(100), [True, 1.5e300, 2**60, "back\\slash 'quote' \"%s\" :name"]])
def test_json_comes_back_as_it_was_however_deep(store: Store, project: Project, payload: Any) -> None:
    with store.transaction() as tx:
        save_set_aside(tx, project.id, [NewSetAside("x", "y", payload)])
        tx.commit()
    with store.read() as session:
        (found,) = list_set_aside(session, project.id)
    assert found.payload == payload


def test_numbers_come_back_to_the_last_bit(store: Store, project: Project) -> None:
    (key,) = given.documents(store, project.id, ["Fedora"])
    with store.transaction() as tx:
        append_annotation(tx, key, given.annotation(lead_time=0.1 + 0.2, parent_prediction=2**60 + 1))
        tx.commit()
    with store.read() as session:
        (found,) = history(session, key)
    assert (found.lead_time, found.parent_prediction) == (0.1 + 0.2, 2**60 + 1)


def test_what_is_too_long_for_mariadb_is_refused_and_never_cut(maria_url: str) -> None:
    store = open_store(maria_url)
    (key,) = given.documents(store, given.project(store).id, ["Fedora"])
    fields = {
        "document_id": key,
        "source": "f",
        "start": 0,
        "end": 1,
        "function_digest": "d",
        "created_at": given.at(0),
    }
    with pytest.raises(StoreError, match="too long"), store.transaction() as tx:
        tx.session.add(WeakVote(label="L" * (LABEL + 1), **fields))
        tx.commit()
    with store.read() as session:
        assert session.query(WeakVote).count() == 0
    store.close()


CUT_OFF = """
import os, sys
from store import migrating
from store.session import open_store
real = migrating.command.upgrade
def killed(*arguments):
    real(*arguments)
    os.kill(os.getpid(), 9)
migrating.command.upgrade = killed
open_store(sys.argv[1])
"""


def test_a_new_mariadb_store_that_kill_9_left_half_made_is_begun_again(maria_empty_url: str) -> None:
    killed = subprocess.run([sys.executable, "-c", CUT_OFF, maria_empty_url], check=False, timeout=120)
    assert killed.returncode == -9
    engine = create_engine(maria_empty_url)
    assert migrating._UNDER_WAY in inspect(engine).get_table_names()
    with pytest.raises(StoreOpenError):
        open_store(maria_empty_url, migrate=False)
    store = open_store(maria_empty_url)
    assert store.schema_version() == migrating.head_revision()
    assert migrating._UNDER_WAY not in inspect(engine).get_table_names()
    engine.dispose()
    store.close()


def test_an_older_mariadb_store_whose_upgrade_was_cut_off_is_refused_and_left_alone(maria_url: str) -> None:
    engine = create_engine(maria_url)
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {migrating._UNDER_WAY} SELECT '0001' AS begun_from"))
    tables = inspect(engine).get_table_names()
    for migrate in (True, False):
        with pytest.raises(StoreOpenError):
            open_store(maria_url, migrate=migrate)
    with pytest.raises(StoreOpenError, match="0001 was cut off"):
        open_store(maria_url)
    assert inspect(engine).get_table_names() == tables
    engine.dispose()


def test_a_mariadb_that_refuses_the_user_or_has_no_such_database_says_so(maria: mariadb.Server) -> None:
    for url in (maria.url("nowhere"), maria.url("nowhere").replace("loop@", "loop:secret-word@")):
        with pytest.raises(StoreOpenError, match="answers") as caught:
            open_store(url)
        assert "secret-word" not in str(caught.value)
