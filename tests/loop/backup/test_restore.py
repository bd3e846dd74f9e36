"""`loop restore`: all of a project or nothing of it, in an empty place, where work goes on."""

from __future__ import annotations

import json
import sqlite3
from datetime import timedelta
from pathlib import Path
from types import ModuleType

import psycopg
import pytest
from sqlalchemy import select, update

from loop.backup import restore as restoring
from loop.backup import restored_store
from loop.cli.app import run
from loop.cli.invocation import Invocation
from store.database.columns import utc_now
from store.database.schema import Model, Run
from store.projects import link, project_by_name
from store.registry import start_model, supersede
from store.runs import RETRAIN, begin_run, tracked
from tests.fakes import CONFIG, FakeLabelStudio
from tests.loop.backup.conftest import Databases
from tests.loop.backup.work import add_texts, killed, store_of
from tests.loop.desk import Desk

REGION = {
    "id": "r0",
    "from_name": "label",
    "to_name": "text",
    "type": "labels",
    "value": {"start": 0, "end": 5, "labels": ["SOFTWARE"]},
}


@pytest.fixture
def out(desk: Desk, tmp_path: Path) -> Path:
    """A backup of the project with a few texts."""
    store = store_of(desk.home)
    add_texts(store, 5)
    store.close()
    assert desk.loop("backup", str(tmp_path / "out")).code == 0
    return tmp_path / "out"


def at(desk: Desk, home: Path) -> Desk:
    """The project in another folder."""
    return Desk(home, desk.capsys, desk.monkeypatch)


def change(out: Path, **fields: object) -> None:
    """Change fields of the manifest."""
    path = out / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def test_a_cycle_goes_on_in_the_restored_project(desk: Desk, tmp_path: Path):
    """What was done in Label Studio after the backup comes with the next pull; the model in service is published."""
    server = FakeLabelStudio(CONFIG, [f"excel number {n} crashed" for n in range(4)])
    desk.monkeypatch.setattr(Invocation, "client", server)
    store = store_of(desk.home)
    with store.transaction() as tx:
        project = project_by_name(tx.session, "desk").id
        link(tx, project, server.url, 1)
        supersede(tx, project, "desk-0002", by="a test", who="a test")
        tx.commit()
    store.close()
    tasks = sorted(server.tasks)
    server.annotate(tasks[0], [REGION])
    assert desk.loop("pull").code == 0
    assert desk.loop("publish").code == 0
    desk.loop("backup", str(tmp_path / "out"))
    server.annotate(tasks[1], [REGION])
    server.update_annotation(tasks[0], server.tasks[tasks[0]]["annotations"][0]["id"], result=[])
    desk.loop("pull")
    assert desk.loop("restore", str(tmp_path / "out"), str(tmp_path / "new")).code == 0
    new = at(desk, tmp_path / "new")
    before = new.loop("status", "--json").json["counts"]
    assert before["gold"] + before["holdout_gold"] == 1
    done = new.loop("run", "--once", "--json")
    assert done.code == 0, done.out + done.err
    after, there = (one.loop("status", "--json").json["counts"] for one in (new, desk))
    assert after["gold"] + after["holdout_gold"] == there["gold"] + there["holdout_gold"] == 2
    assert server.model_versions(1) == {"desk-0001": 3}


@pytest.mark.parametrize(
    "places",
    [
        pytest.param([(restoring, "place", 2)], id="second file"),
        pytest.param([(restored_store, "_check_counts", 1)], id="rows"),
        pytest.param([(restoring, "_restored", 1), (restoring, "write_whole", 1)], id="after the store"),
        pytest.param([(restoring, "write_whole", 1)], id="loop.toml"),
    ],
)
def test_a_restore_that_is_killed_leaves_no_project_and_goes_on(
    desk: Desk, out: Path, tmp_path: Path, places: list[tuple[ModuleType, str, int]]
):
    home = tmp_path / "new"
    command = ("restore", str(out), str(home))
    killed(desk, command, *places)
    assert not (home / "loop.toml").exists()
    said = desk.loop(*command, "--json")
    assert said.code == 0, said.out
    assert at(desk, home).loop("doctor").code == 0
    store = store_of(home)
    with store.read() as session:
        assert len(session.scalars(select(Run).where(Run.kind == "restore")).all()) == 1
    store.close()
    assert not list(home.rglob("*.part"))


