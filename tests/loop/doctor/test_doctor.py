"""The doctor names each trap, says how to mend it, and finds nothing where nothing is wrong."""

from __future__ import annotations

import socket
import threading
from pathlib import Path
from typing import Any

import pytest

from loop.doctor.checks import Check
from loop.doctor.diagnosis import diagnose
from loop.doctor.local import check_disk, check_encoder, check_key_file
from loop.doctor.server import (
    check_address,
    check_backend,
    check_backend_rows,
    check_key,
    check_legacy_tokens,
    check_project,
)
from loop.label_studio.client import LabelStudioClient
from loop.settings.settings import Settings
from loop.sync.connect import BackendAccount
from store.database.schema import Project
from store.database.session import open_store
from store.projects import link, project_by_name
from store.runs import tracked
from tests.fakes import Answer, FakeInferenceServer, ScriptedServer
from tests.loop.desk import Desk, make_desk

ACCOUNT = BackendAccount("http://127.0.0.1:9090")
HOOK = {"url": ACCOUNT.webhook_url, "is_active": True, "send_for_all_actions": True, "actions": []}
ROW = {"url": ACCOUNT.url, "state": "CO", "title": "ner-annotation-loop"}


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    return make_desk(tmp_path / "desk", capsys, monkeypatch)


def settings_of(desk: Desk, **environ: str) -> Settings:
    return Settings.load(desk.home, environ)


def found(checks: Any) -> dict[str, Check]:
    return {check.name: check for check in checks}


def project_of(desk: Desk, ls_url: str | None = None) -> Project:
    store = open_store(settings_of(desk).store_url)
    with store.transaction() as tx:
        project = project_by_name(tx.session, "desk")
        if ls_url is not None:
            link(tx, project.id, ls_url, 1)
        tx.commit()
    store.close()
    return project


def client_of(*answers: Answer) -> tuple[ScriptedServer, LabelStudioClient]:
    server = ScriptedServer(*answers)
    return server, LabelStudioClient(server.url, "k" * 40)


# This machine


def test_a_fresh_project_is_healthy_but_for_the_model_that_it_does_not_have_yet(desk: Desk):
    said = desk.loop("doctor", "--json")
    checks = {check["name"]: check for check in said.json["checks"]}
    assert said.code == 0
    assert checks["model in service"]["state"] == "warn"
    assert "loop retrain" in checks["model in service"]["mend"]
    assert {checks[name]["state"] for name in ("store", "project", "label config")} == {"ok"}
    assert checks["Label Studio"]["state"] == "skip"


def test_before_a_model_serves_the_next_step_follows_from_how_far_a_first_model_is(desk: Desk):
    version = desk.candidate()
    settings = settings_of(desk)
    check = found(diagnose(settings))["model in service"]
    assert version in check.finding
    assert check.mend == "Judge it: `loop promote`."
    store = open_store(settings.store_url)
    with tracked(store, project_of(desk).id, "retrain"):
        check = found(diagnose(settings))["model in service"]
    store.close()
    assert "in training" in check.finding
    assert "Wait for the training." in check.mend


def test_a_model_in_service_is_verified_and_a_broken_one_fails_with_exit_code_10(desk: Desk):
    version = desk.promoted_model()
    assert found(diagnose(settings_of(desk)))["model in service"].state == "ok"
    (desk.home / "models" / "desk" / version / "model.onnx").write_bytes(b"cut short")
    said = desk.loop("doctor")
    assert said.code == 10
    assert "SHA-256" in said.out
    lines = said.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert all(line[:4].strip() in ("ok", "warn", "FAIL", "skip", "") for line in lines[:-1])


def test_the_model_on_an_inference_server_is_compared_with_the_model_in_service(desk: Desk):
    def found_there(server: FakeInferenceServer) -> Check:
        return found(diagnose(settings_of(desk, ENGINE=server.url)))["inference server"]

    version = desk.promoted_model()
    assert "inference server" not in found(diagnose(settings_of(desk)))
    with FakeInferenceServer({"desk": desk.home / "models" / "desk" / version}) as server:
        assert found_there(server).state == "ok"
        assert version in found_there(server).finding
        server.width = 2
        assert found_there(server).state == "fail"
        assert "2 outputs where" in found_there(server).finding
        server.models = {}
        assert "unknown model" in found_there(server).finding
        url = server.url
    assert found(diagnose(settings_of(desk, ENGINE=url)))["inference server"].state == "fail"


