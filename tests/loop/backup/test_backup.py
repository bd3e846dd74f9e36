"""`loop backup`: one moment of a store that people write into, and a folder that always holds a whole backup."""

from __future__ import annotations

import errno
import gzip
import json
import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from loop.backup import backup as backing_up
from loop.backup.contents import without_passwords
from store.database.schema import Base
from store.projects import project_by_name
from store.registry import model, promote
from tests.fakes import tiny_bundle
from tests.loop.backup.conftest import Databases
from tests.loop.backup.work import add_texts, annotate, annotators_at_work, chains, killed, store_of
from tests.loop.desk import Desk

OTHER = {"sqlite": "postgresql", "postgresql": "sqlite"}


def restored(desk: Desk, out: Path, *words: str) -> Path:
    """The folder into which the backup was restored just now; `loop doctor` finds it whole."""
    home = out.with_name(f"{out.name}-restored")
    said = desk.loop("restore", str(out), str(home), *words)
    assert said.code == 0, said.err
    whole = Desk(home, desk.capsys, desk.monkeypatch).loop("doctor", "--json")
    assert whole.code == 0, whole.out
    return home


@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
def test_a_backup_beside_annotators_is_one_moment_of_the_store_on_either_database(
    desk: Desk, database: str, databases: Databases, tmp_path: Path
):
    store = store_of(desk.home)
    documents = add_texts(store, 20)
    for number in range(3):
        annotate(store, documents, number)
    with annotators_at_work(desk.home, documents) as times:
        said = desk.loop("backup", str(tmp_path / "out"), "--json")
        assert said.code == 0, said.err
        seen = times()
    store.close()
    assert seen > 0
    rows = said.json["manifest"]["rows"]
    # Each transaction wrote one text, and one version of each annotation.
    assert rows["annotation_versions"] == len(documents) * (rows["documents"] - len(documents))
    assert set(rows) == set(Base.metadata.tables)
    url = databases(OTHER[database])
    home = restored(desk, tmp_path / "out", "--store", url or "sqlite:///loop.db")
    there = store_of(home)
    found = chains(there)
    lengths = {len(chain) for chain in found.values()}
    assert found.keys() == set(documents) and len(lengths) == 1
    assert lengths == {rows["annotation_versions"] // len(documents)}
    for chain in found.values():
        assert [sequence for sequence, _ in chain] == list(range(1, len(chain) + 1))
    assert len({tuple(chain) for chain in found.values()}) == 1
    annotate(there, add_texts(there, 2, prefix="word"), -1)
    assert len(chains(there)) == len(documents) + 2
    there.close()


def test_a_promotion_between_the_snapshot_and_the_models_is_not_in_the_backup(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    real = backing_up.write_snapshot

    def then_promoted(*args):
        taken = real(*args)
        store = store_of(desk.home)
        with store.transaction() as tx:
            promote(tx, project_by_name(tx.session, "desk").id, "desk-0002", reason="better", who="a test")
            tx.commit()
        store.close()
        assert desk.candidate() == "desk-0003"
        return taken

    monkeypatch.setattr(backing_up, "write_snapshot", then_promoted)
    made = desk.loop("backup", str(tmp_path / "out"), "--json").json["manifest"]
    assert made["bundles"] == ["desk-0001", "desk-0002"]
    store = store_of(restored(desk, tmp_path / "out"))
    with store.read() as session:
        project = project_by_name(session, "desk")
        assert (project.promoted_version, model(session, "desk-0002").state) == ("desk-0001", "candidate")
    store.close()


def test_the_next_backup_into_the_folder_copies_new_models_alone(desk: Desk, tmp_path: Path):
    out = tmp_path / "out"
    first = desk.loop("backup", str(out), "--json").json
    assert (first["bundles_copied"], first["manifest"]["bundles"]) == (2, ["desk-0001", "desk-0002"])
    kept = out / "models" / "desk" / "desk-0001" / "model.onnx"
    before = kept.stat()
    desk.candidate()
    second = desk.loop("backup", str(out), "--json").json
    assert (second["bundles_copied"], len(second["manifest"]["bundles"])) == (1, 3)
    assert (kept.stat().st_ino, kept.stat().st_mtime_ns) == (before.st_ino, before.st_mtime_ns)
    assert not (out / first["manifest"]["state"]).exists()
    restored(desk, out)


def test_a_bundle_of_the_backup_that_was_altered_is_copied_again(desk: Desk, tmp_path: Path):
    out = tmp_path / "out"
    desk.loop("backup", str(out))
    (out / "models" / "desk" / "desk-0001" / "model.onnx").write_bytes(b"")
    assert desk.loop("backup", str(out), "--json").json["bundles_copied"] == 1
    restored(desk, out)


@pytest.mark.parametrize("at", [1, 6, 11])
def test_a_backup_that_is_killed_leaves_the_last_one_and_goes_on(desk: Desk, tmp_path: Path, at: int):
    out = tmp_path / "out"
    first = desk.loop("backup", str(out), "--json").json["manifest"]
    add_texts(store_of(desk.home), 3)
    desk.candidate()

    killed(desk, ("backup", str(out)), (backing_up, "place", at))
    assert json.loads((out / "manifest.json").read_text())["state"] == first["state"]
    restored(desk, out)
    again = desk.loop("backup", str(out), "--json").json["manifest"]
    assert again["rows"]["documents"] == first["rows"]["documents"] + 3
    states = [path.name for path in out.iterdir() if path.name not in ("models", "manifest.json", ".lock")]
    assert states == [again["state"]]


def test_a_first_backup_that_is_killed_is_none_and_goes_on(desk: Desk, tmp_path: Path):
    out = tmp_path / "out"
    killed(desk, ("backup", str(out)), (backing_up, "place", 1))
    refused = desk.loop("restore", str(out), str(tmp_path / "new"))
    assert refused.code == 11 and "manifest.json" in refused.err
    assert not (tmp_path / "new").exists()
    assert desk.loop("backup", str(out)).code == 0
    restored(desk, out)


def test_no_secret_is_in_a_backup_and_the_command_says_what_is_to_be_given_again(desk: Desk, tmp_path: Path):
    (desk.home / "api-key").write_text("k3y-of-the-server")
    desk.configure(
        label_studio__api_key_file="api-key",
        mlflow__tracking_uri="http://someone:m1flow-pass@mlflow:5000",
        backend__basic_auth_user="studio",
    )
    toml = desk.home / "loop.toml"
    toml.write_text("# url = 'postgresql+psycopg://loop:0ld/pass@db/loop?password=an0ther'\n" + toml.read_text())
    functions = desk.home / "functions.py"  # words of texts may be names of what a project has
    functions.write_text(functions.read_text() + f'WORDS = ["api-key", "models", "loop.db", "{"word " * 60}"]\n')
    desk.monkeypatch.setenv("BASIC_AUTH_PASS", "backend-pass")
    said = desk.loop("backup", str(tmp_path / "out"), "--json")
    needed = " ".join(said.json["manifest"]["needed"])
    assert "api-key" in needed and "BASIC_AUTH_PASS" in needed and "mlflow.tracking_uri" in needed
    written = b"".join(
        gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        for path in (tmp_path / "out").rglob("*")
        if path.is_file()
    )
    for secret in (b"k3y-of-the-server", b"m1flow-pass", b"backend-pass", b"0ld/pass", b"an0ther"):
        assert secret not in written
    project = tmp_path / "out" / said.json["manifest"]["state"] / "project"
    assert not {"api-key", "models", "loop.db"} & {path.name for path in project.iterdir()}
    home = restored(desk, tmp_path / "out", *_no_key(desk))
    assert "http://someone@mlflow:5000" in (home / "loop.toml").read_text()


def _no_key(desk: Desk) -> tuple[str, ...]:
    """The doctor misses the key file otherwise."""
    desk.monkeypatch.setenv("LABEL_STUDIO_API_KEY", "k3y-of-the-server")
    return ()


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ("postgresql+psycopg://loop:p@ss@db:5432/loop", "postgresql+psycopg://loop@ss@db:5432/loop"),
        ("postgresql+psycopg://loop:a%40b@db/loop", "postgresql+psycopg://loop@db/loop"),
        ("postgresql+psycopg://loop:it's@db/loop", "postgresql+psycopg://loop@db/loop"),
        (r"postgresql+psycopg://loop:a\"b@db/loop", "postgresql+psycopg://loop@db/loop"),
        ("postgresql+psycopg://db/loop?user=a&password=b&sslmode=require", None),
        ("postgresql+psycopg://loop@db/loop", "postgresql+psycopg://loop@db/loop"),
        ("http://localhost:8080/a", "http://localhost:8080/a"),
    ],
)
def test_an_address_loses_its_password_and_nothing_else(written: str, kept: str | None):
    expected = kept or "postgresql+psycopg://db/loop?user=a&password=&sslmode=require"
    assert without_passwords(f'url = "{written}"  # mail: a@b') == f'url = "{expected}"  # mail: a@b'


