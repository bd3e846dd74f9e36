"""Whatever JSON arrives, the answer is JSON and its status is below 500, and the next request is answered as ever."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.testclient import TestClient

from ml_backend.app import create_app
from ml_backend.arrival import Arrival
from tests.ml_backend.given import CONFIG, OTHER_CONFIG, make_home, request_body, task

JSON = {"Content-Type": "application/json"}
TEXTS = st.one_of(st.text(st.characters(), max_size=60), st.sampled_from(["windows", "", "\0", "\ud800", "😀 excel"]))
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


def mostly(strategy: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    """What belongs there, or anything."""
    return st.one_of(strategy, strategy, strategy, ANYTHING)


TASKS = st.lists(
    mostly(
        st.fixed_dictionaries(
            {"data": mostly(st.dictionaries(st.sampled_from(["body", "text", "doc"]), mostly(TEXTS)))},
            optional={"id": mostly(st.integers(-5, 2**64)), "meta": ANYTHING, "predictions": ANYTHING},
        )
    ),
    max_size=4,
)
BODIES = st.fixed_dictionaries(
    {},
    optional={
        "project": mostly(st.sampled_from(["7.1795219575", "7", 7, "8.1"])),
        "tasks": mostly(TASKS),
        "label_config": mostly(st.sampled_from([CONFIG, OTHER_CONFIG, "", "<View/>", None])),
        "params": mostly(st.fixed_dictionaries({"context": ANYTHING})),
        "action": mostly(st.sampled_from(["ANNOTATION_CREATED", "START_TRAINING"])),
    },
)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    """One app for all examples: they change nothing that matters here."""
    home = make_home(Path(tmp_path_factory.mktemp("fuzz")), share=0.3)
    home.promote(home.model())
    home.pulled({number: f"windows {number}" for number in range(5)})
    with TestClient(Arrival(create_app(home.settings)), raise_server_exceptions=False) as client:
        yield client
    home.store.close()


def check(client: TestClient, path: str, body: bytes) -> None:
    answer = client.post(path, content=body, headers=JSON)
    content = json.loads(answer.content)
    assert answer.status_code < 500
    if answer.status_code >= 400:
        assert content["error"]["rule"]
    good = client.post("/predict", json=request_body() | {"tasks": [task("on windows", None)]})
    assert [region["value"]["labels"] for region in good.json()["results"][0]["result"]] == [["OS"]]


@settings(max_examples=300, deadline=None)
@given(body=BODIES | ANYTHING)
def test_any_json_to_predict_is_answered(fuzzed: TestClient, body: Any) -> None:
    check(fuzzed, "/predict", json.dumps(body).encode())


@settings(max_examples=100, deadline=None)
@given(path=st.sampled_from(["/setup", "/webhook"]), body=BODIES | ANYTHING)
def test_any_json_to_set_up_and_webhook_is_answered(fuzzed: TestClient, path: str, body: Any) -> None:
    check(fuzzed, path, json.dumps(body).encode())


@settings(max_examples=100, deadline=None)
@given(path=st.sampled_from(["/predict", "/setup", "/webhook"]), body=st.binary(max_size=200))
def test_any_bytes_are_answered(fuzzed: TestClient, path: str, body: bytes) -> None:
    check(fuzzed, path, body)


@settings(max_examples=100, deadline=None)
@given(tasks=TASKS)
def test_an_accepted_request_has_a_result_for_each_task(fuzzed: TestClient, tasks: list[Any]) -> None:
    body = {"project": "7.1", "tasks": tasks, "label_config": CONFIG}
    answer = fuzzed.post("/predict", content=json.dumps(body), headers=JSON)
    if answer.status_code == 200:
        assert len(answer.json()["results"]) == len(tasks)
