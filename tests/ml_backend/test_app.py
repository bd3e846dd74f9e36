"""The routes answer as Label Studio needs, and refuse by rules."""

from __future__ import annotations

import base64
import json
import logging
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ml_backend.backend import Backend
from ml_backend.models.live_model import LiveModel
from ner.tagger import Tagger
from store.database.schema import HOLDOUT
from store.database.session import Store
from store.documents import stored_documents
from store.runs import pending_hints
from tests.ml_backend.given import CONFIG, OTHER_CONFIG, Home, make_home, make_project, request_body, task, until
from tests.store.given import move

OpenApp = Callable[..., TestClient]
TEXTS = {number: f"windows {number}" for number in range(1, 21)}
JSON = {"Content-Type": "application/json"}
USER, WORD = "user", "pass:word"
DOOR = {"Authorization": "Basic " + base64.b64encode(f"{USER}:{WORD}".encode()).decode()}


def backend_of(client: TestClient) -> Backend:
    backend: Backend = client.app.backend  # type: ignore[attr-defined]
    return backend


def regions(prediction: dict[str, Any]) -> list[tuple[int, int, str]]:
    values = [region["value"] for region in prediction["result"]]
    return [(value["start"], value["end"], value["labels"][0]) for value in values]


def test_there_is_one_result_for_each_task_in_order_empty_ones_too(client: TestClient) -> None:
    answer = client.post("/predict", json=request_body("on windows", "nothing here", "", "excel"))
    assert answer.status_code == 200
    assert [regions(one) for one in answer.json()["results"]] == [[(3, 10, "OS")], [], [], [(0, 5, "SOFTWARE")]]


def test_a_prediction_has_a_confidence_for_score_and_names_its_version(client: TestClient) -> None:
    (one,) = client.post("/predict", json=request_body("on windows")).json()["results"]
    assert 0 < one["score"] < 1
    assert one["model_version"] == "it-support-0001"


def test_a_region_has_its_own_id_its_own_score_and_the_names_of_the_request_s_config(client: TestClient) -> None:
    config = CONFIG.replace("spans", "marks").replace("message", "shown").replace("$body", "$words")
    body = request_body(config=config) | {"tasks": [task("windows excel windows", field="words")]}
    (one,) = client.post("/predict", json=body).json()["results"]
    assert len({region["id"] for region in one["result"]}) == 3
    assert all(0 < region["score"] <= 1 for region in one["result"])
    assert {(region["from_name"], region["to_name"]) for region in one["result"]} == {("marks", "shown")}


def test_without_a_config_in_the_request_the_store_s_own_is_used(client: TestClient) -> None:
    (one,) = client.post("/predict", json=request_body("windows", config=None)).json()["results"]
    assert one["result"][0]["from_name"] == "spans"


def test_offsets_count_code_points(client: TestClient) -> None:
    (one,) = client.post("/predict", json=request_body("😀 windows")).json()["results"]
    assert regions(one) == [(2, 9, "OS")]


def test_no_tasks_are_answered_by_no_results(client: TestClient) -> None:
    assert client.post("/predict", json=request_body()).json() == {"results": []}


def test_ten_thousand_tasks_in_one_request_are_answered(client: TestClient) -> None:
    answer = client.post("/predict", json=request_body(*["on windows"] * 10_000))
    assert len(answer.json()["results"]) == 10_000


def test_one_task_more_than_is_allowed_is_a_413(client: TestClient) -> None:
    answer = client.post("/predict", json=request_body(*["x"] * 10_001))
    assert answer.status_code == 413
    assert answer.json()["error"]["value"] == "10,001"


@pytest.mark.parametrize(
    ("texts", "value"), [(["x"] * 300, "texts: 300, characters: 300"), (["x " * 500], "texts: 1, characters: 1,000")]
)
def test_a_request_that_would_outlast_label_studio_s_patience_is_a_413(
    open_app: OpenApp, served: Home, texts: list[str], value: str
) -> None:
    answer = open_app(answer_seconds=0.0).post("/predict", json=request_body(*texts))
    assert answer.status_code == 413
    assert answer.json()["error"]["value"] == value


