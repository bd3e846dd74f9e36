from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from loop.training.recovery import recover_project
from ner.models.bundle import load_bundle
from ner.models.model_library import ModelLibrary
from store import registry
from store.database.schema import Project, Run
from store.database.session import Store
from store.registry import fail_model, finish_model, models, promote, start_model
from store.runs import MEND, begin_run, finish_run, tracked
from tests.fakes import tiny_bundle
from tests.loop import tiny
from tests.store.empty import new_store

_NO_PROCESS = 2**22 + 1  # above the largest pid that Linux gives


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = new_store(tmp_path / "store.db")
    yield opened
    opened.close()


@pytest.fixture
def desk(store: Store) -> Project:
    return tiny.project(store)


def model(store: Store, project: Project, state: str, folder: Path | None = None, *, dead: bool = True) -> str:
    """A model in that state; its folder whole under `folder` where one is given; the process of its run gone."""
    with store.transaction() as tx:
        run = begin_run(tx, project.id, "retrain")
        row = start_model(
            tx, project.id, run_id=run.id, encoder="tiny", seed=1, settings={}, libraries={}, data_fingerprint="0" * 64
        )
        if state in ("candidate", "promoted"):
            finish_model(tx, row.version, files={})
        if state == "promoted":
            promote(tx, project.id, row.version, reason="first", who="lead")
        if state == "failed":
            fail_model(tx, row.version, "boom")
        if dead:
            tx.session.get_one(Run, run.id).pid = _NO_PROCESS
        else:
            finish_run(tx, run.id)
        tx.commit()
    if folder is not None:
        (folder / row.path).parent.mkdir(parents=True, exist_ok=True)
        tiny_bundle(folder / row.path, project.labels, {"windows": "OS"}, version=row.version)
    return row.version


def states(store: Store, project: Project) -> dict[str, str]:
    with store.read() as session:
        return {row.version: row.state for row in models(session, project.id)}


def said(store: Store, folder: Path, project: Project, shared: str = "") -> list[str]:
    library = ModelLibrary.at(folder, shared, cache_mb=100)
    with tracked(store, project.id, MEND, exclusive=True) as run:
        return [str(finding) for finding in recover_project(run, library, project)]


def test_nothing_is_found_where_nothing_was_left(store: Store, desk: Project, tmp_path: Path) -> None:
    assert said(store, tmp_path / "models", desk) == []


def test_a_folder_renamed_before_its_row_was_finished_is_removed_and_said(
    store: Store, desk: Project, tmp_path: Path
) -> None:
    version = model(store, desk, "training", tmp_path)
    findings = said(store, tmp_path, desk)
    assert states(store, desk) == {version: "interrupted"}
    assert not (tmp_path / "desk" / version).exists()
    assert len(findings) == 2
    assert f"marked so, with {version}" in findings[0]
    assert findings[1].endswith(f"{version} is of a model that is interrupted: removed")


def test_a_half_built_folder_is_removed(store: Store, desk: Project, tmp_path: Path) -> None:
    building = tmp_path / "desk" / ".building-desk-0001"
    building.mkdir(parents=True)
    (building / "model.onnx").write_bytes(b"half")
    assert said(store, tmp_path, desk) == [f"{building} was half built: removed"]
    assert not building.exists()


def test_a_folder_that_the_store_does_not_know_is_set_aside_and_its_version_is_free_again(
    store: Store, desk: Project, tmp_path: Path
) -> None:
    for name in ("desk-0001", ".set-aside-desk-0001"):
        (tmp_path / "desk").mkdir(exist_ok=True)
        tiny_bundle(tmp_path / "desk" / name, desk.labels, {"windows": "OS"})
    assert said(store, tmp_path, desk) == [
        f"{tmp_path / 'desk' / 'desk-0001'} is in no store row: set aside as .set-aside-desk-0001-2"
    ]
    load_bundle(tmp_path / "desk" / ".set-aside-desk-0001-2")
    load_bundle(tmp_path / "desk" / ".set-aside-desk-0001")


def test_folders_that_are_no_models_are_left_alone(store: Store, desk: Project, tmp_path: Path) -> None:
    (tmp_path / "desk" / "notes").mkdir(parents=True)
    (tmp_path / "desk" / ".lock").touch()
    assert said(store, tmp_path, desk) == []
    assert (tmp_path / "desk" / "notes").is_dir()


def test_a_candidate_without_its_folder_fails_and_a_promoted_model_without_one_is_named(
    store: Store, desk: Project, tmp_path: Path
) -> None:
    served, waiting = (model(store, desk, state) for state in ("promoted", "candidate"))
    mark = [line for line in said(store, tmp_path, desk) if "no folder" in line]
    assert mark[0].startswith(f"{served} (promoted) has no folder")
    assert mark[1].startswith(f"{waiting} (candidate) has no folder")
    assert states(store, desk) == {served: "promoted", waiting: "failed"}


def test_finished_models_and_runs_are_left_as_they_are(store: Store, desk: Project, tmp_path: Path) -> None:
    served = model(store, desk, "promoted", tmp_path, dead=False)
    failed = model(store, desk, "failed", dead=False)
    assert said(store, tmp_path, desk) == []
    assert states(store, desk) == {served: "promoted", failed: "failed"}
    with store.read() as session:
        found = registry.promoted(session, desk.id)
    assert found is not None
    load_bundle(tmp_path / found.path)


def test_a_model_that_is_only_in_the_shared_folder_is_no_finding(store: Store, desk: Project, tmp_path: Path) -> None:
    for state in ("promoted", "candidate"):
        model(store, desk, state, tmp_path / "shared", dead=False)
    before = states(store, desk)
    assert said(store, tmp_path / "models", desk, f"file://{tmp_path / 'shared'}") == []
    assert states(store, desk) == before


def test_a_candidate_that_is_nowhere_may_be_on_another_host_and_stays_one(
    store: Store, desk: Project, tmp_path: Path
) -> None:
    version = model(store, desk, "candidate", dead=False)
    (tmp_path / "shared").mkdir()
    [finding] = said(store, tmp_path / "models", desk, f"file://{tmp_path / 'shared'}")
    assert finding.startswith(f"{version} (candidate) is neither here nor in file://")
    assert "on the host that trained it" in finding
    assert states(store, desk) == {version: "candidate"}


def test_while_the_shared_folder_is_away_nothing_is_decided(store: Store, desk: Project, tmp_path: Path) -> None:
    version = model(store, desk, "candidate", dead=False)
    [finding] = said(store, tmp_path / "models", desk, f"file://{tmp_path / 'not-mounted'}")
    assert "not-mounted cannot be listed" in finding
    assert states(store, desk) == {version: "candidate"}