def test_runs_that_were_at_work_do_not_hold_the_restored_project(desk: Desk, tmp_path: Path):
    store = store_of(desk.home)
    with store.transaction() as tx:
        project = project_by_name(tx.session, "desk").id
        run = begin_run(tx, project, RETRAIN, exclusive=True)
        kept = {"settings": {}, "libraries": {}, "data_fingerprint": "0"}
        half = start_model(tx, project, run_id=run.id, encoder="tiny", seed=1, **kept).version
        other = {"host": "another-host", "heartbeat_at": utc_now() + timedelta(minutes=5)}
        tx.session.execute(update(Run).where(Run.id == run.id).values(**other))
        tx.commit()
    store.close()
    desk.loop("backup", str(tmp_path / "out"))
    assert desk.loop("restore", str(tmp_path / "out"), str(tmp_path / "new")).code == 0
    assert at(desk, tmp_path / "new").loop("doctor").code == 0
    store = store_of(tmp_path / "new")
    with tracked(store, project, RETRAIN, exclusive=True), store.read() as session:
        assert session.get_one(Run, run.id).state == session.get_one(Model, half).state == "interrupted"
    store.close()


def test_no_version_that_may_have_been_trained_after_the_backup_is_given_again(desk: Desk, out: Path, tmp_path: Path):
    assert desk.candidate() == "desk-0003"
    desk.loop("restore", str(out), str(tmp_path / "new"))
    assert at(desk, tmp_path / "new").candidate() == "desk-0101"


def test_a_backup_just_below_a_hundred_keeps_as_many_numbers_free(desk: Desk, tmp_path: Path):
    store = store_of(desk.home)
    with store.transaction() as tx:
        tx.session.execute(update(Model).where(Model.number == 2).values(number=99))  # as after 97 more trainings
        tx.commit()
    store.close()
    desk.loop("backup", str(tmp_path / "out"))
    assert desk.candidate() == "desk-0100"
    assert desk.candidate() == "desk-0101"
    desk.loop("restore", str(tmp_path / "out"), str(tmp_path / "new"))
    assert at(desk, tmp_path / "new").candidate() == "desk-0201"


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda out: (out / "models/desk/desk-0001/model.onnx").write_bytes(b"x"), "model.onnx was altered"),
        (lambda out: next(out.glob("*/store.jsonl.gz")).write_bytes(b"x"), "store.jsonl.gz was altered"),
        (lambda out: next(out.glob("*/project/labels.xml")).unlink(), "labels.xml is missing"),
        (lambda out: (out / "manifest.json").unlink(), "manifest.json"),
        (lambda out: (out / "manifest.json").write_text("{"), "manifest.json"),
        (lambda out: change(out, format=2), "format 1"),
        (lambda out: change(out, schema="9999"), "9999"),
        (lambda out: change(out, files={"../secret": "0"}), "../secret"),
        (lambda out: change(out, files={"/etc/passwd": "0"}), "/etc/passwd"),
    ],
)
def test_a_backup_that_is_not_what_it_says_is_refused_and_nothing_is_written(
    desk: Desk, out: Path, tmp_path: Path, spoil, named: str
):
    spoil(out)
    said = desk.loop("restore", str(out), str(tmp_path / "new"))
    assert said.code == 11 and named in said.err
    assert not (tmp_path / "new").exists()