@pytest.fixture
def half_held(tmp_path: Path) -> Iterator[Home]:
    """A home with a model in service and 20 pulled tasks, about half of them held out."""
    (tmp_path / "half").mkdir()
    made = make_home(tmp_path / "half", share=0.5)
    made.promote(made.model())
    made.pulled(TEXTS)
    yield made
    made.store.close()


def held_tasks(home: Home) -> set[int | None]:
    with home.store.read() as session:
        return {doc.ls_task_id for doc in stored_documents(session, home.project_id, [HOLDOUT])}


def test_a_held_out_task_gets_an_empty_result_and_a_score_of_its_own(half_held: Home, open_app: OpenApp) -> None:
    results = open_app(half_held).post("/predict", json=request_body(*TEXTS.values())).json()["results"]
    held = held_tasks(half_held)
    empty = {number: one["score"] for number, one in zip(TEXTS, results, strict=True) if not one["result"]}
    assert 0 < len(held) < len(TEXTS)
    assert set(empty) == held
    assert len(set(empty.values())) == len(held)
    assert {one["model_version"] for one in results} == {"it-support-0001"}


def test_a_task_that_was_not_pulled_yet_is_held_out_if_it_will_be(half_held: Home, open_app: OpenApp) -> None:
    new = {number: f"windows {number}" for number in range(100, 130)}
    body = request_body() | {"tasks": [task(text, number) for number, text in new.items()]}
    results = open_app(half_held).post("/predict", json=body).json()["results"]
    half_held.pulled(new)
    empty = {number for number, one in zip(new, results, strict=True) if not one["result"]}
    assert empty
    assert empty == held_tasks(half_held) & set(new)


def shown_without_the_store(home: Home, client: TestClient, tasks: list[dict[str, Any]]) -> set[int]:
    """The ids of those tasks that get a real pre-label from a backend that cannot reach its store."""
    assert client.get("/health").json()["projects"]["it-support"]["model_version"]
    backend_of(client).live.store().close()
    with home.store_away():
        answer = client.post("/predict", json=request_body() | {"tasks": tasks})
    return {one["id"] for one, result in zip(tasks, answer.json()["results"], strict=True) if result["result"]}


