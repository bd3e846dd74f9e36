"""`loop promote`, `loop renew-holdout`, and what `loop status` and `loop report` say of a decision by policy."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest

from tests.loop.desk import WORDS, Desk, Said, make_desk

pytestmark = pytest.mark.usefixtures("judged_here")
QUICK = {"promotion__reference": False, "promotion__robustness": 0, "promotion__timed": 0}


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = make_desk(tmp_path / "desk", capsys, monkeypatch)
    made.configure(**QUICK)
    return made


def hold_out(desk: Desk, first: int, last: int, *, os_too: bool = True) -> None:
    """Held-out gold: every text names excel; every other one windows, where `os_too`."""
    records = []
    for n in range(first, last):
        spans = [{"start": 0, "end": 5, "label": "SOFTWARE"}]
        spans += [{"start": 9, "end": 16, "label": "OS"}] if n % 2 and os_too else []
        records.append({"text": f"excel on {'windows' if n % 2 and os_too else 'nothing'} {n}", "spans": spans})
    assert desk.loop("import", str(desk.write(f"held-{first}.jsonl", *records)), "--split", "holdout").code == 0


def judge(desk: Desk, words: Mapping[str, str] = WORDS, *options: str) -> Said:
    desk.candidate(words)
    return desk.loop("promote", *options)


def test_a_decision_is_told_in_one_of_five_words_here_in_status_and_in_the_history(desk: Desk) -> None:
    hold_out(desk, 0, 150)
    assert judge(desk).code == 0
    said = judge(desk, WORDS, "--json")
    assert (said.code, said.json["word"], said.json["ruling"]["needed"]) == (0, "not shown worse", 0)
    worse = judge(desk, {"windows": "OS"})
    assert worse.code == 8
    assert "not promoted: likely worse" in worse.out
    status = desk.loop("status", "--json").json
    assert (status["last_promotion"]["word"], status["last_decision"]["word"]) == ("not shown worse", "likely worse")
    told = " ".join(desk.loop("status").out.split())
    assert "promoted desk-0002 (not shown worse)" in told
    assert "a candidate serves" in told
    history = desk.loop("report", "--history", "--json").json["decisions"]
    assert [one["word"] for one in history] == [None, "not shown worse", "likely worse"]
    assert "likely worse" in desk.loop("report", "--history").out
    report = desk.loop("report", "--json").json
    assert (report["ruling"]["word"], report["verdict"]["headline"]) == ("likely worse", "not promoted, likely worse")


def test_a_held_candidate_ends_with_8_and_waits(desk: Desk) -> None:
    hold_out(desk, 0, 20, os_too=False)
    judge(desk)
    judge(desk)  # while the first model serves, less is asked
    said = judge(desk)
    assert said.code == 8
    assert "held: cannot tell" in said.out
    assert "Report: " in said.out  # although there is no difference to draw
    assert desk.loop("status", "--json").json["models"] == {"candidate": 1, "promoted": 1, "retired": 1}


def test_what_is_put_back_is_in_the_history_and_in_service(desk: Desk) -> None:
    hold_out(desk, 0, 60)
    judge(desk)
    desk.promoted_model({"windows": "OS"})
    said = judge(desk, {"windows": "OS"}, "--json")
    assert (said.code, said.json["ruling"]["put_back"], said.json["promoted"]) == (8, "desk-0001", False)
    history = desk.loop("report", "--history", "--json").json["decisions"]
    assert [(one["action"], one["version"]) for one in history[-2:]] == [
        (said.json["outcome"].replace("held", "hold").replace("rejected", "reject"), "desk-0003"),
        ("put back", "desk-0001"),
    ]
    assert desk.loop("status", "--json").json["model"]["version"] == "desk-0001"
    assert "put back desk-0001" in " ".join(desk.loop("status").out.split())


def test_a_lead_renews_the_holdout_once_it_has_judged_a_model(desk: Desk) -> None:
    hold_out(desk, 0, 30)
    refused = desk.loop("renew-holdout")
    assert refused.code != 0
    assert "after it has judged a model" in refused.err
    judge(desk)
    refused = desk.loop("renew-holdout")
    assert refused.code != 0
    assert "--split holdout" in refused.err
    hold_out(desk, 30, 60)  # joins after the look, and so has judged nothing
    done = desk.loop("renew-holdout", "--json")
    assert (done.code, done.json["epoch"], done.json["retired"], done.json["carried"]) == (0, 2, 30, 30)
    assert desk.loop("status", "--json").json["holdout"]["epoch"] == 2
    said = judge(desk, WORDS, "--json")
    assert (said.json["look"]["epoch"], said.json["look"]["number"]) == (2, 1)
