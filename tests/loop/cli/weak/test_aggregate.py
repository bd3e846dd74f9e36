"""`loop weak aggregate`: a file of votes becomes a file of spans, without a project."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from loop.cli.app import run

NAMES = ("Arch", "Brew", "Cargo", "Deno", "Emacs", "Fish", "Gradle", "Helm", "Istio", "Jira", "Kafka", "Lima")
BAD = ("bad", "worse")


def record(name: str) -> dict[str, Any]:
    """ "We run <name>": one source knows the name, and two take the word before it for a tool."""
    span = {"start": 7, "end": 7 + len(name), "label": "OS"}
    wrong = [{"start": 3, "end": 6, "label": "TOOL", "source": source} for source in BAD]
    return {"id": name, "text": f"We run {name}", "weak": [{**span, "source": "good"}, *wrong], "spans": [span]}


def write(path: Path, *records: Mapping[str, Any]) -> str:
    path.write_text("".join(json.dumps(one) + "\n" for one in records), "utf-8")
    return str(path)


def written(path: Path) -> list[list[tuple[str, str]]]:
    """(words, label) of the spans of each line."""
    lines = map(json.loads, path.read_text("utf-8").splitlines())
    return [[(one["text"][s["start"] : s["end"]], s["label"]) for s in one["spans"]] for one in lines]


@pytest.fixture
def votes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return write(tmp_path / "votes.jsonl", *map(record, NAMES))


def test_without_gold_it_is_the_majority_vote_and_the_spans_of_the_file_are_not_looked_at(
    votes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = tmp_path / "out.jsonl"
    assert run(["weak", "aggregate", votes, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["method"], told["texts"], told["spans"], told["labelled"], told["f1"]) == ("majority", 12, 24, 0, None)
    assert written(out) == [[("run", "TOOL"), (name, "OS")] for name in NAMES]
    first = json.loads(out.read_text("utf-8").splitlines()[0])
    assert (first["id"], set(first)) == ("Arch", {"id", "text", "spans"})


def test_gold_chooses_and_scores(votes: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    gold = write(
        tmp_path / "gold.jsonl", *({"text": f"We run {name}", "spans": record(name)["spans"]} for name in NAMES)
    )
    out = tmp_path / "out.jsonl"
    assert run(["weak", "aggregate", votes, "--gold", gold, "--out", str(out), "--json"]) == 0
    told = json.loads(capsys.readouterr().out)
    assert told["method"] != "majority"
    assert [one["method"] for one in told["scores"]] == ["majority", "generative", "weighted", "learned", "combined"]
    assert told["f1"]["micro"]["f1"] == 1.0
    assert told["f1"]["OS"]["support"] == 12
    assert written(out) == [[(name, "OS")] for name in NAMES]
    assert run(["weak", "aggregate", votes, "--gold", gold, "--out", str(out)]) == 0
    assert "on 12 labelled texts" in capsys.readouterr().out


def test_a_bad_vote_is_left_out_and_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    outside = record("Arch")
    outside["weak"][0]["end"] = 99
    path = write(tmp_path / "votes.jsonl", outside, record("Brew"))
    out = tmp_path / "out.jsonl"
    assert run(["weak", "aggregate", path, "--out", str(out)]) == 4
    said = capsys.readouterr().out
    assert "1 vote or record left out" in said
    assert "line 1" in said
    assert written(out) == [[("run", "TOOL")], [("run", "TOOL"), ("Brew", "OS")]]


@pytest.mark.parametrize(
    ("records", "gold", "rule"),
    [
        ([{"text": "We run Arch"}], None, "a record of votes has `weak`"),
        ([record("Arch")], [{"text": "Another text", "spans": []}], "the gold is about texts of the file of votes"),
    ],
)
def test_files_that_do_not_fit_are_refused_and_nothing_is_written(
    records: list[dict[str, Any]],
    gold: list[dict[str, Any]] | None,
    rule: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
):
    out = tmp_path / "out.jsonl"
    more = [] if gold is None else ["--gold", write(tmp_path / "gold.jsonl", *gold)]
    assert run(["weak", "aggregate", write(tmp_path / "v.jsonl", *records), *more, "--out", str(out)]) == 4
    assert rule in capsys.readouterr().err.replace("\n", " ")
    assert not out.exists()
