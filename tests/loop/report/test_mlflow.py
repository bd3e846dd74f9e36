"""Attempts in MLflow: found again in a real tracking store, silent to everybody else, and never in a decision's way."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest

from loop.evaluation.robustness import Perturbed
from loop.evaluation.scores import Counts
from loop.evaluation.significance import compare_counts
from loop.judging.measured import Efficiency, Speed
from loop.promotion.attempt import FAIL, PASS, PROMOTED, SIGNIFICANCE, Attempt, Gate, Look
from loop.report import mlflow as tracking
from loop.report.mlflow import HASTY, SILENT, log_attempt, metrics, parameters, require_mlflow, tags
from loop.settings.model import MLflowSettings
from ner.errors import ConfigError
from ner.models.bundle import read_manifest
from tests.fakes import tiny_bundle

GOLD = np.array([[2, 1], [1, 0], [3, 2]])


pytestmark = pytest.mark.filterwarnings("ignore:The ``noload``")  # MLflow's, of SQLAlchemy


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What is set for MLflow in a test does not outlive it."""
    for name in (*SILENT, *HASTY):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    yield


def attempt() -> Attempt:
    """A promotion with figures of every kind."""
    sides = (Counts(("SOFTWARE", "OS"), np.maximum(GOLD - lost, 0), GOLD, GOLD) for lost in (0, 1))
    return Attempt(
        project="tickets",
        version="v2",
        incumbent="v1",
        outcome=PROMOTED,
        reason="It is better.",
        who="ada",
        at=datetime(2026, 11, 1, tzinfo=UTC),
        command="loop promote v2",
        types=("SOFTWARE", "OS"),
        against="v1",
        comparison=compare_counts(*sides, permutations=99, resamples=99, seed=13),
        gates=(Gate("micro-F1 above v1", SIGNIFICANCE, "", "", PASS), Gate("size (MB)", "cost", "", "", FAIL)),
        look=Look(epoch=1, number=2, looks=10, alpha=0.005, total=0.05, spent=0.01, schedule="even"),
        efficiency=Efficiency((Speed("ONNX INT8", 4.5, 6.0, 210.0, 23.0, 100, 1),), memory_mb=120.0, bundle_mb=25.5),
        robustness=(Perturbed("typos", 0.7, {"OS": 0.6}, 3, 2),),
        judged_seconds=12.5,
    )


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """The report's files, and a bundle."""
    home = tmp_path_factory.mktemp("attempt")
    report, bundle = home / "report", home / "v2"
    report.mkdir()
    (report / "report.html").write_text("<p>promoted</p>", "utf-8")
    tiny_bundle(bundle, ("SOFTWARE", "OS"), {"excel": "SOFTWARE"})
    return report, bundle


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tracking store without runs: MLflow takes seconds to make one."""
    path = tmp_path_factory.mktemp("tracking") / "mlflow.db"
    with pytest.MonkeyPatch.context() as patch:
        for name, value in SILENT.items():
            patch.setenv(name, value)
        from mlflow import MlflowClient

        assert MlflowClient(tracking_uri=f"sqlite:///{path}").get_experiment_by_name("tickets") is None
    return path


@pytest.fixture
def store(made: Path, tmp_path: Path) -> str:
    """The URI of a tracking store of a test's own, in its folder."""
    return f"sqlite:///{shutil.copy(made, tmp_path / 'mlflow.db')}"


def test_an_attempt_is_found_again_in_a_real_store(store: str, tmp_path: Path, folders: tuple[Path, Path]):
    from mlflow import MlflowClient

    assert log_attempt(MLflowSettings(tracking_uri=store), attempt(), *folders) is None
    assert log_attempt(MLflowSettings(tracking_uri=store), replace(attempt(), version="v3"), *folders) is None

    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("tickets")
    assert experiment is not None
    runs = client.search_runs([experiment.experiment_id], "tags.version = 'v2'")
    assert len(runs) == 1
    run = runs[0]
    assert (run.info.run_name, run.info.status) == ("v2", "FINISHED")
    assert run.data.params.items() >= {"incumbent": "v1", "alpha": "0.005", "look": "2", "permutations": "99"}.items()
    assert run.data.params["encoder"] == read_manifest(folders[1]).encoder
    assert run.data.metrics["micro.f1"] == 1.0
    assert run.data.metrics["latency_ms.ONNX INT8"] == 4.5
    assert run.data.tags.items() >= {"project": "tickets", "outcome": "promoted", "who": "ada"}.items()
    assert [file.path for file in client.list_artifacts(run.info.run_id, "report")] == ["report/report.html"]
    kept = {file.path for file in client.list_artifacts(run.info.run_id, "bundle")}
    assert kept == {f"bundle/{path.name}" for path in folders[1].iterdir()}
    assert (tmp_path / "mlartifacts").is_dir()  # and not under the current folder


def test_the_experiment_of_the_settings_is_used_where_there_is_one(store: str, folders: tuple[Path, Path]):
    from mlflow import MlflowClient

    assert log_attempt(MLflowSettings(tracking_uri=store, experiment="support desk"), attempt(), *folders) is None
    client = MlflowClient(tracking_uri=store)
    assert client.get_experiment_by_name("support desk") is not None
    assert client.get_experiment_by_name("tickets") is None