def test_rows_that_are_not_those_of_the_manifest_are_not_kept(desk: Desk, out: Path, tmp_path: Path):
    rows = json.loads((out / "manifest.json").read_text())["rows"]
    change(out, rows=rows | {"documents": 6})
    said = desk.loop("restore", str(out), str(tmp_path / "new"))
    assert said.code == 11 and "documents: 5 of 6" in said.err
    assert sqlite3.connect(tmp_path / "new" / "loop.db").execute("SELECT * FROM sqlite_master").fetchall() == []


def test_a_place_that_is_not_empty_is_refused_by_what_is_there(desk: Desk, out: Path, tmp_path: Path):
    def refused(*words: str) -> str:
        said = desk.loop("restore", str(out), *words)
        assert said.code == 11
        return said.err

    assert "loop.toml" in refused(str(desk.home))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("mine")
    assert "letter.txt" in refused(str(tmp_path / "mine"))
    assert "is a folder" in refused(str(tmp_path / "mine" / "letter.txt"))
    database = f"sqlite:///{desk.home / 'loop.db'}"
    assert "annotation_versions" in refused(str(tmp_path / "new"), "--store", database)
    assert not (tmp_path / "new" / "models").exists()
    other = tmp_path / "models" / "desk" / "desk-0001"
    other.mkdir(parents=True)
    (other / "manifest.json").write_text("{}")
    assert "another model" in refused(str(tmp_path / "new"), "--models", str(tmp_path / "models"))
    assert "another folder" in refused("/sys/new", "--store", f"sqlite:///{tmp_path / 'new.db'}")
    assert desk.loop("restore", str(out), str(tmp_path / "new")).code == 0


def test_a_user_without_rights_in_the_database_is_told_so(desk: Desk, out: Path, tmp_path: Path, databases: Databases):
    url = databases("postgresql")
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN")
    home = tmp_path / "new"
    said = desk.loop("restore", str(out), str(home), "--store", url.replace("//loop@", "//guest@"))
    assert said.code == 3 and "Grant this user the right" in said.err
    assert not (home / "loop.toml").exists()
    said = desk.loop("restore", str(out), str(home), "--store", url.replace("//loop@", "//loop:hush@"), "--json")
    assert said.code == 0
    assert ["LOOP_STORE_URL" in secret for secret in said.json["needed"]] == [True]
    assert "hush" not in (home / "loop.toml").read_text()


def test_models_that_are_there_already_are_taken_as_they_are(desk: Desk, out: Path, tmp_path: Path):
    models = desk.home / "models"
    said = desk.loop("restore", str(out), str(tmp_path / "new"), "--models", str(models), "--json")
    assert said.code == 0 and said.json["models"] == str(models)
    assert at(desk, tmp_path / "new").loop("doctor").code == 0


def test_the_store_that_the_command_names_counts_more_than_the_file_of_a_secret(desk: Desk, out: Path, tmp_path: Path):
    (tmp_path / "url").write_text(f"sqlite:///{tmp_path / 'other.db'}")
    desk.monkeypatch.setenv("LOOP_STORE_URL_FILE", str(tmp_path / "url"))
    named = f"sqlite:///{tmp_path / 'named.db'}"
    said = desk.loop("restore", str(out), str(tmp_path / "new"), "--store", named)
    assert said.code == 0, said.err
    assert (tmp_path / "named.db").exists() and not (tmp_path / "other.db").exists()


def test_the_environment_says_where_the_store_goes_and_no_password_is_written(desk: Desk, out: Path, tmp_path: Path):
    desk.monkeypatch.setenv("LOOP_STORE_URL", f"sqlite:///{tmp_path / 'store.db'}")
    desk.monkeypatch.setenv("LOOP_HOME", str(tmp_path / "new"))
    assert run(["restore", str(out)]) == 0
    assert (tmp_path / "store.db").exists() and not (tmp_path / "new" / "loop.db").exists()
    said = desk.loop(
        "restore", str(out), str(tmp_path / "other"), "--store", "postgresql+psycopg://a:hush@127.0.0.1:1/d"
    )
    assert said.code == 3 and "hush" not in said.err
    assert not list((tmp_path / "other").rglob("loop.toml"))
