from __future__ import annotations

import subprocess
import sys
import threading
from datetime import timedelta, timezone
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine, text, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from ner.errors import RuleError
from store.database import session as session_module
from store.database.schema import Document, Hint, Project, Run
from store.database.session import Store, Transaction, connect, open_store
from store.errors import RefusedError, StoreAwayError, StoreBusyError, StoreError, StoreOpenError
from store.projects import all_projects, create_project
from tests.store import given
from tests.store.cluster import Cluster


def make(tx: Transaction, name: str = "IT Support") -> Project:
    return create_project(tx, name, label_config=given.CONFIG, labels=["OS"])


def names(store: Store) -> list[str]:
    with store.read() as session:
        return [project.name for project in all_projects(session)]


@given.on_both
def test_what_is_committed_is_kept(store: Store) -> None:
    with store.transaction() as tx:
        make(tx)
        tx.commit()
    assert names(store) == ["IT Support"]


@given.on_both
def test_a_transaction_that_is_not_committed_is_rolled_back(store: Store) -> None:
    with store.transaction() as tx:
        make(tx)
        assert [project.name for project in all_projects(tx.session)] == ["IT Support"]
    assert names(store) == []


def test_a_transaction_that_raises_is_rolled_back(store: Store) -> None:
    with pytest.raises(KeyError), store.transaction() as tx:
        make(tx)
        raise KeyError("anything")
    assert names(store) == []


def test_what_follows_a_commit_needs_another_commit(store: Store) -> None:
    with store.transaction() as tx:
        make(tx, "first")
        tx.commit()
        make(tx, "second")
    assert names(store) == ["first"]


@given.on_both
def test_a_reader_cannot_write(store: Store) -> None:
    with pytest.raises(StoreError), store.read() as session:
        session.add(Hint(ls_project_id=1, action="PROJECT_UPDATED", received_at=given.at(0)))
        session.commit()
    with store.read() as session:
        assert session.query(Hint).count() == 0


@given.on_both
def test_a_writer_after_a_reader_on_the_same_connection_can_write(store: Store) -> None:
    assert names(store) == []
    with store.transaction() as tx:
        make(tx)
        tx.commit()
    assert names(store) == ["IT Support"]


@given.on_both
def test_a_reader_keeps_its_snapshot_while_a_writer_commits(store: Store) -> None:
    with store.read() as session:
        assert all_projects(session) == []
        with store.transaction() as tx:
            make(tx)
            tx.commit()
        assert all_projects(session) == []
    assert names(store) == ["IT Support"]


@given.on_both
def test_two_writers_of_a_project_take_turns(store: Store, project: Project) -> None:
    order: list[str] = []
    first_writes = threading.Event()

    def second() -> None:
        first_writes.wait(10)
        with store.transaction() as tx:
            tx.session.get(Project, project.id, with_for_update=True)
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with store.transaction() as tx:
        tx.session.get(Project, project.id, with_for_update=True)
        first_writes.set()
        thread.join(0.2)
        order.append("first")
        tx.commit()
    thread.join(30)
    assert order == ["first", "second"]


