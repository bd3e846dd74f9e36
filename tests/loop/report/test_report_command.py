"""`loop report`: the latest report or a version's, opened, as JSON, or every decision."""

from __future__ import annotations

import json
import webbrowser
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from loop.console import plain
from loop.report import files
from loop.report.facts import Report
from loop.report.files import ReportFiles, keep_report, read_report
from loop.report.rollback import report_of_rollback
from store.database.session import Store, open_store
from tests.loop.desk import Desk, make_desk
from tests.loop.report import reported


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return make_desk(tmp_path / "desk", capsys, monkeypatch)


@pytest.fixture
def kept(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A kept promotion report on a store of its own; the page is another test's matter."""
    monkeypatch.setattr(files, "render_html", lambda _: "page")
    store = filled(tmp_path)
    made = reported.report_of(reported.attempt(), store)
    keep_report(made, desk.home / "reports")
    store.close()
    return plain(made)


def filled(tmp_path: Path) -> Store:
    store = open_store(f"sqlite:///{tmp_path}/other.db")
    reported.fill(store)
    return store


def first_report(desk: Desk) -> Report:
    return read_report(ReportFiles(desk.home / "reports" / "desk-0002-01"))


def test_it_prints_verdict_gates_types_and_where_the_files_are_in_80_columns(desk: Desk, kept: dict[str, Any]):
    said = desk.loop("report")
    assert said.code == 0
    words = " ".join(said.out.split())
    assert kept["verdict"]["sentences"][0] in words
    assert "✓ pass" in words
    assert "micro 292" in words
    assert words.index("✓ pass") < words.index("micro 292") < words.index("Next steps") < words.index("Page:")
    path = desk.home / "reports" / "desk-0002-01" / "report.html"
    assert f"Page:     {path}" in said.out
    assert max(len(line) for line in said.out.splitlines() if str(desk.home) not in line) <= 80


def test_a_version_has_its_own_report_and_an_unknown_one_names_those_there_are(desk: Desk, kept: dict[str, Any]):
    assert desk.loop("report", "desk-0002").code == 0
    refused = desk.loop("report", "desk-0007")
    assert refused.code == 3
    assert "There are reports on: desk-0002." in " ".join(refused.err.split())


def test_json_is_the_whole_content(desk: Desk, kept: dict[str, Any]):
    assert desk.loop("report", "--json").json == kept


def test_without_a_report_the_next_step_is_said(desk: Desk):
    said = desk.loop("report", "--latest", "--json")
    assert said.code == 3
    assert "loop promote" in said.json["error"]["next_step"]


def test_open_opens_the_page(desk: Desk, kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch):
    opened: list[str] = []
    monkeypatch.setattr(webbrowser, "open", lambda url: opened.append(url) or True)
    assert desk.loop("report", "--open").code == 0
    assert opened == [(desk.home / "reports" / "desk-0002-01" / "report.html").as_uri()]


def test_where_no_browser_opens_the_place_of_the_page_is_said(
    desk: Desk, kept: dict[str, Any], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(webbrowser, "open", lambda url: False)
    said = desk.loop("report", "--open")
    assert said.code == 0
    assert "report.html" in said.err


def test_words_that_exclude_each_other_are_wrong_usage(desk: Desk):
    assert desk.loop("report", "desk-0001", "--latest").code == 2
    assert desk.loop("report", "--history", "--open").code == 2


def test_the_history_lists_every_decision_with_who_and_why(desk: Desk):
    desk.promoted_model()
    said = desk.loop("report", "--history")
    assert said.code == 0
    assert "promoted desk-0001, by a test: no incumbent" in " ".join(said.out.split())
    (only,) = desk.loop("report", "--history", "--json").json["decisions"]
    assert (only["version"], only["action"], only["f1"], only["forced"]) == ("desk-0001", "promote", 0.75, False)


def test_an_empty_history_says_what_begins_it(desk: Desk):
    assert "loop promote" in desk.loop("report", "--history").out


def test_hostile_texts_are_neither_markup_nor_commands_to_the_terminal(
    desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(files, "render_html", lambda _: "page")
    store = filled(tmp_path)
    made = reported.report_of(reported.hostile(), store)
    verdict = replace(made.verdict, sentences=("", "\x1b[31mred [bold]x[/bold] [/nothing]"))
    gates = (replace(made.gates[0], name="[red]a [/no]"),)
    keep_report(replace(made, verdict=verdict, gates=gates), desk.home / "reports")
    said = desk.loop("report")
    assert said.code == 0
    assert "\x1b" not in said.out
    assert "\\x1b[31mred [bold]x[/bold] [/nothing]" in " ".join(said.out.split())
    assert "[red]a [/no]" in said.out
    store.close()


def test_a_rollbacks_report_is_shown_too(desk: Desk, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(files, "render_html", lambda _: "page")
    store = filled(tmp_path)
    kept = keep_report(report_of_rollback("desk", reported.rolled_back(), store), desk.home / "reports")
    assert read_report(kept).kind == "rollback"
    said = desk.loop("report")
    assert "desk-0002: rolled back to desk-0001" in said.out
    store.close()


def test_a_folders_name_finds_that_report_and_earlier_ones_are_counted(
    desk: Desk, kept: dict[str, Any], tmp_path: Path
):
    keep_report(replace(first_report(desk), reason="again"), desk.home / "reports")
    assert "1 earlier report on this version" in desk.loop("report", "desk-0002").out
    said = desk.loop("report", "desk-0002-01", "--json")
    assert (said.code, said.json["reason"]) == (0, kept["reason"])
    assert "earlier report" not in desk.loop("report", "desk-0002-01").out


def test_a_report_that_was_written_before_gates_knew_their_type_is_still_shown(desk: Desk, kept: dict[str, Any]):
    older = {**kept, "gates": [{k: v for k, v in gate.items() if k != "entity_type"} for gate in kept["gates"]]}
    (desk.home / "reports" / "desk-0002-01" / "report.json").write_text(json.dumps(older), "utf-8")
    said = desk.loop("report")
    assert said.code == 0
    assert "◇ insufficient SOFTWARE is not worse" in " ".join(said.out.split())


def test_notes_of_open_gates_and_the_steps_that_were_cut_are_said(desk: Desk, kept: dict[str, Any]):
    said = " ".join(desk.loop("report").out.split())
    assert "◇ insufficient SOFTWARE is not worse: the bound is met, but on too little gold" in said
    left_out = len(kept["next_steps"]) - 5
    assert (f"and {left_out} more in the page" in said) == (left_out > 0)
