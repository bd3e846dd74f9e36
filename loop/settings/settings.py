"""What `loop.toml` and the environment say, read once and checked; nothing else reads either.

Relative paths in `loop.toml` are relative to its folder; in the environment, to the working directory. Secrets come
from the environment or from a file that only the owner can read, never from `loop.toml`, and no repr shows them.
"""

from __future__ import annotations

import os
import tomllib
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from loop.settings.promotion import GateSettings, PromotionSettings
from loop.settings.sections import (
    BackendSettings,
    HoldoutSettings,
    LabelStudioSettings,
    LogSettings,
    MLflowSettings,
    ModelsSettings,
    ProjectSettings,
    ServiceSettings,
    StatusSettings,
    StoreSettings,
    WeakSettings,
)
from loop.settings.toml_tables import check_type, from_words, read_table, refuse_unknown
from loop.settings.training import TrainSettings
from ner.errors import ConfigError

CONFIG_NAME = "loop.toml"
_SQLITE = "sqlite:///"


SECTIONS: dict[str, Any] = {
    "project": ProjectSettings,
    "store": StoreSettings,
    "models": ModelsSettings,
    "label_studio": LabelStudioSettings,
    "train": TrainSettings,
    "holdout": HoldoutSettings,
    "promotion": PromotionSettings,
    "gates": GateSettings,
    "mlflow": MLflowSettings,
    "service": ServiceSettings,
    "weak": WeakSettings,
    "backend": BackendSettings,
    "status": StatusSettings,
    "log": LogSettings,
}
ENVIRONMENT = {
    "LABEL_STUDIO_URL": ("label_studio", "url"),
    "LABEL_STUDIO_API_KEY": ("label_studio", "api_key"),
    "MODEL_DIR": ("models", "dir"),
    "BASIC_AUTH_USER": ("backend", "basic_auth_user"),
    "BASIC_AUTH_PASS": ("backend", "basic_auth_pass"),
    "PORT": ("backend", "port"),
    "WORKERS": ("backend", "workers"),
    "THREADS": ("backend", "threads"),
    "LOG_LEVEL": ("log", "level"),
    "LOOP_STORE_URL": ("store", "url"),
}
_ONLY_FROM_ENVIRONMENT = {"label_studio": ("api_key",), "backend": ("basic_auth_pass",)}


