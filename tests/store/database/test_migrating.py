from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect, text
from sqlalchemy.orm import Session

from store.database import migrating
from store.database.schema import Base
from store.database.session import Store, open_store
from store.errors import StoreOpenError
from store.projects import project_by_name
from tests.store import given

OPEN = """
import sys
from store.database.session import open_store
sys.stdin.readline()
store = open_store(sys.argv[1])
print(store.schema_version())
store.close()
"""


def differences(session: Session) -> list[Any]:
    """How the schema of the open database differs from the declared one."""
    context = MigrationContext.configure(session.connection(), opts={"compare_type": True})
    return list(compare_metadata(context, Base.metadata))


def execute(url: str, *statements: str) -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in statements:
            connection.execute(text(statement))
    engine.dispose()


@given.on_both
def test_the_migrated_schema_is_the_declared_one(store: Store) -> None:
    with store.read() as session:
        assert differences(session) == []


def test_the_comparison_would_notice_a_difference(store: Store) -> None:
    with store.transaction() as tx:
        tx.session.execute(text("ALTER TABLE runs DROP COLUMN error"))
        assert [difference[0] for difference in differences(tx.session)] == ["add_column"]


def test_opening_again_changes_nothing(store_url: str) -> None:
    versions = []
    for _ in range(2):
        store = open_store(store_url)
        versions.append(store.schema_version())
        store.close()
    assert versions == [migrating.head_revision()] * 2


@given.on_both
def test_processes_that_open_a_new_store_at_once_all_succeed(empty_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", OPEN, empty_url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    outcomes = [process.communicate(timeout=120) for process in processes]
    assert [out.strip() for out, _ in outcomes] == [migrating.head_revision()] * 3, outcomes


def test_a_store_newer_than_the_program_is_refused_with_both_revisions(store_url: str) -> None:
    execute(store_url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StoreOpenError) as caught:
        open_store(store_url)
    assert "9999" in str(caught.value)
    assert migrating.head_revision() in str(caught.value)
    with pytest.raises(StoreOpenError, match="9999"):
        open_store(store_url, migrate=False)


@given.on_both
def test_a_database_of_another_program_is_refused_and_left_alone(empty_url: str) -> None:
    execute(empty_url, "CREATE TABLE task_completion (id INTEGER)")
    with pytest.raises(StoreOpenError, match="task_completion"):
        open_store(empty_url)
    engine = create_engine(empty_url)
    assert inspect(engine).get_table_names() == ["task_completion"]
    if engine.dialect.name == "sqlite":
        with engine.connect() as connection:
            assert connection.execute(text("PRAGMA journal_mode")).scalar() == "delete"
    engine.dispose()


@given.on_both
def test_without_migrating_a_store_at_another_schema_is_refused(empty_url: str, backend: str) -> None:
    with pytest.raises(StoreOpenError):
        open_store(empty_url, migrate=False)
    if backend == "sqlite":
        assert not Path(empty_url.removeprefix("sqlite:///")).exists()


@given.on_both
def test_a_migration_that_fails_leaves_the_database_as_it_was(empty_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        real(*_)
        raise KeyboardInterrupt

    real = migrating.command.upgrade
    monkeypatch.setattr(migrating.command, "upgrade", broken)
    with pytest.raises(KeyboardInterrupt):
        open_store(empty_url)
    engine = create_engine(empty_url)
    assert inspect(engine).get_table_names() == []
    engine.dispose()
    monkeypatch.undo()
    open_store(empty_url).close()


@given.on_both
def test_a_store_at_an_older_schema_goes_on_with_what_it_holds_and_only_where_that_is_asked_for(empty_url: str) -> None:
    engine = create_engine(empty_url)
    with engine.begin() as connection:
        config = migrating._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0001")
        connection.execute(
            text(
                "INSERT INTO projects (name, slug, label_config, labels, salt, holdout_share, created_at)"
                " VALUES ('Desk', 'desk', '', '[]', 'salt', 0.5, '2026-01-01 00:00:00')"
            )
        )
    engine.dispose()
    for migrate in (False, True):
        with pytest.raises(StoreOpenError, match=r"store at 0001.*loop upgrade"):
            open_store(empty_url, migrate=migrate)
    store = open_store(empty_url, upgrading=lambda *_: nullcontext())
    assert store.schema_version() == migrating.head_revision()
    with store.read() as session:
        assert (project_by_name(session, "desk").name, differences(session)) == ("Desk", [])
    store.close()


def test_there_is_one_line_of_migrations() -> None:
    assert len(ScriptDirectory.from_config(migrating._config()).get_heads()) == 1


def test_the_migrations_run_from_an_installed_package(tmp_path: Path) -> None:
    wheels, installed = tmp_path / "wheels", tmp_path / "installed"
    root = Path(__file__).parents[3]
    source = tmp_path / "source"
    _copy_packages(root, source)
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*pip, "wheel", "--no-deps", "--no-build-isolation", "-w", str(wheels), str(source)], check=True)
    wheel = next(wheels.glob("*.whl"))
    zipfile.ZipFile(wheel).extractall(installed)
    opening = "from store.database.session import open_store"
    code = f"import store, sys; {opening}; print(store.__file__); open_store(sys.argv[1])"
    opened = subprocess.run(
        [sys.executable, "-c", code, f"sqlite:///{tmp_path / 'store.sqlite'}"],
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
    )
    assert opened.stdout.startswith(str(installed))


def _copy_packages(root: Path, target: Path) -> None:
    target.mkdir()
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(root / name, target / name)
    for package in ("ner", "store"):
        shutil.copytree(root / package, target / package, ignore=shutil.ignore_patterns("__pycache__"))
