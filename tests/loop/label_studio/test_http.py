"""How the client behaves when the server is down, slow, wrong or strict."""

from __future__ import annotations

import base64
import json
import logging
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from loop.label_studio.client import LabelStudioClient
from loop.label_studio.http import LabelStudioError, LabelStudioHttp, Patience
from ner.errors import ConfigError
from tests.fakes import Answer, ScriptedServer
from tests.server.real_label_studio import free_port

LEGACY = "0123456789abcdef0123456789abcdef01234567"
PERSONAL = ".".join(base64.urlsafe_b64encode(part).decode().strip("=") for part in (b"header", b"payload", b"mark"))
QUICK = Patience(connect=1, read=0.3, retries=3, first_pause=1.0)


@pytest.fixture(autouse=True)
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The pauses between repetitions, remembered instead of slept."""
    slept: list[float] = []
    monkeypatch.setattr("urllib3.util.retry.time", SimpleNamespace(sleep=slept.append, time=time.time))
    return slept


def asking(url: str, key: str = LEGACY) -> LabelStudioHttp:
    return LabelStudioHttp(url, key, patience=QUICK)


@pytest.mark.parametrize("status", [429, 502, 503, 504])
@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE"])
def test_what_changes_nothing_twice_is_repeated_with_growing_pauses_while_the_server_is_busy(
    status: int, method: str, pauses: list[float]
) -> None:
    with ScriptedServer(*[Answer(status)] * 3, Answer(200, {"a": 1})) as server:
        assert asking(server.url).request(method, "/x") == {"a": 1}
    assert pauses == [1.0, 2.0]


@pytest.mark.parametrize(("asked", "kept"), [("7", 7), ("86400", 30)])
def test_the_pause_that_the_server_asks_for_is_kept_up_to_a_limit(asked: str, kept: int, pauses: list[float]) -> None:
    with ScriptedServer(Answer(429, headers={"Retry-After": asked}), Answer(200, {})) as server:
        asking(server.url).get("/x")
    assert pauses == [kept]


def test_a_post_that_a_busy_server_turned_away_is_repeated() -> None:
    with ScriptedServer(Answer(429), Answer(201, {"id": 1})) as server:
        assert asking(server.url).post("/x", {"a": 1}) == {"id": 1}
        assert [json.loads(seen.body) for seen in server.seen] == [{"a": 1}] * 2


def test_a_server_that_stays_busy_is_given_up_with_its_status() -> None:
    with ScriptedServer(*[Answer(503, {"detail": "restarting"})] * 4) as server:
        with pytest.raises(LabelStudioError, match="restarting") as refused:
            asking(server.url).get("/x")
        assert len(server.seen) == 4
    assert refused.value.status == 503
    assert refused.value.exit_code == 5


@pytest.mark.parametrize("status", [500, 502, 503, 504])
def test_a_post_that_may_have_been_acted_upon_is_not_repeated(status: int) -> None:
    with ScriptedServer(Answer(status, {"detail": "broken"})) as server:
        with pytest.raises(LabelStudioError):
            asking(server.url).post("/x", {})
        assert len(server.seen) == 1


def test_a_slow_read_is_repeated_and_a_slow_post_is_not() -> None:
    with ScriptedServer(Answer(delay=0.6), Answer(200, {"late": False})) as server:
        assert asking(server.url).get("/x") == {"late": False}
    with ScriptedServer(Answer(delay=0.6)) as server, pytest.raises(LabelStudioError, match="in time"):
        asking(server.url).post("/x", {})


def test_nobody_listening_is_an_error_that_names_the_url_and_the_next_step(pauses: list[float]) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    with pytest.raises(LabelStudioError, match="Start Label Studio") as refused:
        asking(url).post("/api/projects/", {})
    assert url in str(refused.value)
    assert refused.value.status is None
    assert "Connection refused" in str(refused.value)
    assert pauses == [1.0, 2.0]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(401, {"detail": "Invalid token."}), ["LABEL_STUDIO_API_KEY", "Invalid token.", "legacy"]),
        (Answer(403, {"detail": "no"}), ["allowed to this user"]),
        (Answer(404, {"detail": "No Project matches"}), ["exists", "loop doctor"]),
        (
            Answer(400, {"detail": "x", "validation_errors": {"title": ["too short"]}}),
            ["accepts what is sent", "short"],
        ),
        (Answer(500, b"<html>long page</html>"), ["works", "Internal Server Error", "log"]),
        (Answer(302, headers={"Location": "https://other.example/user/login"}), ["https://other.example/user/login"]),
        (Answer(200, b"<html>a proxy's page</html>"), ["answers JSON", "LABEL_STUDIO_URL"]),
    ],
)
def test_a_refusal_names_the_url_the_rule_and_the_next_step(answer: Answer, words: list[str]) -> None:
    with ScriptedServer(answer) as server, pytest.raises(LabelStudioError) as refused:
        asking(server.url).get("/api/tasks")
    for word in [f"{server.url}/api/tasks", *words]:
        assert word in str(refused.value)
    assert "<html>long page" not in str(refused.value)
    assert ".. " not in str(refused.value)


def test_a_legacy_key_goes_as_it_is() -> None:
    with ScriptedServer(Answer(200, {})) as server:
        asking(server.url).get("/x")
    assert server.seen[0].headers["Authorization"] == f"Token {LEGACY}"


def test_a_personal_key_buys_one_access_token_for_several_requests() -> None:
    with ScriptedServer(Answer(200, {"access": "bought"}), Answer(200, {}), Answer(200, {})) as server:
        http = asking(server.url, PERSONAL)
        http.get("/x")
        http.get("/y")
    assert [seen.path for seen in server.seen] == ["/api/token/refresh/", "/x", "/y"]
    assert json.loads(server.seen[0].body) == {"refresh": PERSONAL}
    assert {seen.headers["Authorization"] for seen in server.seen[1:]} == {"Bearer bought"}


def test_an_access_token_that_ended_early_is_replaced_once() -> None:
    script = [Answer(200, {"access": "old"}), Answer(401), Answer(200, {"access": "new"}), Answer(200, {"fine": True})]
    with ScriptedServer(*script) as server:
        assert asking(server.url, PERSONAL).get("/x") == {"fine": True}
    assert server.seen[-1].headers["Authorization"] == "Bearer new"


def test_the_purchase_of_an_access_token_is_repeated_even_for_a_post() -> None:
    with ScriptedServer(Answer(503), Answer(200, {"access": "bought"}), Answer(201, {"id": 1})) as server:
        assert asking(server.url, PERSONAL).post("/x", {}) == {"id": 1}
    assert [seen.path for seen in server.seen] == ["/api/token/refresh/"] * 2 + ["/x"]


def test_a_revoked_personal_key_is_refused_by_name() -> None:
    refusal = pytest.raises(LabelStudioError, match="personal token may be revoked")
    with ScriptedServer(Answer(401, {"detail": "Token is invalid"})) as server, refusal:
        asking(server.url, PERSONAL).get("/x")


@pytest.mark.parametrize("key", [LEGACY, PERSONAL])
def test_the_key_is_in_no_log_line_no_error_and_no_repr(key: str, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    with ScriptedServer(Answer(503), Answer(401, {"detail": "no"}), Answer(401, {"detail": "no"})) as server:
        http = asking(server.url, key)
        with pytest.raises(LabelStudioError) as refused:
            http.get("/x")
    said = caplog.text + str(refused.value) + repr(http) + repr(LabelStudioClient("http://x", key))
    assert key not in said


def test_an_empty_queue_is_none_and_a_missing_project_is_an_error() -> None:
    with ScriptedServer(Answer(404, {"detail": "There are no tasks for a@b.c"})) as server:
        assert LabelStudioClient(server.url, LEGACY).next_task(1) is None
    missing = Answer(404, {"detail": "No Project matches the given query."})
    with ScriptedServer(missing) as server, pytest.raises(LabelStudioError, match="No Project"):
        LabelStudioClient(server.url, LEGACY).next_task(1)


def test_an_entry_of_netrc_takes_no_ones_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login me password secret\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setattr("loop.label_studio.http._is_loopback", lambda _: False)
    with ScriptedServer(Answer(200, {})) as server:
        LabelStudioHttp(server.url, LEGACY).get("/api/projects")
        assert server.seen[0].headers["Authorization"] == f"Token {LEGACY}"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_proxy_of_the_environment_is_not_asked_for_this_machine(host: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{free_port()}")
    with ScriptedServer(Answer(200, {"id": 1})) as server:
        url = server.url.replace("127.0.0.1", host)
        assert LabelStudioHttp(url, LEGACY, patience=Patience(retries=0)).get("/here") == {"id": 1}
        assert server.seen[0].path == "/here"


@pytest.mark.parametrize("key", ["k\u2026", "k\u00e9y", "two\nlines", "nul\0"])
def test_a_key_that_no_header_holds_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ConfigError, match="printable ASCII") as refused:
        LabelStudioHttp("http://127.0.0.1:1", key)
    assert key not in str(refused.value)


@pytest.mark.parametrize(
    "answer", [[], None, "text", 5, {"id": "1", "tasks": [5], "total": 1}, {"id": 1, "tasks": [{}], "total": 1}]
)
def test_an_answer_of_another_shape_is_an_error_of_the_server(answer: Any) -> None:
    for call in (
        lambda client: client.project(1),
        lambda client: client.model_versions(1),
        lambda client: client.count_tasks(1, 0, 9),
        lambda client: client.projects("title"),
        lambda client: client.import_predictions(1, []),
        lambda client: client.import_tasks(1, []),
    ):
        with ScriptedServer(Answer(200, json.dumps(answer).encode())) as server:
            client = LabelStudioClient(server.url, LEGACY)
            with pytest.raises(LabelStudioError, match=r"release 1\.23") as refused:
                call(client)
            assert refused.value.exit_code == 5