def test_a_shared_folder_is_checked_and_models_that_are_only_here_are_named(desk: Desk, tmp_path: Path):
    def found() -> Any:
        return {check["name"]: check for check in desk.loop("doctor", "--json").json["checks"]}["shared models"]

    assert found()["state"] == "skip"
    desk.configure(models__remote=f"file://{tmp_path / 'shared'}")
    version = desk.candidate()
    assert (found()["state"], "mount it" in found()["mend"]) == ("fail", True)
    (tmp_path / "shared").mkdir()
    assert (found()["state"], f"only here: {version}" in found()["finding"]) == ("warn", True)


def test_a_store_that_cannot_be_opened_is_a_finding_and_not_a_crash(desk: Desk):
    (desk.home / "loop.db").write_bytes(b"nonsense" * 1000)
    checks = found(diagnose(settings_of(desk)))
    assert checks["store"].state == "fail"
    assert "project" not in checks
    assert checks["encoder"].state == "ok"  # which needs no store


def test_a_project_that_the_store_lacks_is_a_finding(desk: Desk):
    desk.configure(project__name="other")
    check = found(diagnose(settings_of(desk)))["project"]
    assert (check.state, "desk" in check.mend) == ("fail", True)


def test_controls_that_are_not_learned_from_are_named(desk: Desk):
    config = (desk.home / "labels.xml").read_text("utf-8")
    choices = '<Choices name="mood" toName="text"><Choice value="x"/></Choices></View>'
    (desk.home / "labels.xml").write_text(config.replace("</View>", choices), "utf-8")
    check = found(diagnose(settings_of(desk)))["label config"]
    assert (check.state, "mood" in check.finding) == ("warn", True)


GOLD = {"id": "one", "text": "my Excel on Windows", "spans": [{"start": 3, "end": 8, "label": "SOFTWARE"}]}


def narrowed(desk: Desk) -> None:
    """The label config loses SOFTWARE."""
    config = (desk.home / "labels.xml").read_text("utf-8")
    kept = "".join(line for line in config.splitlines(keepends=True) if "SOFTWARE" not in line)
    assert kept != config
    (desk.home / "labels.xml").write_text(kept, "utf-8")


def test_texts_in_doubt_are_a_warning_with_the_line_that_mends_them(desk: Desk):
    desk.loop("import", str(desk.write("gold.jsonl", GOLD)), "--split", "train")
    assert found(diagnose(settings_of(desk)))["texts in doubt"].state == "ok"
    narrowed(desk)
    check = found(diagnose(settings_of(desk)))["texts in doubt"]
    assert (check.state, 'label "SOFTWARE" (1)' in check.finding) == ("warn", True)
    assert check.mend.startswith('[label_map] "SOFTWARE" = ')
    (desk.home / "loop.toml").open("a").write('\n[label_map]\nSOFTWARE = "OS"\n')
    assert found(diagnose(settings_of(desk)))["texts in doubt"].state == "ok"


def test_a_map_to_a_label_that_the_project_lacks_fails(desk: Desk):
    assert found(diagnose(settings_of(desk)))["label map"].state == "ok"
    (desk.home / "loop.toml").open("a").write('\n[label_map]\nThing = "O"\nApp = "SOFTWERE"\n')
    check = found(diagnose(settings_of(desk)))["label map"]
    assert (check.state, check.finding) == ("fail", 'the project has no such label: "App" = "SOFTWERE"')
    assert "SOFTWARE, OS" in check.mend


def test_the_packaged_encoder_is_found_and_an_unknown_name_is_a_warning(desk: Desk):
    assert check_encoder(settings_of(desk)).state == "ok"
    desk.configure(train__encoder="nobody/no-such-encoder")
    assert check_encoder(settings_of(desk)).state == "warn"