@dataclass(frozen=True)
class Settings:
    """Everything a command needs to know; paths are absolute."""

    home: Path
    project: ProjectSettings
    store_url: str = field(repr=False)
    model_dir: Path
    label_studio: LabelStudioSettings
    train: TrainSettings
    holdout_share: float
    promotion: PromotionSettings
    gates: GateSettings
    mlflow: MLflowSettings
    label_map: dict[str, str] | None
    service: ServiceSettings
    weak: WeakSettings
    backend: BackendSettings
    status_minimum: int
    log_level: str

    @classmethod
    def load(cls, start: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings of the project at `start` (or LOOP_HOME, or the working directory) or a parent of it."""
        environ = os.environ if environ is None else environ
        home = find_home(start, environ)
        return _assemble(home, _read_toml(home / CONFIG_NAME), environ)

    @classmethod
    def of_document(cls, home: Path, document: dict[str, Any], environ: Mapping[str, str]) -> Settings:
        """The settings that a loop.toml with this content would give in the folder `home`."""
        return _assemble(home.resolve(), document, environ)

    @property
    def project_name(self) -> str:
        """The project's name in the store."""
        return self.project.name

    @property
    def labels_file(self) -> Path:
        """The label config that the project starts from."""
        return self.home / self.project.labels

    @property
    def reports(self) -> Path:
        """Where the report of each attempt at a promotion is kept."""
        return self.home / "reports"

    @property
    def weak_functions(self) -> Path | None:
        """The file of labelling functions, or None."""
        return self.home / self.weak.functions if self.weak.functions else None


def find_home(start: Path | None, environ: Mapping[str, str]) -> Path:
    """The nearest folder, from `start` upwards, that holds a loop.toml; ConfigError when there is none."""
    begin = (start or Path(environ.get("LOOP_HOME") or ".")).resolve()
    for folder in (begin, *begin.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder
    raise ConfigError(
        "a project folder holds a loop.toml, itself or in a parent",
        value=str(begin),
        next_step="Go into one, name one with -C DIR or LOOP_HOME, or make one with `loop init DIR --labels A,B`.",
    )


def sqlite_url(path: Path) -> str:
    """The SQLAlchemy URL of the SQLite file at `path`; in a URL `?` begins options, and `%` a character's number."""
    return _SQLITE + str(path).replace("%", "%25").replace("?", "%3F").replace("#", "%23")


def without_password(url: str) -> str:
    """`url` fit to be shown: a password in it is replaced by `***`."""
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8-sig"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path} is TOML in UTF-8", value=str(error), next_step="Correct that line.") from error
    except OSError as error:
        raise ConfigError(f"{path} can be read", value=str(error), next_step="Correct its permissions.") from error


def _assemble(home: Path, document: dict[str, Any], environ: Mapping[str, str]) -> Settings:
    refuse_unknown(document, [*SECTIONS, "label_map"], lambda key: f"[{key}]")
    read = {name: _read_section(name, document.get(name, {}), environ) for name in SECTIONS}
    model_dir = _base(home, "MODEL_DIR", environ) / _expanded(read["models"].dir, "models.dir")
    return Settings(
        home=home,
        project=read["project"],
        store_url=_anchored(read["store"].url, _base(home, "LOOP_STORE_URL", environ)),
        model_dir=model_dir.resolve(),
        label_studio=_with_key(read["label_studio"], home),
        train=_with_encoder(read["train"], home),
        holdout_share=read["holdout"].share,
        promotion=read["promotion"],
        gates=read["gates"],
        mlflow=read["mlflow"],
        label_map=check_type(document.get("label_map", {}), dict[str, str], "label_map") or None,
        service=read["service"],
        weak=read["weak"],
        backend=read["backend"],
        status_minimum=read["status"].minimum_labels,
        log_level=read["log"].level,
    )


def _read_section(name: str, table: Any, environ: Mapping[str, str]) -> Any:
    """One section with the environment over it; a complaint about a variable's value names the variable."""
    schema = SECTIONS[name]
    values = dict(check_type(table, dict, f"[{name}]"))
    for key in _ONLY_FROM_ENVIRONMENT.get(name, ()):
        if key in values:
            raise ConfigError("no secret stands in loop.toml", value=f"{name}.{key}", next_step=_SECRETS_GO)
    origins = {}
    hints = typing.get_type_hints(schema)
    for variable, (section, key) in ENVIRONMENT.items():
        if section == name and environ.get(variable):
            values[key] = from_words(environ[variable], hints[key], variable)
            origins[key] = variable
    if "level" in values and isinstance(values["level"], str):
        values["level"] = values["level"].upper()
    return read_table(schema, values, lambda key: origins.get(key, f"{name}.{key}"))


_SECRETS_GO = "Put it into the environment, or name a file that only you can read with label_studio.api_key_file."


def _with_key(section: LabelStudioSettings, home: Path) -> LabelStudioSettings:
    """The section with its URL trimmed and its key read from the key file, unless the environment gave one.

    A key file that is missing leaves the key unset: offline commands need none, and `loop doctor` says so. One that is
    there and cannot be read as UTF-8 is a ConfigError.
    """
    url = section.url.rstrip("/") if section.url else None
    key = section.api_key
    path = home / _expanded(section.api_key_file, "label_studio.api_key_file") if section.api_key_file else None
    if key is None and path is not None and path.is_file():
        key = _read_key(path)
    return LabelStudioSettings(url=url, project=section.project, api_key_file=section.api_key_file, api_key=key)


def _read_key(path: Path) -> str | None:
    try:
        return path.read_text("utf-8").strip() or None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the file of label_studio.api_key_file can be read as UTF-8",
            value=f"{path} ({type(error).__name__})",  # not the error's own words: they may quote the key
            next_step="Write the key into it again, and `chmod 600` it.",
        ) from error


def _with_encoder(section: TrainSettings, home: Path) -> TrainSettings:
    """The section with an encoder that is a folder as its absolute path; any other encoder is a name, kept as it is."""
    if section.encoder == TrainSettings.encoder:
        return section
    folder = home / _expanded(section.encoder, "train.encoder")
    return replace(section, encoder=str(folder.resolve())) if folder.is_dir() else section


def _expanded(written: str, name: str) -> Path:
    """A path with its `~` replaced by the home of the user that it names; ConfigError when there is no such user."""
    try:
        return Path(written).expanduser()
    except RuntimeError as error:
        raise ConfigError(f"{name} starts in a home folder", value=written, next_step="Write it out.") from error


def _base(home: Path, variable: str, environ: Mapping[str, str]) -> Path:
    return Path.cwd() if environ.get(variable) else home


def _anchored(url: str, base: Path) -> str:
    """A SQLite URL with a relative path, made absolute; any other URL as it is."""
    path = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or path.startswith((":memory:", "file:")) or Path(path).is_absolute():
        return url
    return f"{sqlite_url(base)}/{path.removeprefix('./')}"
