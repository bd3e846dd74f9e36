"""`loop weak ...`: sources are asked, whatever they do; what they are worth is shown; and they are muted."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.loop.desk import Desk, make_desk

FUNCTIONS = """
import os, re, sys, time
from ner.spans import Span
from weak_labeling.functions import labeling_function

@labeling_function(name='names')
def names(text):
    start = text.find('Excel')
    return [Span(start, start + 5, 'SOFTWARE')] if start >= 0 else None
"""
# What functions do that nobody would write on purpose, and what is said of each.
HARMFUL = {
    "raises": ("return [1 / 0]", "raised ZeroDivisionError"),
    "outside": ("return [Span(0, len(text) + 1, 'OS')]", "a span lies within its text"),
    "no_span": ("return [(0, 1, 'OS')]", "yields Spans"),
    "no_label": ("return [Span(0, 1, 'NOPE')]", "a vote's label is one of"),
    "leaves": ("sys.exit(5)", "raised SystemExit"),
    "dies": ("os._exit(5)", "ended the process"),
    "sleeps": ("time.sleep(99)", "took more than 0.1 seconds"),
    "backtracks": ("re.fullmatch('(x+x+)+y', 40 * 'x')", "took more than 0.1 seconds"),
    "hungry": ("bytearray(1 << 42)", "raised MemoryError"),
    "prints": ("print('noise'); os.write(1, b'noise'); return [1 / 0]", "raised ZeroDivisionError"),
}


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = make_desk(tmp_path / "desk", capsys, monkeypatch)
    (made.home / "functions.py").write_text(FUNCTIONS)
    made.configure(weak__functions="functions.py", weak__seconds_per_text=0.1)
    made.loop("import", str(made.write("in.jsonl", {"text": "Excel hangs"}, {"text": "other"})), "--split", "train")
    return made


def add_function(desk: Desk, name: str, body: str) -> None:
    path = desk.home / "functions.py"
    path.write_text(f"{path.read_text()}\n@labeling_function(name={name!r})\ndef {name}(text):\n    {body}\n")


def test_without_sources_nothing_is_asked_and_the_setting_is_named(desk: Desk):
    desk.configure(weak__functions="")
    said = desk.loop("weak", "apply")
    assert said.code == 3 and "weak.functions" in said.err


def test_before_anything_was_asked_the_commands_say_so(desk: Desk):
    report = desk.loop("weak", "report")
    assert (report.code, report.out.startswith("No source of weak labels is known yet.")) == (0, True)
    assert "No source was asked about this text yet: `loop weak apply`." in desk.loop("weak", "explain", "1").out
    desk.loop("weak", "apply")
    assert "No source votes on this text." in desk.loop("weak", "explain", "2").out
    assert "In brackets" not in desk.loop("weak", "explain", "2").out
    assert desk.loop("weak", "try", " ").code == 4


def test_whatever_a_function_does_it_fails_by_name_and_the_others_vote(desk: Desk):
    for name, (body, _) in HARMFUL.items():
        add_function(desk, name, body)
    said = desk.loop("weak", "apply", "--json")
    sources = {one["name"]: one for one in said.json["sources"]}
    assert (said.code, said.json["voted"], said.json["documents"]) == (0, 1, 2)
    assert (sources["names"]["votes"], sources["names"]["faults"]) == (1, 0)
    for name, (_, reason) in HARMFUL.items():
        assert (sources[name]["votes"], sources[name]["faults"]) == (0, 2), name
        assert reason in sources[name]["first_fault"], name


def test_what_was_asked_is_a_table_of_eighty_columns_and_label_is_the_same_command(desk: Desk):
    add_function(desk, "raises", "return [1 / 0]")
    said = desk.loop("label")
    assert "1 of 2 texts have a vote." in said.out and "raises failed on 2 texts, first: raised Zero" in said.out
    assert max(map(len, said.out.splitlines())) <= 80
    assert desk.loop("weak", "apply", "--json").json["sources"][0]["documents"] == 0


def label_all(desk: Desk, number: int = 9) -> None:
    """Labelled texts of which every one has an Excel."""
    span = {"start": 0, "end": 5, "label": "SOFTWARE"}
    texts = [{"id": f"e{n}", "text": f"Excel {n} on a PC", "spans": [span]} for n in range(number)]
    desk.loop("import", str(desk.write("gold.jsonl", *texts)), "--split", "train")


def test_the_ledger_shows_each_source_and_its_worth_in_eighty_columns(desk: Desk):
    add_function(desk, "prepositions_and_other_words", "yield Span(6, 7, 'OS')")
    label_all(desk, 10)
    desk.loop("weak", "apply")
    said = desk.loop("weak", "report")
    assert said.code == 0 and max(map(len, said.out.splitlines())) <= 80
    assert "100% (72-100)" in said.out and "F1 by method: majority 0.667, generative" in said.out
    found = desk.loop("weak", "report", "--json").json
    names, poison = found["sources"]
    assert (names["votes"], names["precision"]["right"], names["precision"]["votes"]) == (11, 10, 10)
    assert (names["worth"]["without_f1"], poison["worth"]["without_f1"]) == (0.0, 1.0)
    assert [entry["label"] for entry in poison["types"]] == ["OS"] and poison["types"][0]["precision"]["right"] == 0
    detail = desk.loop("weak", "report", "--source", "names").out
    assert "SOFTWARE" in detail and "12 texts" in detail and max(map(len, detail.splitlines())) <= 80


def test_the_worth_of_one_source_is_measured_by_the_method_in_use(desk: Desk):
    """What no source marks, `learned` finds by its words."""
    spans = [{"start": 0, "end": 5, "label": "SOFTWARE"}, {"start": 12, "end": 14, "label": "OS"}]
    texts = [{"id": f"e{n}", "text": f"Excel {n} on PC", "spans": spans} for n in range(10, 40)]
    desk.loop("import", str(desk.write("gold.jsonl", *texts)), "--split", "train")
    desk.loop("weak", "apply")
    of_all = desk.loop("weak", "report", "--json").json
    assert (of_all["method"], of_all["worth_by"]) == ("combined", "weighted")
    worth = of_all["sources"][0]["worth"]
    assert (worth["method"], worth["without_f1"]) == ("weighted", 0.0)
    worth = desk.loop("weak", "report", "--source", "names", "--json").json["worth"]
    assert (worth["method"], worth["with_f1"]) == ("combined", of_all["f1"])
    assert worth["without_f1"] > 0.9


def test_columns_that_have_no_room_are_left_out_and_with_wide_all_are_shown(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
):
    add_function(desk, "prepositions_and_other_words", "yield Span(0, 1, 'OS')")
    monkeypatch.setenv("COLUMNS", "60")
    applied = desk.loop("weak", "apply").out.splitlines()
    assert applied[0].split() == ["source", "texts", "asked", "new", "votes", "failed", "on"]
    assert applied[3].strip() == "words" and max(map(len, applied[:4])) <= 60
    said = desk.loop("weak", "report").out
    assert said.splitlines()[0].split() == ["source", "votes", "covers", "right", "worth"]
    assert max(map(len, said.split("\n\n")[0].splitlines())) <= 60
    assert "\nprepositions_and_other_words " in said and ("judged:" in said, "covers:" in said) == (False, True)
    wide = desk.loop("weak", "report", "--wide").out.splitlines()
    assert wide[0].split()[:8] == ["source", "votes", "covers", "shared", "disputed", "right", "judged", "worth"]
    assert [line.split()[:2] for line in wide[1:3]] == [["names", "1"], ["prepositions_and_other_words", "2"]]


def test_a_person_mutes_and_unmutes_by_name(desk: Desk):
    desk.loop("weak", "apply")
    assert desk.loop("weak", "mute", "nope").code == 3
    for words in (("mute", "nams"), ("unmute", "nams"), ("report", "--source", "nams")):
        answer = desk.loop("weak", *words)
        assert (answer.code, "Did you mean names?" in answer.err) == (3, True)
    assert desk.loop("weak", "mute", "names", "--json").json == {"source": "names", "muted": True}
    assert "names (muted)" in desk.loop("weak", "report").out
    assert desk.loop("weak", "explain", "1", "--json").json["outcome"] == []
    assert "names (muted)" in desk.loop("weak", "explain", "1").out
    assert "The votes of names count." in desk.loop("weak", "unmute", "names").out
    assert [span["text"] for span in desk.loop("weak", "explain", "1", "--json").json["outcome"]] == ["Excel"]


def test_try_shows_who_votes_what_and_stores_nothing(desk: Desk):
    add_function(desk, "raises", "return [1 / 0]")
    said = desk.loop("weak", "try", "my Excel [hangs]")
    assert "[Excel SOFTWARE 0.67]" in said.out and "[hangs]" in said.out and "3-8" in said.out
    assert "raises failed: raised ZeroDivisionError" in said.out
    found = desk.loop("weak", "try", "my Excel", "--json").json
    assert [(vote["text"], vote["label"], vote["sources"]) for vote in found["votes"]] == [
        ("Excel", "SOFTWARE", ["names"])
    ]
    assert desk.loop("weak", "report", "--json").json["sources"] == []


def test_explain_takes_either_id_and_keeps_the_gold_of_the_holdout_to_itself(desk: Desk):
    span = {"start": 0, "end": 5, "label": "SOFTWARE"}
    desk.loop("import", str(desk.write("h.jsonl", {"id": "9", "text": "Excel", "spans": [span]})), "--split", "holdout")
    label_all(desk, 1)
    desk.loop("weak", "apply")
    held = desk.loop("weak", "explain", "9", "--json").json
    assert (held["external_id"], held["held_out"], held["gold"]) == ("9", True, None)
    assert [span["text"] for span in held["outcome"]] == ["Excel"]
    told = desk.loop("weak", "explain", "e0").out
    assert "Gold: 'Excel' SOFTWARE." in told and max(map(len, told.splitlines())) <= 80
    assert desk.loop("weak", "explain", "99").code == 3


def test_a_broken_entry_of_weak_toml_is_told_by_line_and_the_other_sources_vote(desk: Desk):
    (desk.home / "weak.toml").write_text(
        '[[source]]\nname = "good"\nkind = "pattern"\nlabel = "OS"\npattern = "o"\n\n'
        '[[source]]\nname = "bad"\nkind = "pattern"\nlabel = "OS"\npattern = "("\n'
    )
    answer = desk.loop("weak", "apply", "--json")
    said = answer.json
    assert answer.code == 4 and desk.loop("weak", "try", "Excel").code == 4
    assert {one["name"]: one["votes"] for one in said["sources"]} == {"names": 1, "good": 1}
    assert len(said["problems"]) == 1 and "weak.toml, line 11" in said["problems"][0]
