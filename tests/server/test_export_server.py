"""What is exported for Label Studio is imported by Label Studio whole: as annotations, and as predictions."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from loop.files.writing.label_studio import write_label_studio
from loop.files.writing.texts import StoredText
from loop.label_studio.client import LabelStudioClient, TaskQuery
from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import read_result, task_text
from ner.spans import Span

CONFIG = (
    '<View><Labels name="who" toName="body"><Label value="PER"/></Labels>'
    '<Labels name="where" toName="body"><Label value="LOC"/></Labels>'
    '<Text name="body" value="$data.body"/></View>'
)
TEXTS = [
    StoredText("a", "👩‍👩‍👧 Anna  lives\r\nin Graz", (Span(6, 10, "PER"), Span(22, 26, "LOC")), "train"),
    StoredText("none", "nothing here", (), "train", group="g", meta={"lang": "en"}),
    StoredText("open", "not yet labelled", None, "pool"),
]


@pytest.mark.parametrize("kind", ["annotations", "predictions"])
def test_the_server_takes_every_task_and_gives_back_the_gold(client: LabelStudioClient, kind: str):
    config = LabelConfig.parse(CONFIG)
    project = int(client.create_project(f"exported {kind}", CONFIG)["id"])
    assert client.import_tasks(project, json.loads("".join(write_label_studio(TEXTS, config, kind)))) == 3
    tasks = client.tasks_page(project, TaskQuery(since=datetime(2000, 1, 1, tzinfo=UTC)), 10).tasks
    predictions = client.predictions(project, [task["id"] for task in tasks])
    found = {}
    for task in tasks:
        said = task["annotations"] if kind == "annotations" else predictions.get(task["id"], [])
        text = task_text(task, config)
        found[task["meta"]["id"]] = (text, [read_result(one["result"], text, config).spans for one in said])
    assert found == {one.external_id: (one.text, [] if one.spans is None else [one.spans]) for one in TEXTS}
