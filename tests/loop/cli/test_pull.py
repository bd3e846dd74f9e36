"""`loop pull` and `loop status` tell of texts in doubt, and a line in loop.toml mends them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from loop.cli.invocation import Invocation
from loop.settings.settings import Settings
from store.database.session import open_store
from store.projects import link, project_by_name
from tests.fakes import CONFIG, FakeLabelStudio
from tests.loop.desk import Desk, make_desk


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> FakeLabelStudio:
    server = FakeLabelStudio(CONFIG, [f"Excel number {n} crashed" for n in range(3)])
    monkeypatch.setattr(Invocation, "client", server)
    return server


@pytest.fixture
def desk(
    tmp_path: Path, server: FakeLabelStudio, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Desk:
    """A project that is linked to the server."""
    desk = make_desk(tmp_path / "desk", capsys, monkeypatch)
    store = open_store(Settings.load(desk.home, {}).store_url)
    with store.transaction() as tx:
        link(tx, project_by_name(tx.session, "desk").id, server.url, 1)
        tx.commit()
    store.close()
    return desk


def region(label: str, start: int = 0, end: int = 5) -> dict[str, Any]:
    value = {"start": start, "end": end, "labels": [label]}
    return {"id": f"r{start}", "from_name": "label", "to_name": "text", "type": "labels", "value": value}


def labelled(desk: Desk) -> tuple[int, int]:
    """How many texts are gold, and how many are in doubt."""
    counts = desk.loop("status", "--json").json["counts"]
    return counts["gold"] + counts["holdout_gold"], counts["doubts"]["documents"]


def test_a_pull_names_the_label_at_fault_and_the_line_that_mends_it(desk: Desk, server: FakeLabelStudio):
    for task in sorted(server.tasks):
        server.annotate(task, [region("Soft")])
    said = " ".join(desk.loop("pull").out.split())
    assert '3 labelled texts are in doubt and are not learned from: label "Soft" (3).' in said
    assert 'Mend: [label_map] "Soft" = "SOFTWARE" in loop.toml' in said
    assert labelled(desk) == (0, 3)
    told = desk.loop("status")
    assert '[label_map] "Soft" = "SOFTWARE" in loop.toml' in " ".join(told.out.split())
    assert max(map(len, told.out.splitlines())) <= 80
    (desk.home / "loop.toml").open("a").write('\n[label_map]\nSoft = "SOFTWARE"\n')
    assert desk.loop("pull", "--json").json["label_map_changed"]
    assert labelled(desk) == (3, 0)
    assert "in doubt" not in desk.loop("status").out


def test_a_pull_says_which_offsets_were_converted(desk: Desk, server: FakeLabelStudio):
    server.import_tasks(1, [{"data": {"text": "\N{WRENCH} Excel"}}])
    words = {"value": {"start": 3, "end": 8, "text": "Excel", "labels": ["SOFTWARE"]}}
    server.annotate(max(server.tasks), [region("SOFTWARE") | words])
    assert "Offsets of 1 annotation count UTF-16 units: converted." in desk.loop("pull").out
    assert labelled(desk) == (1, 0)
