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
