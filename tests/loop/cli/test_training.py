"""The whole offline loop by commands alone: import, retrain, promote, evaluate, predict, again, and back."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.loop.desk import Desk, heed_ctrl_c, make_desk
from tests.loop.tiny import corpus, encoder, train_settings

pytestmark = pytest.mark.training


def records(first: int, last: int) -> list[dict[str, object]]:
    return [
        {
            "id": f"r{number}",
            "text": text,
            "spans": [{"start": span.start, "end": span.end, "label": span.label} for span in spans],
        }
        for number, (text, spans) in enumerate(corpus(last))
        if number >= first
    ]


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    desk = make_desk(tmp_path / "desk", capsys, monkeypatch)
    quick = train_settings(encoder(tmp_path / "encoder")).model_dump()
    desk.configure(**{f"train__{name}": value for name, value in quick.items()})
    desk.loop("import", str(desk.write("train.jsonl", *records(0, 100))), "--split", "train")
    desk.loop("import", str(desk.write("dev.jsonl", *records(100, 140))), "--split", "holdout")
    return desk


def poisoned(texts: list[dict[str, object]]) -> list[dict[str, object]]:
    """The records with the votes of a source that is right and of one that marks the beginning of every text."""
    common = {"start": 0, "end": 1, "label": "OS", "source": "common words"}
    return [{**one, "weak": [*({**span, "source": "names"} for span in one["spans"]), common]} for one in texts]  # type: ignore[attr-defined]


def test_the_loop_goes_round_offline(desk: Desk):
    desk.loop("weak", "import", str(desk.write("votes.jsonl", *poisoned(records(0, 100)))))
    trained = desk.loop("retrain", "--json")
    assert trained.code == 0, trained.out
    (muted,) = (notice for notice in trained.json["notices"] if "muted" in notice)
    assert muted.startswith("common words is muted: without common words the majority vote on 100 labelled documents")
    ledger = {one["name"]: one for one in desk.loop("weak", "report", "--json").json["sources"]}
    assert (ledger["common words"]["muted_by"], ledger["names"]["muted_at"]) == ("loop", None)
    assert ledger["common words"]["evidence"]["right"] == 0 and ledger["names"]["precision"]["share"] == 1.0
    assert (trained.json["kind"], trained.json["parent"]) == ("gold", None)
    version = trained.json["version"]
    assert desk.loop("status", "--json").json["models"] == {"candidate": 1}

    promoted = desk.loop("promote", "--json")
    assert (promoted.code, promoted.json["promoted"], promoted.json["version"]) == (0, True, version)
    (kept,) = desk.home.rglob("report.md")
    assert "This training muted common words, a source of weak labels." in kept.read_text("utf-8")
    assert "loop weak unmute 'common words'" in kept.read_text("utf-8")
    f1 = promoted.json["figures"]["candidate"]["micro"]["f1"]

    on_holdout = desk.loop("evaluate", "--json").json
    on_file = desk.loop("evaluate", "--on", str(desk.home / "dev.jsonl"), "--json").json
    assert on_holdout["micro"]["f1"] == on_file["micro"]["f1"] == f1 > 0.5
    assert set(on_holdout["types"]) == {"SOFTWARE", "OS"}
    assert on_holdout["types"]["OS"]["support"] > 0
    shown = desk.loop("evaluate", version)
    assert f"{f1:.3f}" in shown.out
    assert max(map(len, shown.out.splitlines())) <= 80

    predicted = desk.loop("predict", str(desk.home / "dev.jsonl"))
    answers = [json.loads(line) for line in predicted.out.splitlines()]
    assert [answer["id"] for answer in answers] == [f"r{number}" for number in range(100, 140)]

    assert desk.loop("rollback").code == 4
    assert desk.loop("promote").code == 4

    desk.configure(promotion__policy="proven", promotion__reference=False, promotion__robustness=0)
    assert desk.loop("weak", "unmute", "common words").code == 0
    retrained = desk.loop("retrain", "--from-scratch", "--json").json
    again = retrained["version"]
    assert not any("muted" in notice for notice in retrained["notices"])  # a person decided
    rejected = desk.loop("promote", "--json")
    assert (rejected.code, rejected.json["version"], rejected.json["promoted"]) == (8, again, False)
    assert "it is not higher" in rejected.json["reason"]
    told = desk.loop("status", "--json").json
    assert told["model"]["version"] == version
    assert told["model"]["f1"]["micro"] == f1
    assert told["last_decision"]["action"] == "reject"


def test_a_retrain_without_anything_to_learn_from_exits_with_7_and_says_what_to_do(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    desk = make_desk(tmp_path / "empty", capsys, monkeypatch)
    said = desk.loop("retrain")
    assert said.code == 7
    assert "import" in said.err or "label" in said.err


def test_without_gold_the_votes_of_the_records_are_learned_from(desk: Desk, tmp_path: Path):
    weak = [
        {"id": f"w{n}", "text": r["text"], "weak": [{**s, "source": "names"} for s in r["spans"]]}  # type: ignore[attr-defined]
        for n, r in enumerate(records(0, 100))
    ]
    other = make_desk(tmp_path / "weak", desk.capsys, desk.monkeypatch)
    (other.home / "loop.toml").write_text((desk.home / "loop.toml").read_text())
    assert other.loop("import", str(other.write("weak.jsonl", *weak)), "--split", "train", "--json").code == 0
    trained = other.loop("retrain", "--json")
    assert (trained.code, trained.json.get("kind")) == (0, "weak")


def test_a_file_to_score_by_must_be_labelled(desk: Desk):
    desk.promoted_model()
    said = desk.loop("evaluate", "--on", str(desk.write("open.jsonl", {"text": "Excel"})))
    assert said.code == 4
    assert "a record to score by is labelled" in said.err


def test_labels_of_a_file_to_score_by_are_mapped(desk: Desk):
    desk.promoted_model()
    with (desk.home / "loop.toml").open("a") as config:
        config.write('[label_map]\nApplication = "SOFTWARE"\nVerb = "O"\n')
    spans = [{"start": 0, "end": 5, "label": "Application"}, {"start": 6, "end": 11, "label": "Verb"}]
    said = desk.loop("evaluate", "--on", str(desk.write("m.jsonl", {"text": "Excel hangs", "spans": spans})), "--json")
    assert said.json["micro"]["f1"] == 1.0


def test_a_text_in_doubt_is_not_scored_and_is_named(desk: Desk):
    desk.promoted_model()
    good = {"id": "g", "text": "Excel hangs", "spans": [{"start": 0, "end": 5, "label": "SOFTWARE"}]}
    odd = {"id": "o", "text": "Excel hung", "spans": [{"start": 0, "end": 5, "label": "Program"}]}
    said = desk.loop("evaluate", "--on", str(desk.write("m.jsonl", good, odd)), "--json")
    assert said.json["documents"] == 1
    assert 'label "Program" (1)' in said.json["said"][0]
    refused = desk.loop("evaluate", "--on", str(desk.write("none.jsonl", odd)))
    assert (refused.code, 'label "Program" (1)' in " ".join(refused.err.split())) == (4, True)


def test_a_real_ctrl_c_ends_a_training_with_one_line_and_the_next_one_works(desk: Desk):
    config = desk.home / "loop.toml"
    quick = config.read_text("utf-8")
    desk.configure(train__passes=100_000)
    process = subprocess.Popen(
        [sys.executable, "-m", "loop.cli", "-C", str(desk.home), "retrain"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=heed_ctrl_c,
    )
    assert process.stderr is not None
    assert any(line.startswith("epoch 1/") for line in process.stderr)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, out) == (130, "")
    told = [line for line in err.splitlines() if not line.startswith("epoch ")]
    assert told == ["Interrupted; the same command can be given again."]
    left = desk.loop("status", "--json").json
    assert (left["models"], [run["kind"] for run in left["interrupted"]]) == ({"interrupted": 1}, ["retrain"])
    config.write_text(quick, "utf-8")
    assert desk.loop("retrain").code == 0
    assert desk.loop("status", "--json").json["interrupted"] == []
