"""The keys of a prompted model in weak.toml: what they may be, and that no secret is ever shown."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from weak_labeling.loading import load_sources
from weak_labeling.sources.entry import SourceTools
from weak_labeling.sources.prompted.source import PromptSource

HEAD = '[[source]]\nname = "llm"\nkind = "prompt"\nmodel = "m"\n'
URL = 'url = "http://127.0.0.1:11434/v1/"\n'


def load(home: Path, keys: str, **environ: str) -> PromptSource | str:
    """The source, or the message of its problem."""
    path = home / "weak.toml"
    path.write_text(HEAD + keys)
    tools = SourceTools(environ=environ)
    loaded = load_sources(home, functions=None, weak_file=path, labels=("OS", "APP"), tools=tools)
    if loaded.problems:
        return str(loaded.problems[0])
    (source,) = loaded.sources
    assert isinstance(source, PromptSource)
    return source


def test_what_is_not_said_has_its_default(tmp_path: Path):
    source = load(tmp_path, URL + 'labels = ["OS"]\n')
    assert isinstance(source, PromptSource)
    assert source.chat.url == "http://127.0.0.1:11434/v1"
    assert source.chat.body == {"temperature": 0, "max_tokens": 2048}
    assert [form and form["type"] for form in source.chat.formats] == ["json_schema", "json_object", None]
    assert source.definitions == {"OS": ""}


def test_the_schema_that_is_sent_knows_the_labels_that_are_asked_for(tmp_path: Path):
    source = load(tmp_path, URL + 'labels = ["OS"]\n')
    assert isinstance(source, PromptSource)
    schema = source.chat.formats[0]["json_schema"]["schema"]  # type: ignore[index]
    assert schema["properties"]["entities"]["items"]["properties"]["label"]["enum"] == ["OS"]


def test_a_list_in_the_body_is_sent(tmp_path: Path):
    source = load(tmp_path, URL + 'body = { stop = ["##"] }\n')
    assert isinstance(source, PromptSource)
    assert json.dumps(source.chat.body) == '{"stop": ["##"]}'


WRONG = {
    "no URL": ('url = "localhost"\n', "line 5: the address of a model is an http or https URL"),
    "a password in the URL": ('url = "http://me:hidden@host/v1"\n', "holds neither a user nor parameters: got host"),
    "a key in the URL": ('url = "http://host/v1?key=hidden"\n', "holds neither a user nor parameters"),
    "the key itself": (URL + 'api_key = "sk-hidden-1"\n', "line 6: api_key is the name of a variable"),
    "an empty variable": (URL + 'api_key = "NOT_SET"\n', "NOT_SET, which is not set"),
    "a key that no header holds": (URL + 'api_key = "ODD"\n', "ODD, which holds another character"),
    "a limit without prices": (URL + "max_cost = 1.0\n", "line 6: a cost is reckoned from the prices"),
    "one price": (URL + "price_in = 1.0\n", "got no price_out"),
    "messages in the body": (URL + "body = { messages = [] }\n", "`body` holds settings of the model alone"),
    "a date in the body": (URL + "body = { seen = 2026-01-01 }\n", "line 6: `body` can be sent as JSON"),
    "an unknown label": (URL + 'labels = ["PORT"]\n', "line 6: a source votes for a label of the label config"),
    "an unknown key": (URL + "modle = 1\n", "Did you mean `model`?"),
}


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_key_is_named_by_line_and_no_secret_is_shown(tmp_path: Path, what: str):
    keys, said = WRONG[what]
    told = load(tmp_path, keys, ODD="hidden\u2013x")
    assert isinstance(told, str)
    assert said in told
    assert "hidden" not in told


def test_a_key_may_stand_in_a_file(tmp_path: Path):
    (tmp_path / "key").write_text("sk-hidden-1\n")
    source = load(tmp_path, URL + 'api_key = "LLM_KEY"\n', LLM_KEY_FILE=str(tmp_path / "key"))
    assert isinstance(source, PromptSource)
    assert source.chat.api_key == "sk-hidden-1"