def test_a_key_file_that_is_missing_or_open_to_others_is_named(desk: Desk):
    assert check_key_file(settings_of(desk)).state == "skip"
    desk.configure(label_studio__api_key_file="key")
    assert check_key_file(settings_of(desk)).state == "fail"
    assert check_key_file(settings_of(desk, LABEL_STUDIO_API_KEY="k")).state == "ok"
    key = desk.home / "key"
    key.write_text("k")
    key.chmod(0o644)
    assert check_key_file(settings_of(desk)).mend == f"chmod 600 {key}"
    key.chmod(0o600)
    assert check_key_file(settings_of(desk)).state == "ok"


def test_little_disk_space_warns_and_none_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    states = []
    for free in (100, 1000, 100_000):
        usage = type("Usage", (), {"free": free * 1024 * 1024})
        monkeypatch.setattr("shutil.disk_usage", lambda _, usage=usage: usage)
        states.append(check_disk(tmp_path / "not" / "there").state)
    assert states == ["fail", "warn", "ok"]


# The server's address and the key


@pytest.mark.parametrize(
    ("answer", "state", "finding"),
    [
        (Answer(body={"release": "1.23.2"}), "ok", "release 1.23.2"),
        (Answer(body={"release": "1.9.0"}), "warn", "release 1.9.0"),
        (Answer(body=b"<html>"), "fail", "not as Label Studio"),
        (Answer(body=[]), "fail", "not as Label Studio"),
        (Answer(404, {}), "fail", "answers 404"),
        (Answer(302, {}, {"Location": "https://x/"}), "fail", "redirects to https://x/"),
    ],
)
def test_what_answers_at_the_address_is_told_from_label_studio(answer: Answer, state: str, finding: str):
    with ScriptedServer(answer) as server:
        check = check_address(server.url)
    assert check.state == state
    assert finding in check.finding


def test_an_address_where_nothing_answers_fails():
    check = check_address("http://127.0.0.1:1")
    assert check.state == "fail"
    assert "ConnectionError" in check.finding


def test_a_key_that_is_refused_is_named_by_its_kind():
    server, client = client_of(Answer(401, {"detail": "Authentication token no longer valid"}))
    with server:
        check = check_key(client, "k" * 40)
    assert check.state == "fail"
    assert "a legacy key that the server refuses" in check.finding
    assert "legacy tokens enabled" in check.mend


@pytest.mark.parametrize(("enabled", "state"), [(True, "ok"), (False, "warn")])
def test_legacy_tokens_that_are_turned_off_are_a_warning_for_a_legacy_key(enabled: bool, state: str):
    server, client = client_of(Answer(body={"email": "a@b.c"}), Answer(body={"legacy_api_tokens_enabled": enabled}))
    with server:
        assert check_key(client, "k" * 40).finding == "legacy, of a@b.c"
        assert check_legacy_tokens(client, "k" * 40).state == state


# The project there


def checked_project(desk: Desk, **differing: Any) -> dict[str, Check]:
    """The checks of a project there that is as `publish` leaves it, but for `differing`."""
    version = desk.promoted_model()
    there: dict[str, Any] = {
        "id": 1,
        "title": "desk",
        "task_number": 5,
        "label_config": (desk.home / "labels.xml").read_text("utf-8"),
        "model_version": version,
        "sampling": "Uncertainty sampling",
        "show_collab_predictions": True,
    }
    rows = Answer(body=[ROW])
    server, client = client_of(Answer(body=there | differing), Answer(body={version: 5, "old-0001": 2}), rows)
    with server:
        return found(check_project(client, project_of(desk, server.url)))


def test_a_project_as_publish_leaves_it_is_healthy(desk: Desk):
    assert {check.state for check in checked_project(desk).values()} == {"ok"}