def test_an_address_beside_another_keeps_its_port_and_a_bare_address_loses_its_password():
    assert without_passwords("""['http://x:80',"m@x"]""") == """['http://x:80',"m@x"]"""
    assert without_passwords("postgresql+psycopg://loop:it's@db/loop") == "postgresql+psycopg://loop@db/loop"


def test_an_altered_manifest_does_not_take_the_place_of_the_one_in_the_backup(desk: Desk, tmp_path: Path):
    out, name = tmp_path / "out", Path("models", "desk", "desk-0002", "manifest.json")
    desk.loop("backup", str(out))
    whole = (out / name).read_bytes()
    (desk.home / name).write_bytes(whole.replace(b'"seed": ', b'"seed": 1'))
    made = desk.loop("backup", str(out), "--json").json["manifest"]
    assert "the store knows" in str(made["left_out"])
    assert (out / name).read_bytes() == whole


def test_a_missing_model_is_told_and_the_backup_holds_the_rest(desk: Desk, tmp_path: Path):
    damaged, other = (desk.home / "models" / "desk" / name for name in ("desk-0002", desk.candidate()))
    (damaged / "model.onnx").write_bytes(b"no model")
    shutil.rmtree(other)
    tiny_bundle(other, ("SOFTWARE", "OS"), {"word": "OS"}, version=other.name)
    said = desk.loop("backup", str(tmp_path / "out"), "--json")
    assert said.code == 9
    assert [item["what"] for item in said.json["without"]] == ["desk-0002", "desk-0003"]
    assert said.json["manifest"]["bundles"] == ["desk-0001"]
    restored(desk, tmp_path / "out")


