"""A restored store is older than the real Label Studio: the next pull brings all that was done there since."""

from __future__ import annotations

from pathlib import Path

import pytest

from loop.label_studio.client import LabelStudioClient
from loop.settings.settings import Settings
from store.database.schema import Document
from store.database.session import open_store
from store.projects import project_by_name
from tests.loop.desk import Desk, make_desk
from tests.server.linked import Linked
from tests.server.real_label_studio import RealLabelStudio


@pytest.fixture
def desk(
    tmp_path: Path,
    label_studio: RealLabelStudio,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Desk:
    """A project with a model in service, which `loop connect` ties to a new project of the server."""
    desk = make_desk(tmp_path / "desk", capsys, monkeypatch)
    monkeypatch.setenv("LABEL_STUDIO_URL", label_studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio.first.token)
    desk.promoted_model()
    said = desk.loop("connect", "--no-backend")
    assert said.code == 0, said.err
    assert said.out.rstrip().endswith("Next: loop connect --push")
    return desk


def linked(desk: Desk, client: LabelStudioClient) -> Linked:
    store = open_store(Settings.load(desk.home, {}).store_url)
    with store.read() as session:
        return Linked(store, client, project_by_name(session, "desk"))


def stored(desk: Desk, client: LabelStudioClient) -> dict[str, tuple[object, ...]]:
    """What the store knows of each text: whether it is labelled or deleted, and where Label Studio has it."""
    side = linked(desk, client)
    with side.store.read() as session:
        found = {
            row.text: (row.ls_task_id, row.is_labeled, row.deleted_at is not None) for row in session.query(Document)
        }
    side.store.close()
    return found


def test_the_next_pull_brings_what_was_done_since_the_backup(
    desk: Desk, client: LabelStudioClient, tmp_path: Path
) -> None:
    side = linked(desk, client)
    first, second, third, *_ = side.add(f"excel number {n} crashed" for n in range(5))
    made = side.annotate(first, (0, 5, "SOFTWARE"))
    assert desk.loop("pull").code == 0
    assert desk.loop("publish").code == 0
    assert desk.loop("backup", str(tmp_path / "out")).code == 0
    side.annotate(second, (0, 5, "SOFTWARE"))
    client.http.patch(f"/api/annotations/{made['id']}/", {"result": []})
    side.act("delete_tasks", [third])
    side.add(["windows hangs"])
    assert desk.loop("pull").code == 0
    side.store.close()
    assert desk.loop("restore", str(tmp_path / "out"), str(tmp_path / "new")).code == 0
    new = Desk(tmp_path / "new", desk.capsys, desk.monkeypatch)
    assert stored(new, client) != stored(desk, client)
    pulled = new.loop("pull")
    assert pulled.code == 0, pulled.err
    assert stored(new, client) == stored(desk, client)
    assert len(stored(new, client)) == 6
    published = new.loop("publish", "--json")
    assert published.code == 0 and published.json["sent"] == 1
    assert client.model_versions(side.ls_id)["desk-0001"] >= 4
