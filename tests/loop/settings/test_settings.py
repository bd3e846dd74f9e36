"""loop.toml and the environment over it: text in, settings or an error out that names the key and the value."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import tomlkit
from hypothesis import HealthCheck, assume, example, given
from hypothesis import settings as effort
from hypothesis import strategies as st
from sqlalchemy import make_url

from loop.settings.settings import Settings, about, find_home, keys, sqlite_url, variables, without_password
from loop.settings.toml_text import new_loop_toml
from ner.errors import ConfigError
from store.database.session import open_store

MINIMAL = '[project]\nname = "desk"\n'
PLACES = [(section, key) for section, key, _ in keys()]
SCALARS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.booleans() | st.integers() | st.floats()
VALUES = SCALARS | st.lists(SCALARS, max_size=2) | st.dictionaries(st.sampled_from(["f1", "OS"]), SCALARS, max_size=2)


def load(folder: Path, text: str, **environ: str) -> Settings:
    (folder / "loop.toml").write_text(text, "utf-8")
    return Settings.load(folder, environ)


def test_a_name_is_all_that_a_project_must_say(tmp_path: Path):
    settings = load(tmp_path, MINIMAL)
    assert (settings.home, settings.project_name) == (tmp_path, "desk")
    assert settings.store_url == f"sqlite:///{tmp_path}/loop.db"
    assert settings.model_dir == tmp_path / "models"
    assert (settings.holdout.share, settings.status.minimum_labels, settings.log.level) == (0.2, 50, "INFO")
    assert settings.label_map is None
    assert load(tmp_path, MINIMAL + "[label_map]\n").label_map is None


# The file that `loop init` writes


def test_the_new_file_gives_the_defaults(tmp_path: Path):
    settings = load(tmp_path, new_loop_toml('the "desk"'))
    assert settings == load(tmp_path, '[project]\nname = "the \\"desk\\""\n')


def test_the_new_file_with_its_comments_taken_in_gives_the_defaults_and_the_examples(tmp_path: Path):
    settings = load(tmp_path, re.sub(r"(?m)^# (?=\w+ = |\[)", "", new_loop_toml("desk")))
    plain = load(tmp_path, MINIMAL)
    examples = {"label_studio": {"url", "project", "api_key_file"}, "weak": {"functions"}, "gates": {"types", "f1"}}
    for section, key, field in keys():
        shown, default = (getattr(getattr(given, section), key) for given in (settings, plain))
        assert (shown != default) == bool(field.examples and section != "project"), (section, key)
        assert field.examples or key not in examples.get(section, ())
    assert settings.gates.types == {"VERSION": {"f1": 0.8, "recall": 0.75}}
    assert settings.label_map == {"Application": "SOFTWARE"}


def test_the_new_file_explains_every_key_and_names_every_variable():
    text = new_loop_toml("desk")
    section, named = "", set()
    for line in text.splitlines():
        header, key = re.match(r"\[(\w+)\]", line), re.match(r"(?:# )?(\w+) = .*# [A-Z0-9\"].*", line)
        section = header.group(1) if header else section
        named |= {(section, key.group(1))} if key else set()
    assert named == {(section, key) for section, key, field in keys() if not about(field)["secret"]}
    assert all(name in text for name in variables())
    assert max(map(len, text.splitlines())) <= 120


# Where the project is


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


# What is refused


@pytest.mark.parametrize(
    ("line", "named"),
    [
        ("[train]\npass = 3", r"train\.pass\..*Did you mean train\.passes\?"),
        ("[trian]\npasses = 3", r"\[trian\].*\[train\]"),
        ("[train]\nzzz = 3", r"train\.zzz.*Known here: train\.encoder"),
        ('[train]\npasses = "3"', r"train\.passes is a whole number: got '3'\. Correct train\.passes"),
        ("[train]\npasses = true", r"train\.passes is a whole number: got True"),
        ("[train]\npasses = 1.5", r"train\.passes is a whole number: got 1\.5"),
        ("[train]\nencoder = 5", r"train\.encoder is a string: got 5"),
        ("[train]\npasses = 0", r"train\.passes is at least 1: got 0"),
        ("[train]\nlearning_rate = 0", r"train\.learning_rate is above 0: got 0"),
        ('[train]\nlearning_rate = "0.1"', r"train\.learning_rate is a number: got '0\.1'"),
        ("[promotion]\ntexts = 1", r"promotion\.texts is true or false: got 1"),
        ('[train]\nprecision = "int8"', r"train\.precision is 'auto', 'float32' or 'bfloat16': got 'int8'"),
        ("train = 5", r"\[train\] is a table: got 5"),
        ("label_map = 5", r"\[label_map\] is a table: got 5"),
        ("[holdout]\nshare = 1", r"holdout\.share is below 1: got 1"),
        ('[label_studio]\nurl = "localhost:8080"', r"label_studio\.url starts with http"),
        ('[label_studio]\napi_key = "s3cret"', r"no secret .* got label_studio\.api_key.*LABEL_STUDIO_API_KEY"),
        ('[backend]\nbasic_auth_pass = "s3cret"', r"no secret .* got backend\.basic_auth_pass.*BASIC_AUTH_PASS"),
        ('[mlflow]\ntracking_uri = ["s3cret"]', r"mlflow\.tracking_uri is a string"),
        ("[label_map]\nApplication = 5", r"label_map\.Application is a string: got 5"),
        ("[service]\npoll_seconds = inf", r"service\.poll_seconds is .*: got inf"),
        ("[train]\nlearning_rate = inf", r"train\.learning_rate is a finite number: got inf"),
        ("[train]\nwarm_learning_rate = nan", r"train\.warm_learning_rate is a finite number: got nan"),
        ("[train]\nseed = 99999999999999999999", r"train\.seed is .*4294967295"),
        ('[models]\ndir = "~no-such-user/m"', r"models\.dir starts in the home folder of a user"),
        ('[train]\nencoder = "~no-such-user/m"', r"train\.encoder starts in the home folder of a user"),
        ('[log]\nlevel = "loud"', r"log\.level is 'DEBUG'"),
        (
            "[gates]\ntypes = { OS = { f2 = 0.5 } }",
            r"known keys: got gates\.types\.OS\.f2\. Known here: 'f1', 'prec",
        ),
        ("[gates]\ntypes = { OS = { f1 = 2 } }", r"gates\.types\.OS\.f1 is at most 1: got 2"),
        ("[gates]\ntypes = { OS = 0.5 }", r"gates\.types\.OS is a table: got 0\.5"),
        ("[[train]]\npasses = 1", r"\[train\] is a table"),
        ("[train", r"loop\.toml is TOML"),
    ],
)
def test_a_wrong_key_or_value_is_refused_by_name(tmp_path: Path, line: str, named: str):
    document = line + "\n" + MINIMAL if " = 5" in line and "[" not in line else MINIMAL + line + "\n"
    with pytest.raises(ConfigError, match=named) as refused:
        load(tmp_path, document)
    assert refused.value.exit_code == 3
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("section", "key", "refused", "taken"),
    [
        ("train", "rank", "0", "1"), ("train", "alpha", "0", "1"), ("train", "batch_size", "0", "1"),
        ("train", "passes", "0", "1"), ("train", "seed", "-1", "4294967295"), ("train", "threads", "1025", "1024"),
        ("train", "threads", "-1", "0"), ("train", "max_length", "7", "8"), ("train", "dropout", "1.0", "0"),
        ("train", "encoder_dropout", "-0.1", "0.9"), ("train", "beta2", "1.0", "0"), ("train", "averaging", "1", "0"),
        ("train", "warmup_share", "1.0", "0.99"), ("train", "learning_rate", "0", "1e-9"),
        ("train", "warm_learning_rate", "-1.0", "1"), ("train", "weight_decay", "-0.1", "0"),
        ("train", "encoder", '" "', '"x"'),
        ("promotion", "alpha", "0.0009", "0.001"), ("promotion", "alpha", "1", "0.99"),
        ("promotion", "looks", "101", "100"), ("promotion", "looks", "0", "1"), ("promotion", "delta", "0", "0.01"),
        ("promotion", "confidence", "1", "0.99"), ("promotion", "wanted", "0", "0.01"),
        ("promotion", "least_documents", "0", "1"), ("promotion", "resamples", "999", "1000"),
        ("promotion", "resamples", "1000001", "1000000"), ("promotion", "robustness", "-1", "0"),
        ("promotion", "timed", "-1", "0"), ("promotion", "seed", "4294967296", "0"),
        ("gates", "f1", "1.1", "1"), ("gates", "recall", "-0.1", "0"), ("gates", "latency_ms", "-1", "1e6"),
        ("service", "retrain_after", "0", "1"), ("service", "poll_seconds", "0", "86400"),
        ("service", "poll_seconds", "86401", "0.1"), ("backend", "port", "70000", "65535"),
        ("backend", "port", "0", "1"), ("backend", "workers", "0", "1"), ("backend", "threads", "0", "1"),
        ("holdout", "share", "-0.1", "0"), ("project", "labels", "5", '"l.xml"'),
    ],
)  # fmt: skip
def test_a_value_outside_its_limits_is_refused_by_name(
    tmp_path: Path, section: str, key: str, refused: str, taken: str
):
    head = MINIMAL + ("" if section == "project" else f"[{section}]\n")
    with pytest.raises(ConfigError, match=rf"^{section}\.{key} is .*: got .*Correct {section}\.{key}"):
        load(tmp_path, f"{head}{key} = {refused}\n")
    assert load(tmp_path, f"{head}{key} = {taken}\n")


@given(st.sampled_from(PLACES), VALUES)
@example(("service", "poll_seconds"), 10**400)
@example(("gates", "types"), {"OS": {"f1": 0.5, "F1": 1}})
@effort(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_a_key_is_set_to_counts_or_is_refused_by_name(tmp_path: Path, place: tuple[str, str], value: object):
    section, key = place
    assume(not str(value).startswith("~"))  # a path of a home folder, which has a test of its own
    document = {"project": {"name": "desk"}}
    document.setdefault(section, {})[key] = value  # type: ignore[assignment]
    try:
        settings = Settings.of_text(tmp_path, tomlkit.dumps(document), {})
    except ConfigError as refused:
        assert f"{section}.{key}" in str(refused)
        return
    assert getattr(getattr(settings, section), key) in (value, str(value).rstrip("/"), str(value).upper())


def test_keys_of_older_versions_are_left_out_and_told(tmp_path: Path, caplog: pytest.LogCaptureFixture):
    text = '[project]\nname = "desk"\n[train]\nepochs = 3\nmin_steps = 100\npasses = 7\n'
    assert load(tmp_path, text).train.passes == 7
    assert [record.getMessage().partition(" is not read")[0] for record in caplog.records] == [
        "train.epochs of loop.toml",
        "train.min_steps of loop.toml",
    ]


@pytest.mark.parametrize("text", ["[train]\npasses = 3\n", '[project]\nlabels = "labels.xml"\n', ""])
def test_a_file_without_a_name_is_refused(tmp_path: Path, text: str):
    with pytest.raises(ConfigError, match=r"loop\.toml sets (project\.name|\[project\])"):
        load(tmp_path, text)


@pytest.mark.parametrize("name", ["a\\nb", " ", "del\\u007f"])
def test_a_project_name_that_is_not_one_line_is_refused(tmp_path: Path, name: str):
    with pytest.raises(ConfigError, match=r"project\.name is one line"):
        load(tmp_path, f'[project]\nname = "{name}"\n')


def test_a_whole_number_serves_where_a_number_is_wanted(tmp_path: Path):
    assert load(tmp_path, MINIMAL + "[service]\npoll_seconds = 2\n").service.poll_seconds == 2.0


def test_a_file_that_begins_with_a_byte_order_mark_is_read(tmp_path: Path):
    assert load(tmp_path, "\ufeff" + MINIMAL).project_name == "desk"


# The environment


def test_the_environment_wins_over_the_file(tmp_path: Path):
    text = MINIMAL + '[label_studio]\nurl = "http://file"\n[backend]\nport = 1\nhost = "h"\n[log]\nlevel = "INFO"\n'
    environ = {
        "LABEL_STUDIO_URL": "http://env/",
        "LABEL_STUDIO_API_KEY": "k",
        "MODEL_DIR": "/models",
        "MODEL_STORE": "s3://bucket/models",
        "MODEL_CACHE_MB": "100",
        "BASIC_AUTH_USER": "u",
        "BASIC_AUTH_PASS": "p",
        "PORT": "2",
        "WORKERS": "3",
        "THREADS": "5",
        "ENGINE": "http://triton:8000/",
        "ENGINE_MODEL": "{version}",
        "ENGINE_SECONDS": "0.5",
        "LOG_LEVEL": "debug",
        "LOOP_STORE_URL": "postgresql://h/d",
        "MLFLOW_TRACKING_URI": "http://mlflow",
        "LOOP_ALIVE_FILE": "/tmp/alive",
    }
    assert environ.keys() == variables().keys()
    settings = load(tmp_path, text, **environ)
    backend = settings.backend
    assert (settings.label_studio.url, settings.label_studio.api_key) == ("http://env", "k")
    assert (settings.model_dir, settings.store_url) == (Path("/models"), "postgresql://h/d")
    assert (settings.models.remote, settings.models.cache_mb) == ("s3://bucket/models", 100)
    assert (backend.host, backend.basic_auth_user, backend.basic_auth_pass) == ("h", "u", "p")
    assert (settings.mlflow.tracking_uri, settings.service.alive_file) == ("http://mlflow", "/tmp/alive")
    assert (backend.port, backend.workers, backend.threads, settings.log.level) == (2, 3, 5, "DEBUG")
    assert (backend.engine, backend.engine_model, backend.engine_seconds) == ("http://triton:8000", "{version}", 0.5)


@pytest.mark.parametrize(
    ("variable", "words", "named"),
    [
        ("PORT", "http", "PORT is a whole number: got 'http'. Correct PORT"),
        ("PORT", "70000", "PORT is at most 65535: got 70000"),
        ("LOG_LEVEL", "loud", "LOG_LEVEL is 'DEBUG'"),
        ("LABEL_STUDIO_URL", "localhost", "LABEL_STUDIO_URL starts with http"),
        ("ENGINE", "http://[::1", "ENGINE is the address of a server"),
        ("MODEL_DIR", "~no-such-user/m", "MODEL_DIR starts in the home folder"),
    ],
)
def test_a_bad_value_in_the_environment_names_the_variable(tmp_path: Path, variable: str, words: str, named: str):
    with pytest.raises(ConfigError, match=f"^{re.escape(named)}"):
        load(tmp_path, MINIMAL + "[backend]\nport = 1\n", **{variable: words})


def test_an_empty_variable_says_nothing(tmp_path: Path):
    assert load(tmp_path, MINIMAL, PORT="").backend.port == 9090


# Paths


def test_paths_are_relative_to_the_file_in_it_and_to_the_working_directory_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    monkeypatch.setenv("HOME", "/home/of")
    text = MINIMAL + '[models]\ndir = "m"\n[store]\nurl = "sqlite:///s.db"\n[weak]\nfunctions = "f.py"\n'
    settings = load(tmp_path, text)
    assert (settings.model_dir, settings.store_url) == (tmp_path / "m", f"sqlite:///{tmp_path}/s.db")
    assert (settings.weak_functions, settings.labels_file) == (tmp_path / "f.py", tmp_path / "labels.xml")
    assert load(tmp_path, text, MODEL_DIR="m").model_dir == elsewhere / "m"
    assert load(tmp_path, text, MODEL_DIR="~/m").model_dir == Path("/home/of/m")
    assert load(tmp_path, text, LOOP_STORE_URL="sqlite:///s.db").store_url == f"sqlite:///{elsewhere}/s.db"


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


# Secrets


def test_the_key_is_read_from_its_file_and_no_repr_shows_a_secret(tmp_path: Path):
    (tmp_path / "key").write_text("top-secret\n")
    text = MINIMAL + '[label_studio]\napi_key_file = "key"\n[mlflow]\ntracking_uri = "http://u:hush@h"\n'
    settings = load(tmp_path, text, BASIC_AUTH_PASS="hush", LOOP_STORE_URL="postgresql://u:pw@h/d")
    assert settings.label_studio.api_key == "top-secret"
    assert not any(secret in repr(settings) + str(settings) for secret in ("top-secret", "hush", "pw@"))
    assert load(tmp_path, text, LABEL_STUDIO_API_KEY="of the environment").label_studio.api_key == "of the environment"


def test_a_key_file_that_cannot_be_read_is_refused_without_quoting_it(tmp_path: Path):
    (tmp_path / "key").write_bytes(b"secret\xff")
    with pytest.raises(ConfigError, match=r"api_key_file can be read as UTF-8: got .*key \(\w+\)") as refused:
        load(tmp_path, MINIMAL + '[label_studio]\napi_key_file = "key"\n')
    assert "secret" not in str(refused.value)


def test_a_missing_key_file_leaves_offline_commands_alone(tmp_path: Path):
    assert load(tmp_path, MINIMAL + '[label_studio]\napi_key_file = "key"\n').label_studio.api_key is None


def test_a_password_in_a_url_is_not_shown():
    assert without_password("postgresql://u:pw@host/d") == "postgresql://u:***@host/d"
    assert without_password("postgresql://h/d?user=u&password=pw&a=b") == "postgresql://h/d?user=u&password=***&a=b"
    assert without_password("sqlite:////x/loop.db") == "sqlite:////x/loop.db"
