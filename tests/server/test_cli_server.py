"""The command line against a real Label Studio: connect, label, pull, publish, and what the doctor finds there."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from loop.doctor.server import check_backend_rows
from loop.label_studio.client import LabelStudioClient
from loop.sync.connect import BackendAccount
from store.database.session import open_store
from store.predictions import is_of_votes
from store.projects import link, project_by_name
from tests.fakes import StubBackend
from tests.loop.desk import Desk, make_desk
from tests.loop.weak.test_applying import functions
from tests.server import real_label_studio
from tests.server.real_label_studio import RealLabelStudio

# Checks that answer otherwise than "ok" on this machine, or have nothing to check here.
NOT_ASKED = ("API key file", "disk space for models", "shared models")
TEXTS = ("Excel on Windows", "Outlook hangs", "nothing here", "Windows again", "Excel", "the printer")
GOLD = [
    {
        "id": f"t{number}",
        "text": text,
        "spans": [
            {"start": text.index(word), "end": text.index(word) + len(word), "label": label}
            for word, label in (("Excel", "SOFTWARE"), ("Outlook", "SOFTWARE"), ("Windows", "OS"))
            if word in text
        ],
    }
    for number, text in enumerate(TEXTS)
]


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
    desk.write("gold.jsonl", *GOLD)
    tasks = [{"id": record["id"], "text": record["text"]} for record in GOLD]
    assert desk.loop("import", str(desk.write("tasks.jsonl", *tasks))).code == 0
    return desk


@pytest.fixture
def backend(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Iterator[StubBackend]:
    monkeypatch.setenv("BASIC_AUTH_USER", "loop")
    monkeypatch.setenv("BASIC_AUTH_PASS", "secret")
    with StubBackend("loop", "secret") as backend:
        desk.configure(backend__url=backend.url)
        yield backend


def states(desk: Desk) -> dict[str, str]:
    said = desk.loop("doctor", "--json")
    return {check["name"]: check["state"] for check in said.json["checks"]}


def test_a_project_is_connected_labelled_pulled_and_published_by_commands_alone(desk: Desk, backend: StubBackend):
    connected = desk.loop("connect", "--push", "--json").json
    assert (connected["project"]["created"], connected["pushed"]) == (True, len(TEXTS))
    again = desk.loop("connect", "--push", "--json").json
    assert (again["project"]["created"], again["pushed"], again["backend"]["added"]) == (False, 0, False)
    assert states(desk)["model_version"] == "warn"

    rows = [("software", "Excel", "SOFTWARE"), ("systems", "Windows", "OS")]
    functions(desk.home / "functions.py", *rows)
    desk.configure(weak__functions="functions.py")
    voted = desk.loop("publish", "--json").json
    assert (is_of_votes(voted["version"]), voted["created"]) == (True, len(TEXTS))
    assert states(desk)["model_version"] == "ok"
    assert desk.loop("status", "--json").json["votes"] == voted["version"]

    version = desk.promoted_model()
    published = desk.loop("publish", "--json").json
    assert (published["version"], published["created"]) == (version, len(TEXTS))
    assert desk.loop("publish", "--json").json["created"] == 0
    assert {state for name, state in states(desk).items() if name not in NOT_ASKED} == {"ok"}

    done = desk.loop("simulate-annotator", str(desk.home / "gold.jsonl"), "--count", "4", "--json").json
    assert (done["submitted"], done["skipped"]) == (4, 0)
    pulled = desk.loop("pull", "--json").json
    assert pulled["versions"] == 4
    told = desk.loop("status", "--json").json
    assert told["counts"]["open"] == len(TEXTS) - 4
    assert told["last_pull"] is not None
    assert sum(label["spans"] + label["holdout_spans"] for label in told["labels"]) == done["spans"]


def test_a_key_that_is_wrong_exits_with_5_and_the_doctor_names_it(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setenv("LABEL_STUDIO_API_KEY", "f" * 40)
    assert desk.loop("connect", "--no-backend").code == 5
    assert states(desk)["API key"] == "fail"


def test_without_an_address_or_a_key_the_command_says_which_to_set(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LABEL_STUDIO_API_KEY")
    said = desk.loop("pull")
    assert (said.code, "LABEL_STUDIO_API_KEY" in said.err) == (3, True)
    monkeypatch.delenv("LABEL_STUDIO_URL")
    said = desk.loop("pull")
    assert (said.code, "LABEL_STUDIO_URL" in said.err) == (3, True)


def test_a_server_at_another_address_keeps_the_link_when_it_is_said_to_have_moved(
    desk: Desk, monkeypatch: pytest.MonkeyPatch, label_studio: RealLabelStudio
):
    first = desk.loop("connect", "--push", "--no-backend", "--json").json["project"]["ls_project_id"]
    monkeypatch.setenv("LABEL_STUDIO_URL", label_studio.url.replace("127.0.0.1", "localhost"))
    assert desk.loop("pull").code == 3
    moved = desk.loop("connect", "--push", "--no-backend", "--moved", "--json").json
    assert (moved["project"]["ls_project_id"], moved["pushed"]) == (first, 0)


def test_the_probe_of_the_backends_address_leaves_no_row_and_no_webhook(desk: Desk, backend: StubBackend):
    ls_project = desk.loop("connect", "--no-backend", "--json").json["project"]["ls_project_id"]
    assert states(desk)["backend address"] == "ok"
    client = LabelStudioClient(os.environ["LABEL_STUDIO_URL"], os.environ["LABEL_STUDIO_API_KEY"])
    assert (client.backends(ls_project), client.webhooks(ls_project)) == ([], [])


@pytest.mark.parametrize("blocked", ["LABEL_STUDIO_ML_BLOCK_LOCAL_IP", "LABEL_STUDIO_SSRF_PROTECTION_ENABLED"])
def test_a_server_that_blocks_local_addresses_is_found_out_by_the_probe(
    desk: Desk,
    label_studio_template: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    blocked: str,
):
    monkeypatch.setitem(real_label_studio._ENVIRONMENT, blocked, "true")
    shutil.copytree(label_studio_template, tmp_path / "blocking")
    server = RealLabelStudio(tmp_path / "blocking")
    server.start()
    try:
        client = LabelStudioClient(server.url, server.first.token)
        config = (desk.home / "labels.xml").read_text("utf-8")
        ls_project = int(client.create_project("blocking", config)["id"])
        store = open_store(f"sqlite:///{desk.home}/loop.db")
        with store.transaction() as tx:
            project = link(tx, project_by_name(tx.session, "desk").id, server.url, ls_project)
            tx.commit()
        store.close()
        found = {check.name: check for check in check_backend_rows(client, project, BackendAccount(server.url))}
        left = (client.backends(ls_project), client.webhooks(ls_project))
    finally:
        server.stop()
    assert found["backend address"].state == "fail", json.dumps(str(found["backend address"]))
    assert left == ([], [])
