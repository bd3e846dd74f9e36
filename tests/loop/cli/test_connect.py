"""What `loop connect` says of the project that it links, or why it links none."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loop.cli.invocation import Invocation
from tests.fakes import CONFIG, FakeLabelStudio
from tests.loop.desk import Desk, make_desk

LINK = ("connect", "--ls-project", "1", "--no-backend")


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return make_desk(tmp_path / "desk", capsys, monkeypatch)


@pytest.fixture
def server(desk: Desk) -> FakeLabelStudio:
    made = FakeLabelStudio(CONFIG, ["Excel froze on Windows", "Word froze"])
    desk.monkeypatch.setattr(Invocation, "client", made)
    return made


def region(from_name: str, label: str) -> dict[str, Any]:
    value = {"start": 0, "end": 5, "labels": [label]}
    return {"from_name": from_name, "to_name": "text", "type": "labels", "value": value}


def test_connect_says_nothing_of_a_config_that_fits(desk: Desk, server: FakeLabelStudio) -> None:
    server.annotate(1, [region("label", "SOFTWARE")])
    said = desk.loop(*LINK).out.splitlines()
    assert said == ["Linked project 1: http://label-studio.fake/projects/1", "Next: loop pull"]


def test_connect_that_made_tasks_says_that_people_can_label(desk: Desk, server: FakeLabelStudio) -> None:
    said = " ".join(desk.loop(*LINK, "--push").out.split())
    assert said.endswith("People can label now. Next, with a model or sources of weak labels: loop publish")


def test_connect_says_what_of_the_project_cannot_be_learned_and_how_to_mend_it(
    desk: Desk, server: FakeLabelStudio
) -> None:
    titles = '<Labels name="title_tags" toName="title"><Label value="ORDER"/></Labels><Text name="title" value="$t"/>'
    server.settings["label_config"] = CONFIG.replace('"OS"', '"HARDWARE"').replace("</View>", f"{titles}</View>")
    server.annotate(1, [region("ner_tags", "SOFTWARE"), region("label", "Software")])
    server.import_tasks(1, [{"data": {"text": None}}])
    said = " ".join(desk.loop(*LINK).out.split())
    assert "Not learned from: <Labels name='title_tags'> (ORDER): it labels <Text name='title'>" in said
    assert "other labels: +HARDWARE -OS. The next pull takes it over." in said
    assert "Of the first 3 tasks: 1 without a text that can be read." in said
    assert "Of the first 3 tasks: 1 x region of <Labels name='ner_tags' toName='text'>, which" in said
    assert 'Of the first 3 tasks: 1 labelled text is in doubt and is not learned from: label "Software" (1)' in said
    assert '[label_map] "Software" = "SOFTWARE"' in said


def test_connect_lists_what_it_found_as_json(desk: Desk, server: FakeLabelStudio) -> None:
    server.annotate(1, [region("ner_tags", "SOFTWARE")])
    check = desk.loop(*LINK, "--json").json["project"]["check"]
    assert check["foreign"] == [{"from_name": "ner_tags", "to_name": "text", "regions": 1}]
    assert (check["tasks_read"], check["without_text"], check["doubts"]["documents"]) == (2, 0, 1)


def test_connect_refuses_a_project_whose_tasks_lack_the_field(desk: Desk, server: FakeLabelStudio) -> None:
    server.settings["label_config"] = CONFIG.replace("$text", "$data.body")
    said = desk.loop(*LINK)
    assert said.code == 3
    assert "'data.body': got fields text in the tasks of project 1" in " ".join(said.err.split())