def test_a_writer_gives_up_with_a_busy_error(store_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    holder = open_store(store_url)
    monkeypatch.setattr(session_module, "BUSY_SECONDS", 0.05)
    impatient = open_store(store_url)
    with holder.transaction(), pytest.raises(StoreBusyError) as caught, impatient.transaction():
        pass
    assert caught.value.exit_code == 6
    holder.close()
    impatient.close()


def test_sqlite_runs_in_wal_with_keys_enforced_and_every_commit_synced(store_url: str) -> None:
    store = open_store(store_url)
    with store.read() as session:
        values = [
            session.execute(text(f"PRAGMA {name}")).scalar()
            for name in ("journal_mode", "foreign_keys", "synchronous", "busy_timeout")
        ]
    assert values == ["wal", 1, 2, 30_000]
    store.close()


@given.on_both
def test_foreign_keys_are_enforced(store: Store) -> None:
    with pytest.raises(StoreError) as caught, store.transaction() as tx:
        tx.session.add(Hint(project_id=99, ls_project_id=1, action="x", received_at=given.at(0)))
        tx.commit()
    assert isinstance(caught.value.__cause__, IntegrityError)


@given.on_both
def test_database_errors_inside_a_transaction_come_out_as_the_stores(store: Store) -> None:
    with pytest.raises(StoreError, match="statement"), store.transaction() as tx:
        tx.session.execute(text("SELECT * FROM no_such_table"))


def test_other_errors_inside_a_transaction_come_out_as_they_are(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.transaction():
        raise ZeroDivisionError


@given.on_both
def test_instants_come_back_in_utc_to_the_microsecond(store: Store, project: Project) -> None:
    moment = given.at(30).replace(microsecond=123_456).astimezone(timezone(timedelta(hours=5, minutes=30)))
    with store.transaction() as tx:
        tx.session.execute(update(Project).values(pull_watermark=moment))
        tx.commit()
    with store.read() as session:
        found = session.get_one(Project, project.id).pull_watermark
    assert found == moment
    assert found is not None and found.utcoffset() == timedelta(0)


def test_an_instant_without_a_zone_is_refused(store: Store, project: Project) -> None:
    with pytest.raises(RuleError, match="time zone") as caught, store.transaction() as tx:
        tx.session.execute(update(Project).values(pull_watermark=given.at(30).replace(tzinfo=None)))
    assert caught.value.exit_code == 4


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "notes.txt"
    path.write_text("These are my notes, and they are long enough to hold a header. " * 40)
    with pytest.raises(StoreOpenError, match="not a database") as caught:
        open_store(f"sqlite:///{path}")
    assert caught.value.exit_code == 3
    assert path.read_text().startswith("These are my notes")


def test_a_store_in_a_folder_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StoreOpenError, match="unable to open"):
        open_store(f"sqlite:///{tmp_path / 'missing' / 'store.sqlite'}")


@pytest.mark.parametrize(
    "url", ["sqlite://", "sqlite:///:memory:", "no url at all", "nosuch://host/name", "sqlite+nosuch:///x"]
)
def test_an_address_that_can_hold_no_store_is_refused(url: str) -> None:
    with pytest.raises(StoreOpenError):
        open_store(url)


@pytest.mark.parametrize("dialect", ["mysql", "mariadb+pymysql", "oracle", "mssql"])
def test_a_database_that_no_store_was_made_for_is_refused_with_those_that_are(dialect: str) -> None:
    with pytest.raises(StoreOpenError, match="sqlite, postgresql") as caught:
        open_store(f"{dialect}://loop:secret-word@127.0.0.1/store")
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
def test_a_server_that_does_not_answer_is_refused_without_showing_the_password(host: str) -> None:
    with pytest.raises(StoreAwayError) as caught:
        open_store(f"postgresql+psycopg://loop:secret-word@{host}/store")
    assert "secret-word" not in str(caught.value)


def test_a_server_without_such_a_database_says_so_and_hides_the_password(postgres: Cluster) -> None:
    """Waiting does not mend that, so it is no StoreAwayError."""
    with pytest.raises(StoreOpenError, match="create them on the server") as caught:
        open_store(postgres.url("nowhere").replace("loop@", "loop:secret-word@"))
    assert not isinstance(caught.value, StoreAwayError)
    assert "secret-word" not in str(caught.value)


@pytest.mark.parametrize(("query", "limit"), [("", 5), ("?connect_timeout=30", "30")])
def test_a_server_that_is_cut_off_holds_nobody_up_for_long(
    query: str, limit: int | str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the address says of it wins."""
    given: dict[str, Any] = {}

    def connect(*_: object, **parameters: Any) -> None:
        given.update(parameters)
        raise psycopg.OperationalError("connection timeout expired")

    monkeypatch.setattr(psycopg, "connect", connect)
    monkeypatch.setattr(psycopg.Connection, "connect", connect)
    with pytest.raises(StoreAwayError):
        open_store(f"postgresql+psycopg://loop@127.0.0.1/store{query}")
    assert (given["connect_timeout"], given["tcp_user_timeout"]) == (limit, 10_000)


@pytest.mark.parametrize("url", ["loop:secret-word@host/name", "postgresql://loop:secret-word@host:port/name"])
def test_an_address_that_cannot_be_read_is_refused_without_showing_the_password(url: str) -> None:
    with pytest.raises(StoreOpenError, match="SQLAlchemy URL") as caught:
        open_store(url)
    assert "secret-word" not in str(caught.value)


def test_the_address_hides_its_password(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path / 'store.sqlite'}")
    assert store.url.endswith("store.sqlite")
    hidden = Store(create_engine("postgresql+psycopg://loop:secret-word@127.0.0.1:1/store"))
    assert "secret-word" not in hidden.url
    store.close()


KILLED = """
import os, sys
from store.database.session import open_store
from store.projects import create_project
store = open_store(sys.argv[1])
def make(tx, name):
    create_project(tx, name, label_config="", labels=[])
with store.transaction() as tx:
    make(tx, "committed")
    tx.commit()
with store.transaction() as tx:
    make(tx, "lost")
    tx.session.flush()
    os.kill(os.getpid(), 9)
"""


@given.on_both
def test_kill_9_in_a_transaction_keeps_what_was_committed_and_nothing_else(store_url: str) -> None:
    killed = subprocess.run([sys.executable, "-c", KILLED, store_url], check=False, timeout=120)
    assert killed.returncode == -9
    store = open_store(store_url)
    assert names(store) == ["committed"]
    with store.transaction() as tx:
        make(tx, "next")
        tx.commit()
    assert names(store) == ["committed", "next"]
    store.close()


def test_errors_of_the_store_say_what_to_do(store: Store) -> None:
    with store.transaction() as tx:
        make(tx)
        with pytest.raises(RefusedError, match="Choose another name"):
            make(tx)


def test_rows_can_be_used_after_their_session_closed(store: Store, project: Project) -> None:
    with store.read() as session:
        found = session.get_one(Project, project.id)
    assert found.name == "IT Support"
    assert isinstance(Session.object_session(found), type(None))


def test_tables_start_empty(store: Store) -> None:
    with store.read() as session:
        assert [session.query(table).count() for table in (Project, Document, Run)] == [0, 0, 0]


@pytest.mark.parametrize(
    "address", ["postgresql+psycopg://loop:secret@db/x", "postgresql+psycopg://db/x?password=secret"]
)
def test_a_store_shows_its_address_without_the_password(address: str) -> None:
    shown = connect(address).url
    assert "db/x" in shown
    assert "secret" not in shown
