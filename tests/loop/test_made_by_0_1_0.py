"""A project that version 0.1.0 made goes on under today's code: store, models and settings."""

from __future__ import annotations

import json
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from loop.cli.app import run
from loop.settings.toml_text import with_values
from loop.training import warm_start
from ml_backend.app import BACKEND, create_app
from ml_backend.settings import ServerSettings
from store.database.migrating import head_revision
from store.database.schema import Prediction, Project, Run
from store.database.session import Store, open_store
from store.registry import models, promoted
from store.runs import pending_hints

pytestmark = pytest.mark.training
ARCHIVE = Path(__file__).parents[1] / "store" / "made_by_0_1_0" / "project.tar.gz"


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
    return folder / "project"


@pytest.fixture
def loop(home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    for name in ("LOOP_HOME", "LOOP_STORE_URL", "MODEL_DIR", "LABEL_STUDIO_URL", "LABEL_STUDIO_API_KEY"):
        monkeypatch.delenv(name, raising=False)

    def command(*words: str, good: tuple[int, ...] = (0,)) -> str:
        capsys.readouterr()
        code = run(["-C", str(home), *words])
        said = capsys.readouterr()
        assert code in good, said.err
        return said.out + said.err

    return command


def opened(home: Path) -> Store:
    return open_store(f"sqlite:///{home / 'loop.db'}")


def test_the_store_is_brought_to_todays_schema_with_everything_that_it_held(
    home: Path, loop: Callable[..., Any]
) -> None:
    told = json.loads(loop("status", "--json"))
    assert "desk-0001" in json.dumps(told)
    store = opened(home)
    assert store.schema_version() == head_revision()
    with store.read() as session:
        (project,) = session.query(Project)
        assert [model.state for model in models(session, project.id)] == ["promoted", "rejected", "candidate"]
        assert len(pending_hints(session, 17)) == 1
        assert all(shown.confirmed_at == shown.published_at for shown in session.query(Prediction))
        assert session.query(Prediction).count() == 6
    store.close()


def test_the_model_in_service_is_verified_and_serves(home: Path, loop: Callable[..., Any]) -> None:
    loop("status")
    app = create_app(ServerSettings(f"sqlite:///{home / 'loop.db'}", home / "models"))
    asked = {"project": "17.1", "tasks": [{"id": 1, "data": {"text": "my Windows crashes on start 80"}}]}
    app.extensions[BACKEND].start()
    try:
        answer = app.test_client().post("/predict", json=asked)
    finally:
        app.extensions[BACKEND].stop()
    (one,) = answer.json["results"]
    assert one["model_version"] == "desk-0001"
    assert [(region["value"]["start"], region["value"]["end"]) for region in one["result"]] == [(3, 10)]


def test_the_candidate_is_judged_and_a_training_goes_on_from_the_model_in_service(
    home: Path, loop: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(warm_start, "DRIFT", 1.0)  # 36 of the 81 texts are new
    assert "desk-0003" in loop("promote", good=(0, 8))
    serving = json.loads(loop("status", "--json"))["model"]["version"]
    config = home / "loop.toml"
    config.write_text(with_values(config.read_text("utf-8"), {"train.passes": 8}), "utf-8")
    assert f"Candidate desk-0004 from {serving}" in loop("retrain")
    store = opened(home)
    with store.read() as session:
        (project,) = session.query(Project)
        in_service = promoted(session, project.id)
        assert in_service is not None and in_service.version == project.promoted_version == serving
        assert [run.kind for run in session.query(Run).filter_by(host="a-host-that-is-gone")] == ["retrain"]
        assert not session.query(Run).filter_by(state="running").count()
    store.close()
