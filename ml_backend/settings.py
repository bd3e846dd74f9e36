"""The settings of the backend, read from the environment once and checked. No repr shows the password."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from ner.containers import with_secret_files
from ner.documents import MAX_TEXT_CHARS
from ner.errors import ConfigError

LOCAL = "local"
_LEVELS = ("DEBUG", "INFO", "WARNING", "ERROR")
SECRETS = ("LOOP_STORE_URL", "BASIC_AUTH_USER", "BASIC_AUTH_PASS")
Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class ServerSettings:
    """How one backend runs.

    store_url: the loop's store (a SQLAlchemy URL). model_dir: what models' paths in the store are relative to.
    model_store: the address of the folder that several hosts share, "" for none; model_dir is then a cache of at most
    cache_mb MiB.
    user, password: of basic auth; both are empty for none. port: 0 lets the system choose. workers: processes, each
    with its own models. threads: how many requests a worker answers at once. model_threads: how many texts of one
    request a worker tags at once. max_tasks, max_text_chars (code points of one text), max_body_bytes: the most that
    one request may hold. answer_seconds: a request that takes longer is refused (Label Studio hangs up after 100).
    poll_seconds: the pause between two looks at which models are promoted. engine: "local", or the address of an
    inference server that gives the logits. engine_model: the model's name there, with "{project}" and "{version}" where
    they go. engine_seconds: how long one window may take there, before the local bundle answers.
    """

    store_url: str
    model_dir: Path
    model_store: str = field(default="", repr=False)
    cache_mb: int = 2048
    user: str = ""
    password: str = field(default="", repr=False)
    host: str = "127.0.0.1"
    port: int = 9090
    workers: int = 1
    threads: int = 4
    model_threads: int = 1
    log_level: str = "INFO"
    max_tasks: int = 10_000
    max_text_chars: int = MAX_TEXT_CHARS
    max_body_bytes: int = 128 * 1024 * 1024
    answer_seconds: float = 95.0
    poll_seconds: float = 1.0
    engine: str = LOCAL
    engine_model: str = "{project}"
    engine_seconds: float = 1.0

    def __post_init__(self) -> None:
        if bool(self.user) != bool(self.password):
            missing = "BASIC_AUTH_PASS" if self.user else "BASIC_AUTH_USER"
            raise ConfigError("basic auth has a user and a password", value=f"no {missing}", next_step="Set both.")
        if self.log_level not in _LEVELS:
            raise ConfigError(f"LOG_LEVEL is one of {', '.join(_LEVELS)}", value=self.log_level)
        if self.engine != LOCAL:
            object.__setattr__(self, "engine", _checked_address(self.engine))

    @property
    def logging_level(self) -> int:
        """The level as the logging module counts it."""
        return logging.getLevelNamesMapping()[self.log_level]

    @classmethod
    def from_environ(cls, environ: Mapping[str, str]) -> ServerSettings:
        """Read the environment; unset or empty variables keep their default. Raises ConfigError, naming the variable.

        One worker is the default: its threads share the models, and the runtime works outside the interpreter lock.
        """
        environ = with_secret_files(environ, SECRETS)
        store_url = environ.get("LOOP_STORE_URL", "")
        if not store_url:
            raise ConfigError(
                "LOOP_STORE_URL names the loop's store",
                next_step="Set it to the store of `loop init`, e.g. sqlite:////path/loop.db.",
            )
        workers = _number(environ, "WORKERS", cls.workers, int, 1, 64)
        cores = len(os.sched_getaffinity(0))
        return cls(
            store_url=store_url,
            model_dir=Path(environ.get("MODEL_DIR") or "models"),
            model_store=environ.get("MODEL_STORE", ""),
            cache_mb=_number(environ, "MODEL_CACHE_MB", cls.cache_mb, int, 1, 2**30),
            user=environ.get("BASIC_AUTH_USER", ""),
            password=environ.get("BASIC_AUTH_PASS", ""),
            host=environ.get("HOST") or cls.host,
            port=_number(environ, "PORT", cls.port, int, 0, 65535),
            workers=workers,
            threads=_number(environ, "THREADS", cls.threads, int, 1, 256),
            model_threads=_number(environ, "MODEL_THREADS", max(1, cores // workers), int, 1, 256),
            log_level=(environ.get("LOG_LEVEL") or cls.log_level).upper(),
            max_tasks=_number(environ, "MAX_TASKS", cls.max_tasks, int, 1, 10_000_000),
            max_text_chars=_number(environ, "MAX_TEXT_CHARS", cls.max_text_chars, int, 1, MAX_TEXT_CHARS),
            max_body_bytes=_number(environ, "MAX_BODY_BYTES", cls.max_body_bytes, int, 1024, 2**40),
            answer_seconds=_number(environ, "ANSWER_SECONDS", cls.answer_seconds, float, 0.1, 86_400.0),
            poll_seconds=_number(environ, "POLL_SECONDS", cls.poll_seconds, float, 0.05, 3600.0),
            engine=environ.get("ENGINE", "").strip() or cls.engine,
            engine_model=environ.get("ENGINE_MODEL", "").strip() or cls.engine_model,
            engine_seconds=_number(environ, "ENGINE_SECONDS", cls.engine_seconds, float, 0.05, 60.0),
        )


def _checked_address(url: str) -> str:
    """The address without a slash at its end.

    Raises ConfigError unless it is http or https with a host, and without a user, a query or a fragment.
    """
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and parts.hostname and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise ConfigError(
            'ENGINE is "local" or the address of an inference server',
            value=url,
            next_step='Set ENGINE to an address such as "http://host:8000", or to "local".',
        )
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise ConfigError(
            "the address of an inference server has no user, password, query or fragment",
            value=f"{parts.scheme}://{parts.hostname}",
            next_step="Put a proxy that knows the password in front of the server.",
        )
    return url.rstrip("/")


def _number(
    environ: Mapping[str, str], name: str, default: Number, read: Callable[[str], Number], low: Number, high: Number
) -> Number:
    written = environ.get(name, "").strip()
    if not written:
        return default
    try:
        number = read(written)
    except ValueError:
        number = None
    if number is None or not low <= number <= high:
        kind = "a whole number" if read is int else "a number"
        raise ConfigError(f"{name} is {kind} from {low} to {high}", value=written)
    return number
