"""The tagger inside another server: by a store, or by a bundle alone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ml_backend import embedded
from ml_backend.embedded import StoreTagger, find_bundle, send_hint, start
from ml_backend.payload import NoModelError, UnknownProjectError
from ner.errors import BundleUnavailableError, ConfigError, InputError
from store.database.session import open_store
from store.runs import pending_hints
from tests.fakes import tiny_bundle
from tests.ml_backend.given import CONFIG, LABELS, OTHER_CONFIG, WORDS, Home, make_home, make_project, task, until

TEXT = "open excel"


@pytest.fixture
def following(served: Home) -> Iterator[StoreTagger]:
    tagger = start({"LOOP_STORE_URL": served.store_url, "MODEL_DIR": str(served.model_dir), "POLL_SECONDS": "0.05"})
    assert isinstance(tagger, StoreTagger)
    yield tagger
    tagger.close()


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two bundles."""
    for version in ("it-support-0001", "it-support-0002"):
        tiny_bundle(tmp_path / "models" / version, LABELS, WORDS, version=version)
    return tmp_path / "models"


def words_of(prediction: dict) -> list[str]:
    return [region["value"]["text"] for region in prediction["result"]]


def test_the_store_says_which_model_answers_and_with_which_config(following: StoreTagger, served: Home):
    [answer] = following.predict([task(TEXT)], 7, None)
    assert words_of(answer) == ["excel"]
    assert answer["result"][0]["from_name"] == "spans"
    assert answer["model_version"] == following.version(7) == "it-support-0001"
    second = served.promote(served.model())
    until(lambda: following.version(7) == second)


def test_the_only_linked_project_needs_no_name(following: StoreTagger, served: Home):
    assert words_of(following.predict([task(TEXT)], None, None)[0]) == ["excel"]
    make_project(served, "Other", 8)
    until(lambda: following.version(None) is None)
    with pytest.raises(UnknownProjectError, match="2 linked projects"):
        following.predict([task(TEXT)], None, None)


def test_a_shared_folder_that_is_not_there_is_refused_at_start(served: Home):
    environ = {"LOOP_STORE_URL": served.store_url, "MODEL_STORE": f"file://{served.folder / 'away'}"}
    with pytest.raises(ConfigError, match="mount it"):
        start({**environ, "MODEL_DIR": str(served.model_dir)})


def test_a_held_out_task_gets_an_empty_answer(tmp_path: Path):
    home = make_home(tmp_path, share=0.5)
    home.promote(home.model())
    home.pulled({number: f"open excel {number}" for number in range(1, 21)})
    tagger = start({"LOOP_STORE_URL": home.store_url, "MODEL_DIR": str(home.model_dir)})
    try:
        answers = tagger.predict([task(f"open excel {number}", number) for number in range(1, 21)], 7, None)
    finally:
        assert isinstance(tagger, StoreTagger)
        tagger.close()
        home.store.close()
    assert {tuple(words_of(answer)) for answer in answers} == {(), ("excel",)}


def test_a_bundle_alone_answers_every_task(folder: Path):
    tagger = start({"BUNDLE_DIR": str(folder), "MODEL_VERSION": "it-support-0002"})
    answers = tagger.predict([task(TEXT), task("on windows", 2)], None, CONFIG)
    assert [words_of(answer) for answer in answers] == [["excel"], ["windows"]]
    assert {answer["model_version"] for answer in answers} == {tagger.version(None)} == {"it-support-0002"}
    assert tagger.hint(7, "ANNOTATION_CREATED") is False


def test_a_bundle_alone_needs_a_label_config_with_its_labels(folder: Path):
    tagger = start({"MODEL_DIR": str(folder / "it-support-0001")})
    with pytest.raises(InputError, match="set LABEL_CONFIG"):
        tagger.predict([task(TEXT)], None, None)
    with pytest.raises(NoModelError, match=r"model \['OS', 'SOFTWARE'\], config \['ERROR', 'SOFTWARE'\]"):
        tagger.predict([task(TEXT)], None, OTHER_CONFIG)


def test_the_label_config_may_come_from_a_file(folder: Path, tmp_path: Path):
    file = tmp_path / "labels.xml"
    environ = {"BUNDLE_DIR": str(folder / "it-support-0001"), "LABEL_CONFIG": str(file)}
    with pytest.raises(ConfigError, match="LABEL_CONFIG is a file that can be read"):
        start(environ)
    file.write_text(CONFIG, "utf-8")
    assert words_of(start(environ).predict([task(TEXT)], None, None)[0]) == ["excel"]


def test_a_bundle_is_named_or_the_only_one(folder: Path):
    assert find_bundle(folder, "it-support-0002") == folder / "it-support-0002"
    for version in ("", "it-support-0001"):
        assert find_bundle(folder / "it-support-0001", version) == folder / "it-support-0001"
    with pytest.raises(ConfigError, match=r"it-support-0001, it-support-0002; MODEL_VERSION is not set"):
        find_bundle(folder, "")
    with pytest.raises(ConfigError, match="MODEL_VERSION it-support-0003"):
        find_bundle(folder, "it-support-0003")
    with pytest.raises(ConfigError, match="no bundles"):
        find_bundle(folder / "nowhere", "")


def test_a_broken_bundle_is_refused_at_the_start(folder: Path):
    (folder / "it-support-0001" / "model.onnx").unlink()
    with pytest.raises(BundleUnavailableError):
        start({"BUNDLE_DIR": str(folder), "MODEL_VERSION": "it-support-0001"})


def test_a_process_without_a_model_writes_its_hint_to_the_store(home: Home):
    assert not embedded._started
    assert send_hint(7, "ANNOTATION_CREATED", {"LOOP_STORE_URL": home.store_url}) is True
    assert send_hint(7, "ANNOTATION_CREATED", {}) is False
    with open_store(home.store_url).read() as session:
        assert [hint.action for hint in pending_hints(session, 7)] == ["ANNOTATION_CREATED"]


def test_the_address_of_the_store_may_stand_in_a_file(home: Home, tmp_path: Path):
    file = tmp_path / "store_url"
    file.write_text(home.store_url, "utf-8")
    environ = {"LOOP_STORE_URL_FILE": str(file), "MODEL_DIR": str(home.model_dir)}
    assert send_hint(7, "ANNOTATION_CREATED", environ) is True
    tagger = start(environ)
    assert isinstance(tagger, StoreTagger)
    tagger.close()
