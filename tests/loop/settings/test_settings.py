"""loop.toml and the environment over it: typed, checked, and every complaint names the key and the value."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest
from sqlalchemy import make_url

from loop.settings.settings import SECTIONS, Settings, find_home, sqlite_url, without_password
from loop.settings.template import toml_document
from loop.settings.training import TrainSettings
from ner.errors import ConfigError
from store.session import open_store

MINIMAL = '[project]\nname = "desk"\n'


def load(folder: Path, text: str, **environ: str) -> Settings:
    (folder / "loop.toml").write_text(text, "utf-8")
    return Settings.load(folder, environ)


def test_a_name_is_all_that_a_project_must_say(tmp_path: Path):
    settings = load(tmp_path, MINIMAL)
    assert settings.project_name == "desk"
    assert settings.store_url == f"sqlite:///{tmp_path}/loop.db"
    assert settings.model_dir == tmp_path / "models"
    assert settings.train == TrainSettings()
    assert settings.label_map is None
    assert settings.status_minimum == 50


def test_the_file_that_init_writes_says_the_defaults_also_where_its_comments_are_taken_in(tmp_path: Path):
    document = toml_document('the "desk"')
    said = "\n".join(line.removeprefix("# ") if " = " in line else line for line in document.splitlines()[3:])
    said = said.replace("Application =", "[label_map]\nApplication =").replace("# labels of", "")
    settings = load(tmp_path, said, LABEL_STUDIO_URL="http://x")
    plain = load(tmp_path, document, LABEL_STUDIO_URL="http://x")
    assert plain.project_name == 'the "desk"'
    assert settings.label_map == {"Application": "SOFTWARE"}
    for name in ("store_url", "model_dir", "train", "holdout_share", "service", "backend", "status_minimum"):
        assert getattr(settings, name) == getattr(plain, name)


def test_the_file_that_init_writes_names_every_key():
    section, named = "", set()
    for line in toml_document("desk").splitlines():
        header, key = re.match(r"(?:# )?\[(\w+)\]", line), re.match(r"(?:# )?(\w+) = ", line)
        section = header.group(1) if header else section
        named |= {f"{section}.{key.group(1)}"} if key else set()
    known = {f"{name}.{field.name}" for name, schema in SECTIONS.items() for field in fields(schema)}
    secret = {"label_studio.api_key", "backend.basic_auth_pass"}
    assert named - {"label_map.Application"} == known - secret


def test_a_project_is_found_from_a_folder_inside_it_and_by_loop_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "loop.toml").write_text(MINIMAL)
    inner = tmp_path / "a" / "b"
    inner.mkdir(parents=True)
    assert find_home(inner, {}) == tmp_path
    assert find_home(None, {"LOOP_HOME": str(inner)}) == tmp_path
    monkeypatch.chdir(inner)
    assert find_home(None, {}) == tmp_path


def test_a_folder_without_project_is_refused_with_what_to_do(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"loop init"):
        find_home(tmp_path, {})


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("[train]\nepoch = 3", r"train\.epoch\..*Did you mean train\.epochs\?"),
        ("[trian]\nepochs = 3", r"\[trian\].*\[train\]"),
        ("[train]\nzzz = 3", r"train\.zzz.*Known here: train\.encoder"),
        ('[train]\nepochs = "3"', r"train\.epochs is a whole number: got 3"),
        ("[train]\nepochs = true", r"train\.epochs is a whole number: got True"),
        ("[train]\nepochs = 1.5", r"train\.epochs is a whole number: got 1\.5"),
        ("[train]\nepochs = 0", r"train\.epochs is at least 1: got 0"),
        ("[train]\nencoder = 5", r"train\.encoder is a string: got 5"),
        ('[train]\nprecision = "int8"', r"train\.precision is one of auto, float32, bfloat16: got int8"),
        ("train = 5", r"\[train\] is a table: got 5"),
        ("[holdout]\nshare = 1", r"holdout\.share lies in 0\.\.1, 1 excluded: got 1"),
        ("[service]\nretrain_after = 0", r"service\.retrain_after"),
        ("[service]\npoll_seconds = 0", r"service\.poll_seconds"),
        ("[backend]\nport = 70000", r"backend\.port lies in 1\.\.65535: got 70000"),
        ('[label_studio]\nurl = "localhost:8080"', r"label_studio\.url starts with http"),
        ('[label_studio]\napi_key = "s3cret"', r"no secret stands in loop\.toml: got label_studio\.api_key"),
        ("[label_map]\nApplication = 5", r"label_map\.Application is a string: got 5"),
        ("[service]\npoll_seconds = inf", r"service\.poll_seconds .*: got inf"),
        ("[train]\nlearning_rate = inf", r"train\.learning_rate is above 0 and finite: got inf"),
        ("[train]\nseed = 99999999999999999999", r"train\.seed is in 0\.\.4294967295"),
        ("[train]\nthreads = 99999999999999999999", r"train\.threads is in 0\.\.1024"),
        ('[models]\ndir = "~no-such-user/m"', r"models\.dir starts in a home folder"),
        ('[log]\nlevel = "loud"', r"log\.level is one of DEBUG"),
        ("[[train]]\nepochs = 1", r"\[train\] is a table"),
        ("[train", "TOML in UTF-8"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(tmp_path: Path, line: str, named: str):
    document = line + "\n" + MINIMAL if line.startswith("train =") else MINIMAL + line + "\n"
    with pytest.raises(ConfigError, match=named) as refused:
        load(tmp_path, document)
    assert refused.value.exit_code == 3
    assert "s3cret" not in str(refused.value)


def test_a_file_without_a_name_is_refused(tmp_path: Path):
    with pytest.raises(ConfigError, match="name"):
        load(tmp_path, "[train]\nepochs = 3\n")


def test_a_project_name_of_two_lines_is_refused(tmp_path: Path):
    (tmp_path / "loop.toml").write_text('[project]\nname = "a\\nb"\n')
    with pytest.raises(ConfigError, match=r"project\.name is one line"):
        Settings.load(tmp_path, {})


def test_a_whole_number_serves_where_a_number_is_wanted(tmp_path: Path):
    assert load(tmp_path, MINIMAL + "[service]\npoll_seconds = 2\n").service.poll_seconds == 2.0


def test_the_environment_wins_over_the_file(tmp_path: Path):
    text = MINIMAL + '[label_studio]\nurl = "http://file"\n[backend]\nport = 1\n[log]\nlevel = "INFO"\n'
    environ = {
        "LABEL_STUDIO_URL": "http://env/",
        "LABEL_STUDIO_API_KEY": "k",
        "MODEL_DIR": "/models",
        "BASIC_AUTH_USER": "u",
        "BASIC_AUTH_PASS": "p",
        "PORT": "2",
        "WORKERS": "3",
        "THREADS": "5",
        "LOG_LEVEL": "debug",
        "LOOP_STORE_URL": "postgresql://h/d",
    }
    settings = load(tmp_path, text, **environ)
    backend = settings.backend
    assert (settings.label_studio.url, settings.label_studio.api_key) == ("http://env", "k")
    assert (settings.model_dir, settings.store_url) == (Path("/models"), "postgresql://h/d")
    assert (backend.basic_auth_user, backend.basic_auth_pass) == ("u", "p")
    assert (backend.port, backend.workers, backend.threads, settings.log_level) == (2, 3, 5, "DEBUG")


def test_a_bad_value_in_the_environment_names_the_variable(tmp_path: Path):
    with pytest.raises(ConfigError, match="PORT is a whole number: got http"):
        load(tmp_path, MINIMAL, PORT="http")
    with pytest.raises(ConfigError, match="LOG_LEVEL is one of"):
        load(tmp_path, MINIMAL, LOG_LEVEL="loud")


def test_an_empty_variable_says_nothing(tmp_path: Path):
    assert load(tmp_path, MINIMAL, PORT="").backend.port == 9090


def test_paths_are_relative_to_the_file_in_it_and_to_the_working_directory_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    text = MINIMAL + '[models]\ndir = "m"\n[store]\nurl = "sqlite:///s.db"\n[weak]\nfunctions = "f.py"\n'
    settings = load(tmp_path, text)
    assert (settings.model_dir, settings.store_url) == (tmp_path / "m", f"sqlite:///{tmp_path}/s.db")
    assert (settings.weak_functions, settings.labels_file) == (tmp_path / "f.py", tmp_path / "labels.xml")
    assert load(tmp_path, text, MODEL_DIR="m").model_dir == elsewhere / "m"
    assert load(tmp_path, text, LOOP_STORE_URL="sqlite:///s.db").store_url == f"sqlite:///{elsewhere}/s.db"


def test_the_key_is_read_from_its_file_and_no_repr_shows_a_secret(tmp_path: Path):
    (tmp_path / "key").write_text("top-secret\n")
    text = MINIMAL + '[label_studio]\napi_key_file = "key"\n'
    settings = load(tmp_path, text, BASIC_AUTH_PASS="hush", LOOP_STORE_URL="postgresql://u:pw@h/d")
    assert settings.label_studio.api_key == "top-secret"
    assert not any(secret in repr(settings) for secret in ("top-secret", "hush", "pw@"))


@pytest.mark.parametrize("written", ["encoders/mine", "./encoders/mine", "~/encoders/mine"])
def test_a_folder_with_an_encoder_is_relative_to_the_file_or_to_the_users_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, written: str
):
    (tmp_path / "encoders" / "mine").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.setenv("HOME", str(tmp_path))
    text = MINIMAL + f'[train]\nencoder = "{written}"\n'
    assert load(tmp_path, text).train.encoder == str(tmp_path / "encoders" / "mine")


def test_an_encoder_that_is_no_folder_is_a_name_and_stays_one(tmp_path: Path):
    (tmp_path / "minilm").mkdir()
    for name in ("bert-base-cased", "org/model", "minilm"):
        assert load(tmp_path, MINIMAL + f'[train]\nencoder = "{name}"\n').train.encoder == name


@pytest.mark.parametrize("name", ["what?", "100%41", "a#b", "a b", "ü", "a:b@c", "x?mode=memory"])
def test_the_store_lies_in_its_folder_whatever_the_folder_is_called(tmp_path: Path, name: str):
    home = tmp_path / name
    home.mkdir()
    url = load(home, MINIMAL).store_url
    open_store(url).close()
    assert (home / "loop.db").is_file()
    assert url == sqlite_url(home / "loop.db")
    assert make_url(url).database == str(home / "loop.db")


def test_a_key_file_that_cannot_be_read_is_refused_without_quoting_it(tmp_path: Path):
    (tmp_path / "key").write_bytes(b"secret\xff")
    with pytest.raises(ConfigError, match=r"api_key_file can be read as UTF-8: got .*key \(\w+\)") as refused:
        load(tmp_path, MINIMAL + '[label_studio]\napi_key_file = "key"\n')
    assert "secret" not in str(refused.value)


def test_a_missing_key_file_leaves_offline_commands_alone(tmp_path: Path):
    assert load(tmp_path, MINIMAL + '[label_studio]\napi_key_file = "key"\n').label_studio.api_key is None


def test_a_password_in_a_url_is_not_shown():
    assert without_password("postgresql://u:pw@host/d") == "postgresql://u:***@host/d"
    assert without_password("sqlite:////x/loop.db") == "sqlite:////x/loop.db"
