"""An older store is backed up before it is upgraded: by `loop upgrade`, or by the first command of a newer version."""

from __future__ import annotations

import subprocess
import sys
import tarfile
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text, update

from loop.backup.upgrade import open_upgraded
from loop.training import warm_start
from store.database import migrating
from store.database.columns import utc_now
from store.database.dump import dump_lines
from store.database.schema import Run
from store.database.session import connect, open_store
from store.errors import StoreOpenError
from tests.loop.backup.conftest import Databases
from tests.loop.desk import Desk
from tests.loop.test_made_by_0_1_0 import ARCHIVE

OLD, HEAD = "0003", migrating.head_revision()


@pytest.fixture
def old(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A project that version 0.1.0 made."""
    for name in ("LOOP_HOME", "LOOP_STORE_URL", "MODEL_DIR", "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    return Desk(tmp_path / "project", capsys, monkeypatch)


def rows_of(home: Path) -> list[str]:
    """The whole store of SQLite as it is now, whatever its schema."""
    return rows_at(f"sqlite:///{home / 'loop.db'}")


def rows_at(url: str) -> list[str]:
    store = connect(url, make=False)
    with store.read() as session:
        lines = list(dump_lines(session))
    store.close()
    return lines


def schema_of(home: Path) -> str | None:
    store = connect(f"sqlite:///{home / 'loop.db'}", make=False)
    try:
        return store.schema_version()
    finally:
        store.close()


def kept(home: Path) -> list[Path]:
    return sorted((home / "backups").glob("*")) if (home / "backups").exists() else []


def test_upgrade_keeps_the_store_as_it_was_and_says_where(old: Desk):
    before = rows_of(old.home)
    said = old.loop("upgrade", "--json").json
    assert (said["before"], said["after"], said["rows"]) == (OLD, HEAD, 625)
    assert kept(old.home) == [Path(said["backup"])]
    again = old.loop("upgrade", "--json").json
    assert (again["before"], again["backup"]) == (HEAD, None)
    assert schema_of(old.home) == HEAD
    # The way back: an empty database, filled from the backup, at the schema of the older program.
    for path in old.home.glob("loop.db*"):
        path.unlink()
    assert old.loop("restore", said["backup"], str(old.home), "--keep-schema").code == 0
    assert schema_of(old.home) == OLD
    now = rows_of(old.home)
    changed = [line for line in before if line not in now]
    assert len(changed) == 1 and '"running"' in changed[0] and '"a-host-that-is-gone"' in changed[0]


def test_the_first_command_makes_a_backup_and_upgrades_and_a_doctor_or_a_backup_changes_nothing(
    old: Desk, tmp_path: Path
):
    before = rows_of(old.home)
    said = old.loop("doctor")
    assert said.code == 10 and "`loop upgrade`" in said.out
    said = old.loop("doctor", "--data")
    assert said.code == 3 and "`loop upgrade`" in said.err
    assert old.loop("backup", str(tmp_path / "out")).code == 0
    with pytest.raises(StoreOpenError, match="loop upgrade"):
        open_store(f"sqlite:///{old.home / 'loop.db'}")
    assert rows_of(old.home) == before and not kept(old.home)
    said = old.loop("status")
    assert said.code == 0 and len(kept(old.home)) == 1
    assert schema_of(old.home) == HEAD
    old.loop("status")
    assert len(kept(old.home)) == 1


@pytest.mark.training
def test_a_backup_of_an_older_version_is_restored_at_todays_schema_and_a_training_goes_on(old: Desk, tmp_path: Path):
    assert old.loop("backup", str(tmp_path / "out")).code == 0
    assert old.loop("restore", str(tmp_path / "out"), str(tmp_path / "new")).code == 0
    new = Desk(tmp_path / "new", old.capsys, old.monkeypatch)
    assert schema_of(new.home) == HEAD
    assert new.loop("doctor").code == 0
    new.configure(train__passes=8)
    old.monkeypatch.setattr(warm_start, "DRIFT", 1.0)  # 36 of the 81 texts are new
    said = new.loop("retrain")
    assert said.code == 0 and "Candidate desk-0101 from desk-0001" in said.out


def test_an_older_store_on_postgresql_is_kept_upgraded_and_brought_back(
    old: Desk, databases: Databases, tmp_path: Path
):
    """It gets there as the backup of an older SQLite store that keeps its schema."""
    before = rows_of(old.home)
    first, second = databases("postgresql"), databases("postgresql")
    old.loop("backup", str(tmp_path / "out"))
    assert (
        old.loop("restore", str(tmp_path / "out"), str(tmp_path / "new"), "--store", first, "--keep-schema").code == 0
    )
    new = Desk(tmp_path / "new", old.capsys, old.monkeypatch)
    said = new.loop("upgrade", "--json").json
    assert (said["before"], said["after"]) == (OLD, HEAD)
    assert new.loop("restore", said["backup"], str(new.home), "--store", second, "--keep-schema").code == 0
    now = rows_at(second)
    assert [line for line in before if line not in now and '"running"' not in line] == []


def test_processes_that_start_at_once_make_one_backup(old: Desk):
    code = f"""
import sys
from pathlib import Path
from loop.settings.settings import Settings
from {open_upgraded.__module__} import open_upgraded
open_upgraded(Settings.load(Path(sys.argv[1]), {{}})).close()
"""
    words = [sys.executable, "-c", code, str(old.home)]
    children = [subprocess.Popen(words) for _ in range(3)]
    assert [child.wait() for child in children] == [0, 0, 0]
    assert len(kept(old.home)) == 1 and schema_of(old.home) == HEAD


def test_no_store_is_upgraded_under_a_command_that_is_at_work(old: Desk):
    store = connect(f"sqlite:///{old.home / 'loop.db'}")
    with store.transaction() as tx:
        tx.session.execute(update(Run).values(state="running", host="there", heartbeat_at=utc_now()))
        tx.commit()
    for command in ("upgrade", "status"):
        said = old.loop(command)
        assert said.code == 6 and "on there" in said.err
    assert not kept(old.home) and schema_of(old.home) == OLD
    with store.transaction() as tx:
        tx.session.execute(update(Run).values(heartbeat_at=utc_now() - timedelta(hours=1)))
        tx.commit()
    store.close()
    assert old.loop("upgrade").code == 0


def test_without_room_for_the_backup_nothing_is_upgraded_unless_none_is_wanted(old: Desk):
    (old.home / "backups").write_text("a file where the folder should be")
    for command in ("upgrade", "status"):
        said = old.loop(command)
        assert said.code == 11 and "backups" in said.err
    assert schema_of(old.home) == OLD
    said = old.loop("upgrade", "--no-backup", "--json")
    assert said.code == 0 and said.json["backup"] is None
    assert schema_of(old.home) == HEAD


def test_a_migration_that_would_lose_a_row_changes_nothing(old: Desk, monkeypatch: pytest.MonkeyPatch):
    before, real = rows_of(old.home), migrating.upgrade

    def lossy(connection, revision="head"):
        real(connection, revision)
        connection.execute(text("DELETE FROM weak_votes"))

    monkeypatch.setattr(migrating, "upgrade", lossy)
    said = old.loop("upgrade")
    assert said.code == 11 and "weak_votes: 1 rows, then 0" in said.err
    assert rows_of(old.home) == before
    assert not kept(old.home)  # a service that is started again and again would fill the disk


def test_a_store_that_a_newer_version_made_is_neither_upgraded_nor_backed_up(old: Desk, tmp_path: Path):
    store = connect(f"sqlite:///{old.home / 'loop.db'}")
    with store.transaction() as tx:
        tx.session.execute(text("UPDATE alembic_version SET version_num = '9999'"))
        tx.commit()
    store.close()
    for command in (("upgrade",), ("backup", str(tmp_path / "out")), ("status",)):
        said = old.loop(*command)
        assert said.code == 3 and "9999" in said.err
    assert not (tmp_path / "out").exists() and not kept(old.home)


def test_the_backup_of_an_upgrade_goes_into_its_own_project_alone(old: Desk, tmp_path: Path):
    backup = old.loop("upgrade", "--json").json["backup"]
    assert old.loop("init", str(tmp_path / "other"), "--labels", "OS", "--name", "other").code == 0
    said = old.loop("restore", backup, str(tmp_path / "other"))
    assert said.code == 11 and "'other'" in said.err
    said = old.loop("restore", backup, str(tmp_path / "nowhere"))
    assert said.code == 3 and "loop.toml" in said.err
