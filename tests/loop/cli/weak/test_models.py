"""Sources that are models, declared in weak.toml and asked by `loop weak apply`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fakes import tiny_bundle
from tests.loop.desk import Desk, make_desk
from tests.weak_labeling.sources.prompted.chat_server import chat_server, entities

PROMPT = """
[[source]]
name = "llm"
kind = "prompt"
url = "{url}"
model = "tiny"
api_key = "LLM_KEY"
max_texts = {most}
retries = 0
concurrency = 1

[definitions]
OS = "an operating system"
"""
BUNDLE = """
[[source]]
name = "old"
kind = "bundle"
folder = "old"
labels = {APP = "SOFTWARE"}
"""


@pytest.fixture
def desk(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Desk:
    made = make_desk(tmp_path / "desk", capsys, monkeypatch)
    monkeypatch.setenv("LLM_KEY", "sk-secret-77")
    return made


def apply(desk: Desk) -> dict[str, dict[str, object]]:
    said = desk.loop("weak", "apply", "--json")
    assert "sk-secret-77" not in said.out + said.err
    return {one["name"]: one for one in said.json["sources"]}


def test_a_limit_ends_a_run_and_a_later_run_goes_on_and_pays_no_answer_twice(desk: Desk):
    texts = [{"id": f"t{n}", "text": f"Excel {n} on Windows"} for n in range(5)]
    desk.loop("import", str(desk.write("in.jsonl", *texts)), "--split", "train")
    tiny_bundle(desk.home / "old", ("APP",), {"excel": "APP"})
    with chat_server() as server:
        server.behave = lambda handler: handler.say_content(entities(("Windows", "OS"), ("Linux", "OS")))
        weak = desk.home / "weak.toml"
        weak.write_text(PROMPT.format(url=server.url, most=3) + BUNDLE)
        first = apply(desk)
        assert (first["old"]["documents"], first["old"]["votes"]) == (5, 5)
        assert (first["llm"]["documents"], first["llm"]["votes"]) == (3, 3)
        assert "limit of 3 texts" in str(first["llm"]["set_aside"])
        assert "Dropped from answers: 3 x a quote that is not in the text." in first["llm"]["told"]  # type: ignore[operator]
        weak.write_text(PROMPT.format(url=server.url, most=9) + BUNDLE)
        second = apply(desk)
        assert (second["llm"]["documents"], second["llm"]["votes"], second["old"]["documents"]) == (2, 2, 0)
        assert server.texts() == [record["text"] for record in texts]
        assert server.authorizations == ["Bearer sk-secret-77"] * 5
        assert "- OS: an operating system" in server.requests[0]["messages"][0]["content"]


def test_try_tells_what_became_of_an_answer_that_leaves_no_vote(desk: Desk):
    with chat_server() as server:
        (desk.home / "weak.toml").write_text(PROMPT.format(url=server.url, most=3))
        server.behave = lambda handler: handler.say_content(entities(("...", "...")))
        said = desk.loop("weak", "try", "Excel on Windows")
        assert "llm: 1 answer, 100 tokens in and 10 out." in said.out
        assert "llm: Dropped from answers: 1 x a label that was not asked for." in said.out
        told = desk.loop("weak", "try", "Excel on Windows", "--json").json["told"]
        assert told[0] == "llm: 1 answer was kept from before, and not asked for again."
        assert len(server.requests) == 1


def test_a_server_that_is_away_is_named_and_asked_again_about_the_same_texts(desk: Desk):
    desk.loop("import", str(desk.write("in.jsonl", {"id": "t", "text": "Excel on Windows"})), "--split", "train")
    with chat_server() as server:
        (desk.home / "weak.toml").write_text(PROMPT.format(url=server.url, most=3))
        server.behave = lambda handler: handler.say({"error": "the model is loading"}, 503)
        away = apply(desk)["llm"]
        assert (away["documents"], "the model is loading" in str(away["set_aside"])) == (0, True)
        server.behave = lambda handler: handler.say_content(entities(("Windows", "OS")))
        assert (back := apply(desk)["llm"])["votes"] == 1
        assert back["set_aside"] == ""


def test_a_model_without_its_key_is_told_and_the_others_are_asked(desk: Desk, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.delenv("LLM_KEY")
    desk.loop("import", str(desk.write("in.jsonl", {"id": "t", "text": "Excel hangs"})), "--split", "train")
    tiny_bundle(desk.home / "old", ("APP",), {"excel": "APP"})
    (desk.home / "weak.toml").write_text(PROMPT.format(url="http://127.0.0.1:9/v1", most=3) + BUNDLE)
    said = desk.loop("weak", "apply", "--json").json
    assert [one["name"] for one in said["sources"]] == ["old"]
    assert "weak.toml, line 7: api_key names a variable" in said["problems"][0]