def test_every_figure_has_a_name_that_mlflow_takes():
    found = metrics(attempt())
    assert found["micro.difference"] == pytest.approx(1 - found["micro.incumbent_f1"])
    assert found["OS.support"] == 3
    assert found["SOFTWARE.f1"] == 1.0
    assert 0 < found["micro.p_value"] <= 1
    assert "OS.p_value" not in found  # there is no test of a single type
    assert found["gate.micro-F1 above v1"] == 1
    assert found["gate.size _MB_"] == 0
    assert (found["memory_mb"], found["bundle_mb"], found["judged_seconds"]) == (120.0, 25.5, 12.5)
    assert found["robustness.typos.f1"] == 0.7


def test_a_first_model_without_figures_is_logged_by_what_there_is():
    bare = Attempt("tickets", "v1", None, PROMOTED, "The first model.", "ada", attempt().at, "loop promote", ("OS",))
    assert metrics(bare) == {"judged_seconds": 0.0}
    assert parameters(bare, None) == {"command": "loop promote"}
    assert "because" not in tags(bare)


def test_a_long_reason_is_cut_to_what_every_store_holds():
    assert len(tags(replace(attempt(), reason="x" * 6_000))["reason"]) == 500


# Nothing is in a decision's way


def test_a_server_that_is_not_there_is_told_in_a_sentence_and_raises_nothing(folders: tuple[Path, Path]):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: connections are refused
        told = log_attempt(
            MLflowSettings(tracking_uri=f"http://ada:s%40cret@127.0.0.1:{taken.getsockname()[1]}"), attempt(), *folders
        )
    assert told is not None
    assert told.startswith("the decision stands, but MLflow did not take it: ")
    assert "127.0.0.1" in told
    assert "\n" not in told
    assert "s%40cret" not in told


@pytest.mark.parametrize("secret", ["s%40cret", "s@cret"])
def test_a_password_in_the_address_is_not_told(secret: str):
    told = tracking._first_line(ValueError(f"no host\nat {secret}"), "http://ada:s%40cret@nowhere")
    assert told == "no host at ..."


def test_a_store_that_mlflow_refuses_is_told_in_a_sentence(folders: tuple[Path, Path]):
    told = log_attempt(MLflowSettings(tracking_uri="gopher://nowhere"), attempt(), *folders)
    assert told is not None
    assert "gopher" in told


def test_a_run_whose_files_cannot_be_kept_is_marked_failed(store: str, tmp_path: Path, folders: tuple[Path, Path]):
    from mlflow import MlflowClient

    (tmp_path / "mlartifacts").write_text("in the way", "utf-8")
    told = log_attempt(MLflowSettings(tracking_uri=store), attempt(), *folders)
    assert told is not None
    client = MlflowClient(tracking_uri=store)
    experiment = client.get_experiment_by_name("tickets")
    assert experiment is not None
    assert [run.info.status for run in client.search_runs([experiment.experiment_id])] == ["FAILED"]


def test_without_mlflow_the_refusal_says_what_to_install(monkeypatch: pytest.MonkeyPatch, folders: tuple[Path, Path]):
    monkeypatch.setattr(tracking, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match="mlflow-skinny"):
        require_mlflow()
    told = log_attempt(
        MLflowSettings(tracking_uri="sqlite:///never.db"), attempt(), *folders
    )  # and behind a decision it is only told
    assert told is not None
    assert "pip install" in told


# Silence


def test_mlflow_is_told_not_to_report_before_it_is_imported(store: str, folders: tuple[Path, Path]):
    """In a process of its own, where pytest's variables do not silence MLflow as well."""
    script = """
import json, os, sys, threading
from pathlib import Path
from tests.loop.report.test_mlflow import attempt
from loop.report.mlflow import log_attempt
from loop.settings.model import MLflowSettings

assert "mlflow" not in sys.modules
seen = {}

class Watch:
    def find_spec(self, name, path=None, target=None):
        if name == "mlflow":
            seen.update({key: os.environ.get(key) for key in ("MLFLOW_DISABLE_TELEMETRY", "DO_NOT_TRACK")})

sys.meta_path.insert(0, Watch())
sys.modules.pop("mlflow", None)
told = log_attempt(MLflowSettings(tracking_uri=sys.argv[1]), attempt(), Path(sys.argv[2]), Path(sys.argv[3]))
from mlflow.telemetry.client import get_telemetry_client
from mlflow.telemetry.utils import is_telemetry_disabled
client = get_telemetry_client()
threads = [thread.name for thread in threading.enumerate() if "elemetry" in thread.name]
print(json.dumps([told, seen, is_telemetry_disabled(), client is None, threads]))
"""
    environment = {
        name: value
        for name, value in os.environ.items()
        if name not in {"CI", "GITHUB_ACTIONS", "PYTEST_CURRENT_TEST", *SILENT}
    }
    words = [store, *map(str, folders)]
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", script, *words], cwd=root, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == [None, {"MLFLOW_DISABLE_TELEMETRY": "true", "DO_NOT_TRACK": "true"}, True, True, []]
    assert "INFO" not in done.stderr