def test_a_model_that_is_gone_stays_in_the_backup_that_has_it(desk: Desk, tmp_path: Path):
    out = tmp_path / "out"
    desk.loop("backup", str(out))
    (desk.home / "models" / "desk" / "desk-0002" / "manifest.json").unlink()
    said = desk.loop("backup", str(out), "--json")
    assert said.code == 0 and said.json["manifest"]["bundles"] == ["desk-0001", "desk-0002"]
    assert "an earlier backup had it" in said.json["manifest"]["left_out"][0]["why"]


def test_what_the_store_does_not_know_is_left_and_said(desk: Desk, tmp_path: Path):
    models = desk.home / "models" / "desk"
    (models / "desk-0007").mkdir()
    (models / "desk-0007" / "manifest.json").write_text("{}")
    desk.configure(weak__functions=str(tmp_path / "elsewhere.py"))
    left = desk.loop("backup", str(tmp_path / "out"), "--json").json["manifest"]["left_out"]
    assert {Path(item["what"]).name for item in left} == {"desk-0007", "elsewhere.py"}


def test_a_full_disk_is_an_error_that_says_so_and_the_last_backup_stands(desk: Desk, tmp_path: Path):
    out = tmp_path / "out"
    first = desk.loop("backup", str(out), "--json").json["manifest"]
    (desk.home / "reports" / "desk-0001-1" / "report.html").write_text("x" * 300_000)
    limit = 200_000
    command = [sys.executable, "-m", "loop.cli", "-C", str(desk.home), "backup", str(out)]
    said = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    assert said.returncode == 11, said.stderr
    assert "has room" in said.stderr and "run the same command" in said.stderr
    assert json.loads((out / "manifest.json").read_text())["state"] == first["state"]
    restored(desk, out)
    assert desk.loop("backup", str(out)).code == 0


def test_a_full_disk_is_told_from_no_right_to_write(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def full(*_args, **_options):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("loop.backup.files._copy", full)
    monkeypatch.setattr("loop.backup.snapshot.os.fsync", full)
    said = desk.loop("backup", str(tmp_path / "out"))
    assert said.code == 11 and "Free some space" in said.err
    monkeypatch.undo()
    said = desk.loop("backup", "/sys/backup")
    assert said.code == 11 and "another folder" in said.err


def test_a_backup_goes_into_no_folder_that_holds_something_else(desk: Desk, tmp_path: Path):
    other = tmp_path / "other"
    other.mkdir()
    (other / "mail.txt").write_text("mine")
    (tmp_path / "file").write_text("mine")
    for out in (other, tmp_path / "file", desk.home / "models" / "out", desk.home / "reports"):
        said = desk.loop("backup", str(out))
        assert (said.code == 11 and "Choose another folder" in said.err) or "tar" in said.err
    assert [path.name for path in other.iterdir()] == ["mail.txt"]


def test_a_folder_keeps_the_backup_of_one_project(desk: Desk, tmp_path: Path):
    out = tmp_path / "out"
    desk.loop("backup", str(out))
    assert desk.loop("init", str(tmp_path / "second"), "--labels", "OS", "--name", "desk").code == 0
    said = Desk(tmp_path / "second", desk.capsys, desk.monkeypatch).loop("backup", str(out))
    assert said.code == 11 and "one project" in said.err
    restored(desk, out)


def test_two_backups_into_one_folder_exclude_each_other(desk: Desk, tmp_path: Path):
    with backing_up._begun(tmp_path / "out"):
        said = desk.loop("backup", str(tmp_path / "out"), "--json")
    assert said.code == said.json["error"]["exit_code"] == 6
    assert desk.loop("backup", str(tmp_path / "out")).code == 0


def test_the_restored_project_has_its_files(desk: Desk, tmp_path: Path):
    desk.loop("backup", str(tmp_path / "out"))
    home = restored(desk, tmp_path / "out")
    for name in ("labels.xml", "functions.py", "gazetteers/os.txt", "reports/desk-0001-1/report.md", "loop.toml"):
        assert (home / name).read_bytes() == (desk.home / name).read_bytes()


def test_models_that_left_the_cache_of_this_host_are_fetched_for_the_backup(desk: Desk, tmp_path: Path) -> None:
    (tmp_path / "shared").mkdir()
    (desk.home / "models" / "desk").rename(tmp_path / "shared" / "desk")
    desk.configure(models__remote=f"file://{tmp_path / 'shared'}")
    said = desk.loop("backup", str(tmp_path / "out"))
    assert said.code == 0, said.err
    home = restored(desk, tmp_path / "out")
    assert sorted(path.name for path in (home / "models" / "desk").glob("desk-*")) == ["desk-0001", "desk-0002"]