@pytest.mark.parametrize(
    ("differing", "name", "state", "finding"),
    [
        ({"model_version": None}, "model_version", "warn", "unset"),
        ({"model_version": ""}, "model_version", "warn", "unset"),
        ({"model_version": "ner-annotation-loop"}, "model_version", "fail", "names the live backend"),
        ({"model_version": "gone-0009"}, "model_version", "fail", "stands on no prediction"),
        ({"model_version": "old-0001"}, "model_version", "warn", "is in service"),
        ({"sampling": "Sequential sampling"}, "sampling", "warn", "Sequential sampling"),
        ({"show_collab_predictions": False}, "show_collab_predictions", "warn", "no pre-labels"),
        ({"label_config": "<View/>"}, "label config there", "fail", "refused"),
    ],
)
def test_each_setting_that_breaks_queue_or_pre_labels_is_found(
    desk: Desk, differing: dict[str, Any], name: str, state: str, finding: str
):
    checks = checked_project(desk, **differing)
    assert (checks[name].state, finding in checks[name].finding) == (state, True)
    assert checks[name].mend
    assert [check.name for check in checks.values() if check.state != "ok"] == [name]


def test_other_labels_there_are_a_warning(desk: Desk):
    config = (desk.home / "labels.xml").read_text("utf-8").replace('"OS"', '"ERROR"')
    check = checked_project(desk, label_config=config)["label config there"]
    assert (check.state, "ERROR" in check.finding) == ("warn", True)


def test_a_project_that_is_nowhere_or_elsewhere_is_told_so(desk: Desk):
    client = LabelStudioClient("http://127.0.0.1:1", "k")
    assert found(check_project(client, project_of(desk)))["link"].state == "warn"
    assert found(check_project(client, project_of(desk, "http://other")))["link"].state == "fail"


# The backend there


def checked_rows(desk: Desk, rows: list[Any], hooks: list[Any], *probes: Answer) -> dict[str, Check]:
    refused = Answer(400, {"detail": "as it must be"})
    answers = (Answer(body=rows), Answer(body=hooks), Answer(body=hooks), *(probes or (refused, refused)))
    server, client = client_of(*answers)
    with server:
        return found(check_backend_rows(client, project_of(desk, server.url), ACCOUNT))


def test_one_connected_row_with_one_webhook_is_healthy(desk: Desk):
    assert {check.state for check in checked_rows(desk, [ROW], [HOOK]).values()} == {"ok"}


@pytest.mark.parametrize(
    ("rows", "hooks", "name", "state", "finding"),
    [
        ([], [HOOK], "backend row", "warn", "not connected"),
        ([{**ROW, "url": "http://old:1"}], [HOOK], "backend row", "warn", "http://old:1"),
        ([ROW], [], "backend row", "fail", "half-made"),
        ([ROW, ROW], [HOOK], "backend row", "fail", "2 rows"),
        ([{**ROW, "state": "ER", "error_message": "boom"}], [HOOK], "backend row", "fail", "boom"),
        ([ROW], [HOOK, HOOK], "webhook", "warn", "2 to"),
        ([ROW], [{**HOOK, "is_active": False}], "webhook", "warn", "inactive"),
        ([ROW], [{**HOOK, "send_for_all_actions": False}], "webhook", "warn", "no actions"),
    ],
)
def test_rows_and_webhooks_that_are_missing_doubled_or_dead_are_found(
    desk: Desk, rows: list[Any], hooks: list[Any], name: str, state: str, finding: str
):
    check = checked_rows(desk, rows, hooks)[name]
    assert (check.state, finding in check.finding) == (state, True)
    assert "loop connect" in check.mend


@pytest.mark.parametrize("probes", [(Answer(403, {"detail": "no"}),), (Answer(400, {}), Answer(403, {"detail": "no"}))])
def test_an_address_that_the_server_may_not_call_is_found_without_changing_anything(desk: Desk, probes: Any):
    check = checked_rows(desk, [ROW], [HOOK], *probes)["backend address"]
    assert check.state == "fail"
    assert "LABEL_STUDIO_SSRF_PROTECTION_ENABLED=false" in check.mend


OURS = {"status": "UP", "store": "UP", "projects": {"desk": {}}}


