"""The environment is read by name, with defaults, and refused by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from ml_backend.settings import ServerSettings
from ner.errors import ConfigError

STORE = {"LOOP_STORE_URL": "sqlite:////tmp/loop.db"}


def test_everything_but_the_store_has_a_default() -> None:
    settings = ServerSettings.from_environ(STORE)
    assert (settings.port, settings.workers, settings.threads) == (9090, 1, 4)
    assert settings.model_dir == Path("models")
    assert settings.max_tasks == 10_000


def test_an_empty_variable_counts_as_unset() -> None:
    assert ServerSettings.from_environ({**STORE, "PORT": "", "LOG_LEVEL": "", "WORKERS": " "}).port == 9090


def test_each_variable_is_read() -> None:
    environ = {
        **STORE,
        "MODEL_DIR": "/models",
        "BASIC_AUTH_USER": "user",
        "BASIC_AUTH_PASS": "word",
        "HOST": "0.0.0.0",
        "PORT": "8000",
        "WORKERS": "2",
        "THREADS": "3",
        "MODEL_THREADS": "5",
        "LOG_LEVEL": "debug",
        "MAX_TASKS": "10",
        "MAX_TEXT_CHARS": "100",
        "MAX_BODY_BYTES": "2048",
        "ANSWER_SECONDS": "7.5",
        "POLL_SECONDS": "0.5",
    }
    assert ServerSettings.from_environ(environ) == ServerSettings(
        store_url=STORE["LOOP_STORE_URL"],
        model_dir=Path("/models"),
        user="user",
        password="word",
        host="0.0.0.0",
        port=8000,
        workers=2,
        threads=3,
        model_threads=5,
        log_level="DEBUG",
        max_tasks=10,
        max_text_chars=100,
        max_body_bytes=2048,
        answer_seconds=7.5,
        poll_seconds=0.5,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("PORT", "99999"),
        ("PORT", "http"),
        ("WORKERS", "0"),
        ("THREADS", "-1"),
        ("POLL_SECONDS", "nan"),
        ("MAX_TEXT_CHARS", "1000001"),
        ("LOG_LEVEL", "LOUD"),
    ],
)
def test_a_wrong_value_is_refused_with_its_variable_named(name: str, value: str) -> None:
    with pytest.raises(ConfigError, match=name) as refused:
        ServerSettings.from_environ({**STORE, name: value})
    assert value in str(refused.value)


def test_a_store_must_be_named() -> None:
    with pytest.raises(ConfigError, match="LOOP_STORE_URL"):
        ServerSettings.from_environ({})


@pytest.mark.parametrize("given", ["BASIC_AUTH_USER", "BASIC_AUTH_PASS"])
def test_half_of_basic_auth_is_refused_rather_than_left_open(given: str) -> None:
    with pytest.raises(ConfigError, match="basic auth"):
        ServerSettings.from_environ({**STORE, given: "x"})


def test_no_repr_shows_the_password() -> None:
    assert "hunter2" not in repr(ServerSettings("sqlite:///x", Path(), user="u", password="hunter2"))


@pytest.mark.parametrize(
    "engine", ["triton:8000", "ftp://triton", "http://", "http://triton:x", "http://me:hunter2@triton", "http://t/?a=b"]
)
def test_an_engine_is_local_or_an_address_without_credentials(engine: str) -> None:
    assert ServerSettings.from_environ({**STORE, "ENGINE": "http://triton:8000/"}).engine == "http://triton:8000"
    with pytest.raises(ConfigError) as refused:
        ServerSettings.from_environ({**STORE, "ENGINE": engine})
    assert "hunter2" not in str(refused.value)
