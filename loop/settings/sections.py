"""The sections of loop.toml that are no module's own: what may stand in each, checked where it is made."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass, field
from typing import Literal

from ner.errors import ConfigError

_DAY = 86_400.0


@dataclass(frozen=True)
class ProjectSettings:
    """`[project]`: its name in the store, and the label config it starts from."""

    name: str
    labels: str = "labels.xml"

    def __post_init__(self) -> None:
        _require(bool(self.name.strip()), "project.name is not empty", self.name)
        _require(is_one_line(self.name), "project.name is one line, without control characters", self.name)


@dataclass(frozen=True)
class LabelStudioSettings:
    """`[label_studio]`: where the server is, which of its projects is ours, and the key (legacy or personal)."""

    url: str | None = None
    project: int | None = None
    api_key_file: str | None = None
    api_key: str | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        good = self.url is None or self.url.startswith(("http://", "https://"))
        _require(good, "label_studio.url starts with http:// or https://", self.url)

    @property
    def project_id(self) -> int | None:
        """The id of the project on the server; None leaves it to the link that the store keeps."""
        return self.project


@dataclass(frozen=True)
class ServiceSettings:
    """`[service]`: the pace of `loop run`. Seconds, and gold documents that are new since the last training."""

    poll_seconds: float = 15.0
    retrain_after: int = 50

    def __post_init__(self) -> None:
        good = 0 < self.poll_seconds <= _DAY
        _require(good, f"service.poll_seconds is above 0 and at most {_DAY:g}, a day", self.poll_seconds)
        _require(self.retrain_after >= 1, "service.retrain_after is at least 1", self.retrain_after)


@dataclass(frozen=True)
class WeakSettings:
    """`[weak]`: a Python file of labelling functions, relative to the project; empty for none."""

    functions: str = ""


@dataclass(frozen=True)
class BackendSettings:
    """`[backend]`: where `loop serve` listens, how wide, and the URL by which Label Studio reaches it."""

    host: str = "127.0.0.1"
    port: int = 9090
    workers: int = 1
    threads: int = 4
    url: str = ""
    basic_auth_user: str = ""
    basic_auth_pass: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        _require(0 < self.port < 65536, "backend.port lies in 1..65535", self.port)
        _require(self.workers >= 1, "backend.workers is at least 1", self.workers)
        _require(self.threads >= 1, "backend.threads is at least 1", self.threads)

    @property
    def address(self) -> str:
        """The URL that Label Studio is told."""
        return (self.url or f"http://{self.host}:{self.port}").rstrip("/")


@dataclass(frozen=True)
class StoreSettings:
    """`[store]`: the database."""

    url: str = "sqlite:///loop.db"


@dataclass(frozen=True)
class ModelsSettings:
    """`[models]`: the folder of the models, one for each version."""

    dir: str = "models"


@dataclass(frozen=True)
class HoldoutSettings:
    """`[holdout]`: its share of the pool's documents."""

    share: float = 0.2

    def __post_init__(self) -> None:
        _require(0 <= self.share < 1, "holdout.share lies in 0..1, 1 excluded", self.share)


@dataclass(frozen=True)
class MLflowSettings:
    """`[mlflow]`: where each attempt at a promotion is logged, too; empty for nowhere. Needs the extra `mlflow`."""

    tracking_uri: str = field(default="", repr=False)
    experiment: str = ""


@dataclass(frozen=True)
class StatusSettings:
    """`[status]`: below how many labels of a type `loop status` warns."""

    minimum_labels: int = 50


@dataclass(frozen=True)
class LogSettings:
    """`[log]`: how much is logged."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"


def is_one_line(name: str) -> bool:
    """False for a name with a line break, another control character, or a lone surrogate."""
    return not any(unicodedata.category(character) in ("Cc", "Cs", "Zl", "Zp") for character in name)


def _require(holds: bool, rule: str, value: object) -> None:
    if not holds:
        raise ConfigError(rule, value=value, next_step=f"Correct {rule.split()[0]} in loop.toml or the environment.")