def test_a_store_that_could_not_be_read_a_moment_ago_is_not_asked_about_a_task(
    half_held: Home, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A database server that is cut off would hold up every answer until its time limit."""
    client = open_app(half_held)
    live = backend_of(client).live
    live.store().close()
    with half_held.store_away():
        until(lambda: live.store_problem is not None)
        asked: list[str] = []
        away = live.store

        def note() -> Store:
            asked.append(threading.current_thread().name)
            return away()

        monkeypatch.setattr(live, "store", note)
        answer = client.post("/predict", json=request_body() | {"tasks": [task("windows 1000", 1000)]})
    assert answer.status_code == 200
    assert not [name for name in asked if name.startswith("predict")]


def test_after_a_rotation_and_without_the_store_unseen_tasks_are_held_out_as_the_next_pull_places_them(
    half_held: Home, open_app: OpenApp
) -> None:
    """Each holdout is drawn with a salt of its own."""
    assert half_held.rotate_holdout() == 2
    new = {number: f"windows {number}" for number in range(100, 160)}
    tasks = [task(text, number) for number, text in new.items()]
    shown = shown_without_the_store(half_held, open_app(half_held, poll_seconds=3600.0), tasks)
    half_held.pulled(new)
    held = held_tasks(half_held) & set(new)
    assert held
    assert shown == set(new) - held


def test_without_the_store_an_unseen_task_of_a_held_out_group_is_held_out(half_held: Home, open_app: OpenApp) -> None:
    groups = {number: f"thread {number}" for number in range(100, 140)}
    half_held.pulled({number: f"first windows {number}" for number in groups}, groups)
    with half_held.store.transaction() as tx:
        ids = [
            one.document_id for one in stored_documents(tx.session, half_held.project_id) if one.ls_task_id in groups
        ]
        move(tx, ids, HOLDOUT)
        tx.commit()
    tasks = [{**task("windows", 100 + number), "meta": {"doc": group}} for number, group in groups.items()]
    assert shown_without_the_store(half_held, open_app(half_held, poll_seconds=3600.0), tasks) == set()


def test_a_task_without_an_id_is_never_held_out(half_held: Home, open_app: OpenApp) -> None:
    body = request_body() | {"tasks": [task(text, None) for text in TEXTS.values()]}
    assert all(one["result"] for one in open_app(half_held).post("/predict", json=body).json()["results"])


def test_a_task_that_moves_into_the_holdout_is_soon_answered_empty(half_held: Home, open_app: OpenApp) -> None:
    client = open_app(half_held)
    free = next(number for number in TEXTS if number not in held_tasks(half_held))
    body = request_body() | {"tasks": [task(TEXTS[free], free)]}
    assert client.post("/predict", json=body).json()["results"][0]["result"]
    with half_held.store.transaction() as tx:
        ids = [d.document_id for d in stored_documents(tx.session, half_held.project_id) if d.ls_task_id == free]
        move(tx, ids, HOLDOUT)
        tx.commit()
    until(lambda: not client.post("/predict", json=body).json()["results"][0]["result"])


def test_a_project_without_a_model_is_refused_with_what_to_do(home: Home, open_app: OpenApp) -> None:
    answer = open_app().post("/predict", json=request_body("windows"))
    assert answer.status_code == 409
    assert "loop promote" in answer.json()["error"]["next_step"]


def test_a_project_that_is_not_linked_is_refused_by_its_id(client: TestClient) -> None:
    answer = client.post("/predict", json=request_body("windows", project="8.1"))
    assert answer.status_code == 404
    assert answer.json()["error"]["value"] == "8"


def test_an_id_that_two_servers_use_is_refused_and_both_are_named(served: Home, open_app: OpenApp) -> None:
    make_project(served, "Elsewhere", served.ls_project_id, ls_url="http://elsewhere.test")
    answer = open_app().post("/predict", json=request_body("windows"))
    assert answer.status_code == 404
    assert "Elsewhere on http://elsewhere.test" in answer.json()["error"]["value"]


def test_each_project_is_answered_by_its_own_model(served: Home, open_app: OpenApp) -> None:
    other = make_project(served, "Other", 8)
    served.promote(served.model({"windows": "SOFTWARE"}, project_id=other), other)
    client = open_app()
    (one,) = client.post("/predict", json=request_body("windows")).json()["results"]
    (two,) = client.post("/predict", json=request_body("windows", project="8.1")).json()["results"]
    assert (regions(one), one["model_version"]) == ([(0, 7, "OS")], "it-support-0001")
    assert (regions(two), two["model_version"]) == ([(0, 7, "SOFTWARE")], "other-0001")


def test_a_config_with_other_labels_than_the_model_s_is_refused_and_both_are_named(client: TestClient) -> None:
    answer = client.post("/predict", json=request_body("windows", config=OTHER_CONFIG))
    assert answer.status_code == 409
    assert answer.json()["error"]["value"] == "model ['OS', 'SOFTWARE'], config ['ERROR', 'SOFTWARE']"


def test_a_config_with_its_labels_in_another_order_is_served(client: TestClient) -> None:
    moved = CONFIG.replace('"OS"', '"_"').replace('"SOFTWARE"', '"OS"').replace('"_"', '"SOFTWARE"')
    (one,) = client.post("/predict", json=request_body("windows", config=moved)).json()["results"]
    assert regions(one) == [(0, 7, "OS")]


@pytest.mark.parametrize(
    ("body", "kind", "status", "rule"),
    [
        (b"{", "application/json", 400, "JSON"),
        (b"[]", "application/json", 400, "JSON object"),
        (b"{}", "text/plain", 415, "application/json"),
        (b"{}", None, 415, "application/json"),
        (b"", "application/json", 400, "JSON"),
        (b"{}", "application/json", 400, "project"),
        (json.dumps(request_body("a\0b")).encode(), "application/json", 400, "U+0000"),
        (json.dumps(request_body("a\ud800")).encode(), "application/json", 400, "lone surrogate"),
        (json.dumps(request_body("x" * 10_000_000)).encode(), "application/json", 413, "at most 1,000,000 characters"),
        (json.dumps(request_body(None)).encode(), "application/json", 400, "is a string"),
        (json.dumps(request_body("x", config="<View/>")).encode(), "application/json", 400, "<Labels>"),
    ],
)
def test_bad_input_is_a_4xx_that_names_its_rule(
    client: TestClient, body: bytes, kind: str | None, status: int, rule: str
) -> None:
    answer = client.post("/predict", content=body, headers={"Content-Type": kind} if kind else {})
    assert answer.status_code == status
    assert rule in answer.json()["error"]["rule"]


@pytest.mark.parametrize("path", ["/predict", "/setup", "/webhook"])
@pytest.mark.parametrize("place", ["project", "tasks", "params", "label_config", "action", "task", "data", "id"])
def test_a_value_of_any_depth_is_refused_by_a_rule(client: TestClient, path: str, place: str) -> None:
    value: dict[str, Any] = {"task": "@"} | {name: {**task("x"), name: "@"} for name in ("data", "id")}
    body = request_body() | {"action": "X"} | ({"tasks": [value[place]]} if place in value else {place: "@"})
    written = json.dumps(body).encode()
    for depth in range(600, 1000, 7):
        for opened, closed in ((b"[", b"]"), (b'{"a":', b"}")):
            deep = opened * depth + b"1" + closed * depth
            answer = client.post(path, content=written.replace(b'"@"', deep), headers=JSON)
            assert answer.status_code < 500
            assert len(answer.content) < 2000


def test_a_value_of_any_size_is_shown_in_short(client: TestClient) -> None:
    for value in ([{}] * 300_000, {"a": [{}] * 300_000}, "x" * 300_000, [["x" * 300_000]], {"x" * 300_000: 1}):
        answer = client.post("/predict", json=request_body() | {"project": value})
        assert answer.status_code == 400
        assert len(answer.content) < 2000


def test_a_body_over_the_limit_is_a_413_in_json(open_app: OpenApp, served: Home) -> None:
    answer = open_app(max_body_bytes=2000).post("/predict", json=request_body("x" * 3000))
    assert answer.status_code == 413
    assert "2,000 bytes" in answer.json()["error"]["rule"]


def test_unknown_routes_and_methods_are_answered_in_json(client: TestClient) -> None:
    assert client.get("/nowhere").status_code == 404
    assert client.get("/predict").status_code == 405
    assert client.get("/nowhere").json()["error"]["value"] == "/nowhere"


def test_what_nobody_foresaw_is_answered_in_json_without_its_text(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fall(*_: object) -> None:
        raise ZeroDivisionError("secret")

    client.get("/health")
    monkeypatch.setattr(Tagger, "tag", fall)
    answer = client.post("/predict", json=request_body("windows"))
    assert answer.status_code == 500
    assert answer.json()["error"]["value"] == "ZeroDivisionError"
    assert b"secret" not in answer.content


def test_set_up_names_the_version_in_service(client: TestClient) -> None:
    body = {
        "project": "7.1795219575",
        "schema": CONFIG,
        "hostname": "http://x",
        "access_token": "t",
        "extra_params": None,
    }
    assert client.post("/setup", json=body).json()["model_version"] == "it-support-0001"


def test_set_up_succeeds_with_a_note_where_there_is_no_model_or_no_project(home: Home, open_app: OpenApp) -> None:
    client = open_app()
    for project in ("7.1", "8.1"):
        answer = client.post("/setup", json={"project": project})
        assert answer.status_code == 200
        assert answer.json()["model_version"] is None
        assert answer.json()["note"]


def test_versions_are_those_in_service(served: Home, open_app: OpenApp) -> None:
    make_project(served, "No model", 8)
    client = open_app()
    assert client.get("/versions").json() == {"versions": ["it-support-0001"]}
    assert client.get("/versions?project=8.1").json() == {"versions": []}
    assert client.get("/versions?project=9.1").status_code == 404


def test_health_is_answered_for_each_project_from_memory(
    served: Home, open_app: OpenApp, monkeypatch: pytest.MonkeyPatch
) -> None:
    client = open_app(poll_seconds=3600.0)
    client.get("/health")
    monkeypatch.setattr(LiveModel, "follow", None)
    served.store.close()
    assert client.get("/health").json()["projects"] == {
        "it-support": {
            "label_studio_project": 7,
            "model_version": "it-support-0001",
            "promoted_version": "it-support-0001",
            "problem": None,
            "engine": "local",
            "engine_problem": None,
        }
    }


def test_only_the_health_checks_are_open(served: Home, open_app: OpenApp) -> None:
    client = open_app(user=USER, password=WORD)
    routes = [("POST", "/setup"), ("POST", "/predict"), ("POST", "/webhook"), ("GET", "/versions"), ("GET", "/metrics")]
    assert {client.get(path).status_code for path in ("/", "/health")} == {200}
    assert {client.request(method, path).status_code for method, path in routes} == {401}
    refused = client.get("/nowhere")
    assert refused.status_code == 401
    assert refused.headers["WWW-Authenticate"].startswith("Basic")
    assert client.get("/versions", headers=DOOR).status_code == 200


def test_a_webhook_becomes_a_hint_in_the_store(client: TestClient, served: Home) -> None:
    event = {"action": "ANNOTATION_CREATED", "annotation": {"id": 1}, "project": {"id": 7, "title": "x"}, "task": {}}
    assert client.post("/webhook", json=event).status_code == 200
    until(lambda: hints(served) == ["ANNOTATION_CREATED"])


def test_the_training_button_becomes_a_hint_too(client: TestClient, served: Home) -> None:
    assert client.post("/webhook", json={"action": "START_TRAINING", "project": {"id": 7}}).status_code == 200
    until(lambda: hints(served) == ["START_TRAINING"])


@pytest.mark.parametrize("event", [{}, {"action": "X"}, {"action": 5, "project": 7}, {"action": "a\nb", "project": 7}])
def test_a_webhook_without_an_action_and_a_project_is_refused(client: TestClient, event: dict[str, Any]) -> None:
    assert client.post("/webhook", json=event).status_code == 400


def hints(home: Home) -> list[str]:
    with home.store.read() as session:
        return [hint.action for hint in pending_hints(session, home.ls_project_id)]


def test_metrics_count_answers_tasks_and_the_version_in_service(client: TestClient) -> None:
    client.post("/predict", json=request_body("windows", "excel"))
    client.get("/nowhere")
    text = client.get("/metrics").text
    assert 'ner_backend_requests_total{endpoint="/predict",status="200"} 1.0' in text
    assert 'ner_backend_requests_total{endpoint="unmatched",status="404"} 1.0' in text
    assert 'ner_backend_tasks_total{project="it-support"} 2.0' in text
    assert 'ner_backend_model_serving{project="it-support",version="it-support-0001"} 1.0' in text
    assert 'ner_backend_request_seconds_count{endpoint="/predict"} 1.0' in text


def test_a_request_is_one_line_of_the_log_with_no_body_and_no_secret(
    served: Home, open_app: OpenApp, caplog: pytest.LogCaptureFixture
) -> None:
    client = open_app(user=USER, password=WORD)
    with caplog.at_level(logging.DEBUG):
        client.post("/predict?key=SECRET", json=request_body("windows SECRET"), headers=DOOR)
        client.post("/setup", json={"project": "7.1", "access_token": "SECRET"}, headers=DOOR)
        client.post("/predict", json=request_body({"de": "SECRET"}), headers=DOOR)
        client.get("/SECRET", headers=DOOR)
    records = [record for record in caplog.records if record.name.startswith("ml_backend")]
    lines = [record.getMessage() for record in records if record.name == "ml_backend.access"]
    assert [line.split(" ms")[0].rsplit(" ", 1)[0] for line in lines] == [
        "POST /predict 200",
        "POST /setup 200",
        "POST /predict 400",
        "GET (no such route) 404",
    ]
    assert lines[0].endswith(" ms project=7 tasks=1")
    logged = " ".join(record.getMessage() for record in records)
    assert not any(secret in logged for secret in ("SECRET", WORD, DOOR["Authorization"]))
