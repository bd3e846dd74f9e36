"""`loop doctor --data` finds what looks wrong in the labelled texts, and says how many texts that touches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loop.files.suspicions import INCLUSIVE_ENDS, SUSPICIONS
from loop.settings.settings import Settings
from ner.label_studio.label_config import NotLearned
from ner.label_studio.results import OUTSIDE_CONFIG
from ner.spans import Span
from store.annotations import FILE, NewAnnotation, append_annotations
from store.database.session import open_store
from store.documents import NewDocument, add_documents
from store.projects import project_by_name
from tests.loop.desk import Desk, make_desk


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return make_desk(tmp_path / "desk", capsys, monkeypatch)


def region(start: int, end: int, label: str, words: str, control: str = "label") -> dict[str, Any]:
    value = {"start": start, "end": end, "labels": [label], "text": words}
    return {"from_name": control, "to_name": "text", "type": "labels", "value": value}


def stored(desk: Desk, name: str, text: str, *regions: dict[str, Any], doubt: str = "") -> None:
    """An annotated text; with `doubt`, all of its regions are in doubt for that reason."""
    places = [(item["value"]["start"], item["value"]["end"], item["value"]["labels"][0]) for item in regions]
    spans = None if doubt else tuple(Span(*place) for place in places)
    aside = [NotLearned(doubt, item) for item in regions] if doubt else []
    store = open_store(Settings.load(desk.home, {}).store_url)
    with store.transaction() as tx:
        project = project_by_name(tx.session, "desk")
        (key,) = add_documents(tx, project.id, [NewDocument(text, external_id=name)], "train").document_ids
        append_annotations(tx, [(key, NewAnnotation(FILE, "gold", regions, spans, set_aside=aside))])
        tx.commit()
    store.close()


def findings(desk: Desk) -> dict[str, dict[str, Any]]:
    said = desk.loop("doctor", "--data", "--json")
    assert said.code == 0
    return {one["name"]: one for one in said.json["findings"]}


CLEAN = ("my Excel on Windows.", region(3, 8, "SOFTWARE", "Excel"), region(12, 19, "OS", "Windows"))


def test_texts_that_are_in_order_give_no_finding(desk: Desk):
    stored(desk, "one", *CLEAN)
    stored(desk, "two", "我在東京用Excel", region(2, 4, "OS", "東京"), region(5, 10, "SOFTWARE", "Excel"))
    assert {one["state"] for one in findings(desk).values()} == {"ok"}
    assert desk.loop("doctor", "--data", "--json").json["gold"] == 2


@pytest.mark.parametrize(
    ("text", "regions", "doubt", "finding", "shown"),
    [
        (
            "my Excel",
            [region(4, 8, "SOFTWARE", "xcel")],
            "",
            "spans that begin or end inside a word",
            "'xcel' in 'my Excel",
        ),
        (
            "my Excel",
            [region(3, 8, "Software", "Excel")],
            OUTSIDE_CONFIG,
            "label differs from the config by case only",
            "Software for SOFTWARE",
        ),
        (
            "my Excel",
            [region(3, 8, "App", "Excel")],
            OUTSIDE_CONFIG,
            "in doubt: label outside the config",
            'App 3-8 "Excel"',
        ),
        (
            "my Excel",
            [region(3, 8, "SOFTWARE", "Excel", "ner_tags")],
            "",
            "control name not in the config",
            "ner_tags over text",
        ),
        (
            "my Excel here",
            [region(3, 8, "SOFTWARE", "Excel"), region(9, 13, "OS", "Word")],
            "",
            "if read again, in doubt: words differ from the text at the offsets",
            'OS 9-13 "Word"',
        ),
    ],
)
def test_each_kind_of_fault_is_found_and_shown(
    desk: Desk, text: str, regions: list[dict[str, Any]], doubt: str, finding: str, shown: str
):
    stored(desk, "clean", *CLEAN)
    for number in range(3):
        stored(desk, f"text {number}", text + "!" * number, *regions, doubt=doubt)
    found = findings(desk)[finding]
    assert (found["state"], found["documents"]) == ("warn", 3)
    assert [one["document"] for one in found["examples"]] == ["text 0", "text 1"]
    assert shown.rstrip('"') in found["examples"][0]["shown"]
    assert found["mend"]


def test_the_same_text_with_different_gold_is_found(desk: Desk):
    stored(desk, "clean", *CLEAN)
    stored(desk, "again", *CLEAN)
    assert findings(desk)["same text with different gold"]["documents"] == 0
    stored(desk, "other", *CLEAN[:2])
    assert findings(desk)["same text with different gold"]["documents"] == 3


def test_a_type_that_never_occurs_is_named(desk: Desk):
    stored(desk, "one", *CLEAN[:2])
    found = findings(desk)["type of the config that never occurs"]
    assert (found["state"], found["examples"]) == ("warn", [{"document": "", "shown": "OS"}])


def test_the_table_fits_80_columns_and_ends_with_what_to_do(desk: Desk):
    stored(desk, "clean", *CLEAN)
    name = "thread " + "x" * 60
    stored(desk, name, "my Excel", region(3, 8, "Software" * 9, "Excel"), doubt=OUTSIDE_CONFIG)
    stored(desk, "cut", "my Excel", region(4, 8, "SOFTWARE", "xcel"))
    said = desk.loop("doctor", "--data")
    assert said.code == 0
    assert max(map(len, said.out.splitlines())) <= 80
    assert said.out.startswith("3 labelled texts: 2 gold, 1 in doubt and not learned from.")
    told = " ".join(said.out.split())
    assert "-> spans that begin or end inside a word: Look at them" in told
    assert "-> in doubt: label outside the config: [label_map] " in told


def test_a_project_without_labelled_texts_is_told_so(desk: Desk):
    said = desk.loop("doctor", "--data")
    assert (said.code, said.out.startswith("0 labelled texts")) == (0, True)


def test_every_suspicion_is_looked_for_and_has_its_own_mend(desk: Desk):
    stored(desk, "short", "my Excel", region(3, 7, "SOFTWARE", "Exce"))
    found = findings(desk)
    assert set(SUSPICIONS) <= set(found)
    assert found[INCLUSIVE_ENDS]["documents"] == 1
    assert found[INCLUSIVE_ENDS]["mend"].startswith("Add 1 to the ends in the file")