@pytest.mark.parametrize(
    ("answer", "state", "finding"),
    [
        (Answer(body=OURS), "ok", "answers: UP"),
        (Answer(body={**OURS, "projects": {"other": {}}}), "warn", "does not serve desk (it serves other)"),
        (Answer(body={**OURS, "projects": {}}), "warn", "it serves none"),
        (Answer(body={**OURS, "store": "a store can be opened"}), "fail", "a store can be opened"),
        (Answer(body={"status": "UP", "model_class": "NewModel"}), "fail", "an ML backend, but not ours"),
        (Answer(body=b"<html>"), "fail", "taken by another program (200 for /health)"),
        (Answer(404, OURS), "fail", "taken by another program (404 for /health)"),
    ],
)
def test_what_answers_on_the_backends_port_is_told_from_our_backend(
    desk: Desk, answer: Answer, state: str, finding: str
):
    desk.promoted_model()
    project_of(desk, "http://127.0.0.1:8080")
    with ScriptedServer(answer) as server:
        check = check_backend(settings_of(desk), BackendAccount(server.url), project_of(desk))
    assert (check.state, finding in check.finding) == (state, True), check
    assert ("PORT (now 9090)" in check.mend) == (state != "ok" and "store" not in finding)


def test_a_program_that_speaks_no_http_on_the_backends_port_has_taken_it(desk: Desk):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        answering = threading.Thread(target=hang_up, args=(listener,))
        answering.start()
        check = check_backend(settings_of(desk), BackendAccount(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        answering.join()
    assert (check.state, "taken by another program" in check.finding) == ("fail", True)


def hang_up(listener: socket.socket) -> None:
    """Accept the probe and the request, and answer neither in HTTP."""
    for _ in range(2):
        caller, _ = listener.accept()
        caller.sendall(b"220 mail\r\n")
        caller.close()


def test_a_free_port_is_well_offline_and_a_warning_where_label_studio_would_call_it(desk: Desk):
    nowhere = BackendAccount("http://127.0.0.1:1")
    assert check_backend(settings_of(desk), nowhere).state == "ok"
    there = settings_of(desk, LABEL_STUDIO_URL="http://127.0.0.1:8080")
    assert check_backend(there, nowhere).state == "warn"


# What nobody expected


def test_a_check_that_crashes_is_a_finding_and_the_others_go_on(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    def crash(*_: object) -> Check:
        raise ZeroDivisionError("by nought")

    for name in ("check_label_config", "check_disk", "check_backend"):
        monkeypatch.setattr(f"loop.doctor.diagnosis.{name}", crash)
    checks = found(diagnose(settings_of(desk)))
    for name in ("label config", "disk space for models", "backend"):
        assert checks[name].state == "fail"
        assert "ZeroDivisionError: by nought" in checks[name].finding
    assert checks["encoder"].state == "ok"
    assert checks["Label Studio"].state == "skip"


@pytest.mark.parametrize(
    "encoder", ["./no/such/folder", "/no/such/folder", "~/no/such/folder", "no/such/folder", "a b"]
)
def test_a_mistyped_encoder_folder_is_a_finding(desk: Desk, encoder: str):
    desk.configure(train__encoder=encoder)
    check = found(diagnose(settings_of(desk)))["encoder"]
    assert (check.state, "no folder" in check.finding) == ("fail", True)
    assert "train.encoder" in check.mend


def test_an_encoder_folder_without_a_config_is_a_finding(desk: Desk):
    (desk.home / "mine").mkdir()
    desk.configure(train__encoder="mine")
    assert check_encoder(settings_of(desk)).state == "fail"
    (desk.home / "mine" / "config.json").write_text("{}")
    assert check_encoder(settings_of(desk)).state == "ok"


def test_a_server_that_fails_in_the_middle_is_a_finding(desk: Desk):
    desk.promoted_model()
    failing = Answer(500, {"detail": "boom"})
    with ScriptedServer(Answer(body={"release": "1.23.2"}), *[failing] * 8) as server:
        project_of(desk, server.url)
        environ = {"LABEL_STUDIO_URL": server.url, "LABEL_STUDIO_API_KEY": "k" * 40}
        checks = found(diagnose(settings_of(desk, **environ)))
    assert checks["API key"].state == "fail"
    assert "500" in checks["API key"].finding
