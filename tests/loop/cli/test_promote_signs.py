"""`loop promote` shows signs of corrupted annotations, and the report keeps them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.loop.desk import Desk, make_desk

pytestmark = pytest.mark.usefixtures("judged_here")
RIGHT = {"excel": "SOFTWARE", "outlook": "SOFTWARE", "windows": "OS", "linux": "OS"}
SWITCHED = RIGHT | {"windows": "SOFTWARE", "linux": "SOFTWARE"}


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    """A model in service, gold in the holdout, and open texts, some of which are drawn into the holdout."""
    made = make_desk(tmp_path / "desk", capsys, monkeypatch)
    made.configure(promotion__reference=False, promotion__robustness=0, promotion__timed=0)
    held = [{"text": f"excel {n}", "spans": [{"start": 0, "end": 5, "label": "SOFTWARE"}]} for n in range(25)]
    made.loop("import", str(made.write("held.jsonl", *held)), "--split", "holdout")
    given = [{"text": f"windows or linux {n}"} for n in range(40)]
    made.loop("import", str(made.write("open.jsonl", *given)), "--split", "pool")
    made.promoted_model(RIGHT)
    return made


def test_counts_that_halve_are_shown_and_kept_in_the_report(desk: Desk) -> None:
    version = desk.candidate(SWITCHED)
    said = desk.loop("promote", "--json").json
    shifts = {row["name"]: row for row in said["gold_check"]["shifts"]}
    texts = said["gold_check"]["texts"]
    assert (shifts["OS"]["served"], shifts["OS"]["candidate"], shifts["OS"]["warns"]) == (2 * texts, 0, True)
    sign = f"OS: {version} finds 0 on {texts} unlabelled texts, desk-0001 finds {2 * texts}."
    assert any(risk.startswith(sign) for risk in said["risks"])
    kept = json.loads(Path(said["report"]["json"]).read_text("utf-8"))
    assert kept["gold_check"] == said["gold_check"]
    page = Path(said["report"]["markdown"]).read_text("utf-8")
    section = page.split("New annotations\n")[1].split("\n## ")[0]
    assert sign in section
    assert "look at this" in section


def test_people_see_the_sign_on_the_terminal(desk: Desk) -> None:
    version = desk.candidate(SWITCHED)
    shown = desk.loop("promote").out
    assert f"! OS: {version} finds 0 on" in " ".join(shown.split())
    assert max(len(line) for line in shown.splitlines() if not line.startswith("Report: ")) <= 80


def test_a_candidate_that_says_the_same_shows_no_sign(desk: Desk) -> None:
    desk.candidate(RIGHT)
    said = desk.loop("promote", "--json").json
    assert not any(row["warns"] for row in said["gold_check"]["shifts"])
    page = Path(said["report"]["markdown"]).read_text("utf-8")
    assert "Nothing shows that they are corrupted." in page
    assert "! OS" not in desk.loop("report").out


def test_with_no_open_texts_asked_for_nothing_is_checked(desk: Desk) -> None:
    desk.configure(promotion__unlabelled=0)
    desk.candidate(SWITCHED)
    said = desk.loop("promote", "--json").json
    assert said["gold_check"] is None
    assert "New annotations\n" not in Path(said["report"]["markdown"]).read_text("utf-8")
