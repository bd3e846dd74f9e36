"""The logits come from an inference server while that is sound; whatever it does wrong, no request fails."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from ml_backend.models import remote_engine
from tests.fakes import Answer, FakeInferenceServer
from tests.ml_backend.given import Home, request_body, until

OpenApp = Callable[..., TestClient]
SLUG = "it-support"
TEXTS = ("excel on windows", "windows " * 40)


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """The server is asked again and compared again within moments."""
    monkeypatch.setattr(remote_engine, "_FIRST_PAUSE", 0.05)
    monkeypatch.setattr(remote_engine, "_LAST_PAUSE", 0.1)
    monkeypatch.setattr(remote_engine, "_CHECK_SECONDS", 0.1)
    monkeypatch.setattr(remote_engine, "_LOOK_SECONDS", 0.02)


@pytest.fixture
def server(served: Home) -> Iterator[FakeInferenceServer]:
    """An inference server with the model in service."""
    with FakeInferenceServer({SLUG: folder(served, "it-support-0001")}) as made:
        yield made


def folder(home: Home, version: str) -> Any:
    return home.model_dir / SLUG / version


def project(client: TestClient) -> dict[str, Any]:
    found: dict[str, Any] = client.get("/health").json()["projects"][SLUG]
    return found


def engine(client: TestClient) -> str:
    return str(project(client)["engine"])


def said(client: TestClient) -> Any:
    answer = client.post("/predict", json=request_body(*TEXTS))
    assert answer.status_code == 200
    return [[region["value"] for region in one["result"]] for one in answer.json()["results"]]


def number(client: TestClient, line: str) -> float:
    """The value of a metric; 0 where it has none."""
    found = [row for row in client.get("/metrics").text.splitlines() if row.startswith(f"{line} ")]
    return float(found[0].rpartition(" ")[2]) if found else 0.0


@pytest.mark.parametrize("binary", [True, False])
def test_the_server_gives_the_logits_and_the_answer_stays_the_same(
    server: FakeInferenceServer, open_app: OpenApp, binary: bool
) -> None:
    server.extensions = ["binary_tensor_data"] if binary else []
    alone, client = open_app(), open_app(engine=server.url)
    asked = server.inferences
    assert said(client) == said(alone)
    assert server.inferences > asked
    assert (engine(client), engine(alone)) == ("remote", "local")
    assert number(client, 'ner_backend_engine{engine="remote",project="it-support"}') == 1
    assert number(client, 'ner_backend_engine_windows_total{engine="remote",project="it-support"}') > 0
    assert number(client, 'ner_backend_engine_windows_total{engine="local",project="it-support"}') == 0


def cut(body: object) -> bytes:
    assert isinstance(body, bytes)
    return body[: len(body) // 2]


WRONG: dict[str, Callable[[Answer], Answer]] = {
    "fails": lambda _: Answer(500, {"error": "out of memory"}),
    "is busy": lambda _: Answer(503, {"error": "busy"}),
    "answers HTML": lambda _: Answer(200, b"<html>Welcome</html>"),
    "redirects": lambda _: Answer(302, b"", {"Location": "http://127.0.0.1:1/"}),
    "is too slow": lambda answer: replace(answer, delay=1.5),
    "drips": lambda answer: replace(answer, drip=0.05),
    "sends half a body": lambda answer: replace(answer, body=cut(answer.body)),
    "hangs up in the middle": lambda answer: replace(
        answer, body=cut(answer.body), headers={**answer.headers, "Content-Length": "100000"}
    ),
    "gives NaN": lambda answer: numbers(answer, b"\x00\x00\xc0\x7f"),
    "gives another type": lambda answer: changed(answer, b'"FP32"', b'"FP64"'),
    "gives another shape": lambda answer: changed(answer, b'"shape": [1, ', b'"shape": [2, '),
    "gives another output": lambda answer: changed(answer, b'"logits"', b'"scores"'),
    "says nothing": lambda answer: replace(answer, body=b"", headers={}),
    "lies about its header": lambda answer: replace(answer, headers={"Inference-Header-Content-Length": "x"}),
}


def changed(answer: Answer, old: bytes, new: bytes) -> Answer:
    assert isinstance(answer.body, bytes)
    assert old in answer.body
    assert len(old) == len(new)
    return replace(answer, body=answer.body.replace(old, new))


def numbers(answer: Answer, four: bytes) -> Answer:
    """Every number is this one."""
    assert isinstance(answer.body, bytes)
    end = int(answer.headers["Inference-Header-Content-Length"])
    return replace(answer, body=answer.body[:end] + four * ((len(answer.body) - end) // 4))


def test_a_server_that_does_wrong_is_replaced_by_the_bundle_and_taken_again_once_it_is_sound(
    server: FakeInferenceServer, open_app: OpenApp
) -> None:
    client = open_app(engine=server.url, engine_seconds=1.0)
    expected = said(client)
    for what, spoil in WRONG.items():
        until(lambda: engine(client) == "remote")
        assert project(client)["engine_problem"] is None
        before = fallbacks(client)  # on a busy machine a sound server may have been too slow, too
        server.spoil = spoil
        for _ in range(3):
            assert said(client) == expected, what
        assert engine(client) == "local", what
        assert project(client)["engine_problem"], what
        assert fallbacks(client) == before + 1, what
        server.spoil = lambda answer: answer
    assert number(client, 'ner_backend_engine_windows_total{engine="local",project="it-support"}') > 0


def fallbacks(client: TestClient) -> float:
    reasons = ("mismatch", "unavailable")
    name = 'ner_backend_engine_fallbacks_total{project="it-support",reason="%s"}'
    return sum(number(client, name % reason) for reason in reasons)


def test_a_backend_starts_without_the_server_and_takes_it_when_it_comes(
    server: FakeInferenceServer, open_app: OpenApp, caplog: pytest.LogCaptureFixture
) -> None:
    models, server.models = server.models, {}
    client = open_app(engine=server.url)
    assert said(client)
    assert engine(client) == "local"
    time.sleep(0.3)
    told = [record for record in caplog.records if "the local bundle answers" in record.message]
    assert len(told) == 1, "the same failure is logged once"
    server.models = models
    until(lambda: engine(client) == "remote")


def test_another_model_under_the_name_is_not_believed(
    served: Home, server: FakeInferenceServer, open_app: OpenApp, caplog: pytest.LogCaptureFixture
) -> None:
    other = served.model({"windows": "SOFTWARE", "excel": "OS"})
    with FakeInferenceServer({SLUG: folder(served, other)}) as wrong:
        client = open_app(engine=wrong.url)
        assert said(client) == said(open_app())
        assert engine(client) == "local"
    assert "nats from it-support-0001" in caplog.text


def test_a_model_that_the_server_loads_anew_is_compared_before_it_is_used(
    served: Home, server: FakeInferenceServer, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote_engine, "_CHECK_SECONDS", 3600.0)
    client = open_app(engine=server.url)
    expected = said(client)
    other = served.model({"windows": "SOFTWARE", "excel": "OS"})
    with FakeInferenceServer({SLUG: folder(served, other)}) as donor:
        server.models, server.version = donor.models, "2"
        assert said(client) == expected
        assert engine(client) == "local"


def test_a_model_that_changes_under_the_same_version_is_found(
    served: Home, server: FakeInferenceServer, open_app: OpenApp
) -> None:
    client = open_app(engine=server.url)
    assert engine(client) == "remote"
    other = served.model({"windows": "SOFTWARE", "excel": "OS"})
    with FakeInferenceServer({SLUG: folder(served, other)}) as donor:
        server.models = donor.models
        until(lambda: engine(client) == "local")
    assert "nats" in project(client)["engine_problem"]


def test_a_promotion_is_answered_by_the_bundle_until_the_server_has_the_new_model(
    served: Home, server: FakeInferenceServer, open_app: OpenApp
) -> None:
    server.models = {"it-support-0001": server.models[SLUG]}
    client = open_app(engine=server.url, engine_model="{version}")
    assert engine(client) == "remote"
    new = served.promote(served.model({"excel": "OS"}))
    until(lambda: project(client)["model_version"] == new)
    assert engine(client) == "local"
    assert said(client)[0] == [{"start": 0, "end": 5, "text": "excel", "labels": ["OS"]}]
    with FakeInferenceServer({new: folder(served, new)}) as donor:
        server.models = {**server.models, **donor.models}
        until(lambda: engine(client) == "remote")
        assert said(client)[0] == [{"start": 0, "end": 5, "text": "excel", "labels": ["OS"]}]


def test_a_server_that_answers_slowly_again_and_again_is_given_up(
    server: FakeInferenceServer, open_app: OpenApp
) -> None:
    client = open_app(engine=server.url, engine_seconds=0.4)
    expected = said(client)
    server.spoil = lambda answer: replace(answer, delay=0.15)
    for _ in range(4):
        assert said(client) == expected
    until(lambda: engine(client) == "local")
    assert "fast enough" in project(client)["engine_problem"]


def test_a_backend_refuses_to_start_on_a_model_of_two_classes(served: Home, server: FakeInferenceServer) -> None:
    server.width = 2
    environ = served.environ(ENGINE=server.url)
    done = subprocess.run([sys.executable, "-m", "ml_backend"], env=environ, capture_output=True, timeout=60)
    assert done.returncode == 3
    assert b"2 outputs where 5 labels are needed" in done.stderr
    assert b"engine_model" in done.stderr


def test_metadata_that_turns_wrong_while_the_backend_runs_leaves_the_bundle_in_service(
    server: FakeInferenceServer, open_app: OpenApp
) -> None:
    client = open_app(engine=server.url)
    expected = said(client)
    for name, wrong in (("width", 2), ("width", 7), ("input_type", "FP32"), ("output_type", "INT64")):
        until(lambda: engine(client) == "remote")
        right = getattr(server, name)
        setattr(server, name, wrong)
        until(lambda: engine(client) == "local")
        assert said(client) == expected
        setattr(server, name, right)


def test_nothing_of_the_server_is_kept_for_a_model_that_is_no_longer_in_service(
    served: Home, server: FakeInferenceServer, open_app: OpenApp
) -> None:
    client = open_app(engine=server.url)
    backend = client.app._app.extensions["ml_backend"]  # type: ignore[attr-defined]
    served.promote(served.model())
    until(lambda: project(client)["model_version"] == "it-support-0002")
    said(client)
    until(lambda: len(backend.engine._networks) == 1)


def test_a_server_that_is_away_for_days_is_asked_again_after_the_longest_pause(
    server: FakeInferenceServer, open_app: OpenApp
) -> None:
    server.models = {}
    client = open_app(engine=server.url)
    (network,) = client.app._app.extensions["ml_backend"].engine._networks  # type: ignore[attr-defined]
    network._failures = 5_000
    asked = len(server.seen)
    until(lambda: len(server.seen) > asked + 4)
    assert engine(client) == "local"
