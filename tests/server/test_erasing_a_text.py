"""README's "Erasing a text": the project that is made anew holds neither the text nor what was said about it."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from loop.cli.app import run
from loop.label_studio.client import LabelStudioClient
from loop.settings.settings import Settings
from store.database.schema import AnnotationVersion
from store.database.session import open_store
from store.documents import stored_documents
from store.projects import project_by_name
from tests.loop.desk import Desk, make_desk
from tests.server.linked import region
from tests.server.real_label_studio import RealLabelStudio

README = Path(__file__).parents[2] / "README.md"
SECRET = "Marguerite cannot open Excel"
TEXTS = {f"it-{n:04}": f"Excel hangs for the {n}th time" for n in range(40)} | {"it-0044": SECRET}
HELD_OUT = ("it-0001", "it-0002")


@pytest.fixture
def desk(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    label_studio: RealLabelStudio,
) -> Desk:
    desk = make_desk(tmp_path / "desk", capsys, monkeypatch)
    monkeypatch.setenv("LABEL_STUDIO_URL", label_studio.url)
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", label_studio.first.token)
    desk.configure(holdout__share=0.0)
    for split in ("holdout", "pool"):
        records = [
            {"id": name, "text": text} for name, text in TEXTS.items() if (name in HELD_OUT) == (split == "holdout")
        ]
        assert desk.loop("import", str(desk.write(f"{split}.jsonl", *records)), "--split", split).code == 0
    return desk


def held(desk: Desk) -> dict[str, tuple[Any, ...]]:
    """What the store knows of each text, by id: task, split, and what each annotator said."""
    settings = Settings.load(desk.home, {})
    store = open_store(settings.store_url)
    with store.read() as session:
        documents = stored_documents(session, project_by_name(session, settings.project_name).id)
        said: dict[int, list[Any]] = {document.document_id: [] for document in documents}
        for row in session.query(AnnotationVersion):
            if row.document_id in said:
                said[row.document_id].append((row.creator, row.skipped, row.source_updated_at, row.spans))
    store.close()
    return {item.external_id: (item.ls_task_id, item.split, said[item.document_id]) for item in documents}


def test_a_project_made_anew_holds_neither_the_text_nor_its_annotations_and_keeps_all_else(
    desk: Desk, client: LabelStudioClient, second_client: LabelStudioClient, tmp_path: Path
) -> None:
    ls_project = desk.loop("connect", "--push", "--no-backend", "--json").json["project"]["ls_project_id"]
    tasks = {name: task for name, (task, _, _) in held(desk).items()}
    for name, annotator in (("it-0044", client), ("it-0001", client), ("it-0005", second_client)):
        start = TEXTS[name].index("Excel")
        annotator.submit_annotation(tasks[name], {"result": [region(start, start + 5, "SOFTWARE")]})
    client.submit_annotation(tasks["it-0006"], {"result": [], "was_cancelled": True})
    assert desk.loop("pull", "--json").json["versions"] == 4
    before = held(desk)

    selected = {"selectedItems": {"all": False, "included": [tasks["it-0044"]]}}
    client.http.post("/api/dm/actions", selected, {"id": "delete_tasks", "project": ls_project})
    assert desk.loop("pull", "--json").json["deleted"] == 1
    files = {split: tmp_path / f"{split}.jsonl" for split in ("holdout", "train", "pool")}
    for split, path in files.items():
        assert desk.loop("export-data", str(path), "--split", split).code == 0
    rules = re.search(r"sed -i (-e .*) \$split\.jsonl", README.read_text("utf-8"))
    assert rules is not None
    subprocess.run(f"sed -i {rules[1]} {' '.join(map(str, files.values()))}", shell=True, check=True)

    anew = Desk(tmp_path / "desk-2", desk.capsys, desk.monkeypatch)
    assert run(["init", str(anew.home), "--config", str(desk.home / "labels.xml")]) == 0
    shutil.copy(desk.home / "loop.toml", anew.home)
    anew.configure(project__name="desk-2", holdout__share=0.0)
    desk.capsys.readouterr()
    for split, path in files.items():
        if path.stat().st_size:
            assert anew.loop("import", str(path), "--split", split).code == 0
    assert anew.loop("connect", "--ls-project", str(ls_project), "--no-backend").code == 0
    assert anew.loop("pull", "--json").json["versions"] == 3

    assert held(anew) == {name: known for name, known in before.items() if name != "it-0044"}
    left = [path for path in anew.home.rglob("*") if path.is_file() and b"Marguerite" in path.read_bytes()]
    assert left == []
    gold: dict[str, dict[str, Any]] = {}
    for split in files:
        assert anew.loop("export-data", str(files[split]), "--split", split).code == 0
        gold[split] = {line["id"]: line["spans"] for line in map(json.loads, files[split].open()) if "spans" in line}
    excel = [{"start": 0, "end": 5, "label": "SOFTWARE"}]
    assert gold == {"holdout": {"it-0001": excel}, "train": {}, "pool": {"it-0005": excel}}
