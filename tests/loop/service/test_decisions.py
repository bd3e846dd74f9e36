"""What follows an attempt: its report, and a run in MLflow where asked for. The decision stands without both."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loop.promotion.attempt import Attempt
from tests.loop.desk import Desk, make_desk

QUICK = {"promotion__reference": False, "promotion__robustness": 0, "promotion__timed": 0}


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = make_desk(tmp_path / "desk", capsys, monkeypatch)
    made.configure(**QUICK)
    return made


def test_a_refused_file_leaves_a_report_and_a_decision_too(desk: Desk) -> None:
    version = desk.candidate()
    (desk.home / "models" / "desk" / version / "model.onnx").write_bytes(b"no graph")
    assert desk.loop("promote").code == 9
    report = desk.loop("report", "--json")
    assert (report.code, report.json["version"], report.json["outcome"]) == (0, version, "refused")
    [decision] = desk.loop("report", "--history", "--json").json["decisions"]
    assert (decision["version"], decision["action"]) == (version, "reject")
    assert "contract" in decision["reason"]


def test_a_decision_stands_when_its_report_cannot_be_written(desk: Desk) -> None:
    version = desk.candidate()
    (desk.home / "reports").write_text("a file where the folder should be")
    done = desk.loop("promote", "--json")
    assert (done.code, done.json["promoted"], done.json["report"]) == (0, True, None)
    [notice] = done.json["notices"]
    assert notice.startswith("The decision stands, but its report could not be written")
    assert desk.loop("status", "--json").json["model"]["version"] == version


@pytest.mark.parametrize("broken", [False, True])
def test_every_attempt_is_logged_where_mlflow_is_asked_for(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, broken: bool
) -> None:
    logged: list[tuple[str, str]] = []

    def log(settings: Any, attempt: Attempt, report: Path, bundle: Path) -> str:
        assert json.loads((report / "report.json").read_text())["version"] == attempt.version
        assert bundle.is_dir()
        logged.append((settings.tracking_uri, attempt.outcome))
        return "nobody took it"

    monkeypatch.setattr("loop.service.decisions.log_attempt", log)
    desk.configure(mlflow__tracking_uri="sqlite:///mlflow.db")
    version = desk.candidate()
    if broken:
        (desk.home / "models" / "desk" / version / "model.onnx").write_bytes(b"no graph")
    done = desk.loop("promote", "--json")
    assert logged == [("sqlite:///mlflow.db", "refused" if broken else "promoted")]
    assert broken or done.json["notices"] == ["nobody took it"]
