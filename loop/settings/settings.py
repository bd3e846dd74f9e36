"""The settings of a project: loop.toml, with the environment over it, read once and checked.

Relative paths in loop.toml are relative to its folder; in the environment, to the working directory. Secrets come from
the environment or from a file that only its owner can read. No repr, error or log line shows a secret.
"""

from __future__ import annotations

import logging
import os
import re
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit, urlunsplit

from pydantic import AfterValidator, Field, PrivateAttr, TypeAdapter, ValidationError
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, InitSettingsSource, SettingsConfigDict

from loop.settings import model
from loop.settings.complaints import complaint
from loop.settings.model import SettingsSection
from ner.containers import with_secret_files
from ner.errors import ConfigError

if TYPE_CHECKING:
    from ner.models.model_library import ModelLibrary

logger = logging.getLogger(__name__)

CONFIG_NAME = "loop.toml"
# Each may also stand in a file: LABEL_STUDIO_API_KEY_FILE names the file of LABEL_STUDIO_API_KEY.
SECRETS = ("LOOP_STORE_URL", "LABEL_STUDIO_API_KEY", "BASIC_AUTH_USER", "BASIC_AUTH_PASS")
_SQLITE = "sqlite:///"
_MAP = (
    'Labels of files and of Label Studio -> labels of this project, or "O" for what is no entity here. A text with a '
    "label that is neither in the map nor the project's own is in doubt, and is not learned from."
)


class Settings(BaseSettings):
    """Everything that a command needs to know: the sections of loop.toml, and what follows from them."""

    model_config = SettingsConfigDict(frozen=True, strict=True, extra="forbid", hide_input_in_errors=True)

    project: model.ProjectSettings
    store: model.StoreSettings = model.StoreSettings()
    models: model.ModelsSettings = model.ModelsSettings()
    label_studio: model.LabelStudioSettings = model.LabelStudioSettings()
    train: model.TrainSettings = model.TrainSettings()
    holdout: model.HoldoutSettings = model.HoldoutSettings()
    promotion: model.PromotionSettings = model.PromotionSettings()
    gates: model.GateSettings = model.GateSettings()
    mlflow: model.MLflowSettings = model.MLflowSettings()
    service: model.ServiceSettings = model.ServiceSettings()
    weak: model.WeakSettings = model.WeakSettings()
    backend: model.BackendSettings = model.BackendSettings()
    status: model.StatusSettings = model.StatusSettings()
    log: model.LogSettings = model.LogSettings()
    label_map: Annotated[dict[str, str] | None, AfterValidator(lambda given: given or None)] = Field(
        None, description=_MAP, examples=[{"Application": "SOFTWARE"}]
    )
    _home: Path = PrivateAttr(default=Path("/"))
    _library: ModelLibrary | None = PrivateAttr(default=None)

    @classmethod
    def load(cls, start: Path | None = None, environ: Mapping[str, str] | None = None) -> Settings:
        """The settings of the project at `start` (or LOOP_HOME, or the working directory) or a parent of it."""
        environ = os.environ if environ is None else environ
        home = find_home(start, environ)
        return cls.of_text(home, _read(home / CONFIG_NAME), environ)

    @classmethod
    def of_text(cls, home: Path, text: str, environ: Mapping[str, str]) -> Settings:
        """The settings that a loop.toml with this text gives in the folder `home`. Raises ConfigError."""
        environ = with_secret_files(environ, SECRETS)
        document, given = _without_gone(_parsed(text, home / CONFIG_NAME)), _from_environment(environ)
        _refuse_secrets(document)
        sources = (InitSettingsSource(cls, given), InitSettingsSource(cls, document))
        try:
            settings = cls(_build_sources=(sources, {}))  # type: ignore[call-arg]  # a parameter of BaseSettings
        except ValidationError as error:
            named = {place: name for name, place in variables().items() if environ.get(name)}
            raise complaint(error, cls, named) from None
        home = home.resolve()
        settings._home = home
        found = {"label_studio": _with_key(settings.label_studio, home), "train": _with_encoder(settings.train, home)}
        return settings.model_copy(update=found)

    @property
    def home(self) -> Path:
        """The project's folder, absolute."""
        return self._home

    @property
    def project_name(self) -> str:
        """The project's name in the store."""
        return self.project.name

    @property
    def store_url(self) -> str:
        """The SQLAlchemy URL of the store; the path of a SQLite file is absolute. It may hold a password."""
        return _anchored(self.store.url, self.home)

    @property
    def model_dir(self) -> Path:
        """The folder of the models, absolute."""
        return (self.home / self.models.dir).resolve()

    @property
    def library(self) -> ModelLibrary:
        """The models of this host. Raises ConfigError for a shared folder whose address cannot be opened."""
        from ner.models.model_library import ModelLibrary  # the runtime of the models comes with it

        if self._library is None:
            self._library = ModelLibrary.at(self.model_dir, self.models.remote, self.models.cache_mb)
        return self._library

    @property
    def labels_file(self) -> Path:
        """The label config that the project starts from."""
        return self.home / self.project.labels

    @property
    def reports(self) -> Path:
        """The folder of the reports of promotions."""
        return self.home / "reports"

    @property
    def weak_functions(self) -> Path | None:
        """The file of labelling functions, or None."""
        return self.home / self.weak.functions if self.weak.functions else None

    @property
    def weak_file(self) -> Path | None:
        """The file that declares sources; None where the default file is not there."""
        path = self.home / self.weak.file
        given = self.weak.file != model.WeakSettings.model_fields["file"].default
        return path if given or path.exists() else None


def keys() -> Iterator[tuple[str, str, FieldInfo]]:
    """(section, key, field) of every setting, in the order of loop.toml; `[label_map]` has no keys of its own."""
    for section, field in Settings.model_fields.items():
        if isinstance(field.annotation, type) and issubclass(field.annotation, SettingsSection):
            yield from ((section, key, found) for key, found in field.annotation.model_fields.items())


def about(field: FieldInfo) -> Mapping[str, Any]:
    """What a setting says of itself beyond pydantic's own: its `variable` ("" for none), and whether it is `secret`."""
    assert isinstance(field.json_schema_extra, Mapping)
    return field.json_schema_extra


def variables() -> dict[str, tuple[str, str]]:
    """(section, key) by the environment variable that wins over it."""
    return {about(field)["variable"]: (section, key) for section, key, field in keys() if about(field)["variable"]}


def find_home(start: Path | None, environ: Mapping[str, str]) -> Path:
    """The nearest folder, from `start` upwards, that holds a loop.toml. Raises ConfigError when there is none."""
    begin = (start or Path(environ.get("LOOP_HOME") or ".")).resolve()
    for folder in (begin, *begin.parents):
        if (folder / CONFIG_NAME).is_file():
            return folder
    raise ConfigError(
        "a project's folder, or a parent of it, holds a loop.toml",
        value=str(begin),
        next_step="Go into a project, name one with -C DIR or LOOP_HOME, or make one: `loop init DIR --labels A,B`.",
    )


def sqlite_url(path: Path) -> str:
    """The SQLAlchemy URL of the SQLite file at `path`. In a URL, `?` begins options and `%` a character's number."""
    return _SQLITE + str(path).replace("%", "%25").replace("?", "%3F").replace("#", "%23")


def without_password(url: str) -> str:
    """`url` with `***` in place of a password, to be shown."""
    url = re.sub(r"(?i)([?&]password=)[^&]*", r"\1***", url)
    parts = urlsplit(url)
    if parts.password is None:
        return url
    return urlunsplit(parts._replace(netloc=parts.netloc.replace(f":{parts.password}@", ":***@")))


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        how = "Save it as UTF-8, or correct its permissions."
        raise ConfigError(f"{path} can be read as UTF-8", value=str(error), next_step=how) from error


def _parsed(text: str, path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{path} is TOML", value=str(error), next_step="Correct that line.") from error


def _without_gone(document: dict[str, Any]) -> dict[str, Any]:
    """The document without the keys of older versions, so that a project goes on after an upgrade. Each is told."""
    kept = dict(document)
    for (section, key), why in model.GONE.items():
        table = kept.get(section)
        if isinstance(table, dict) and key in table:
            logger.warning("%s.%s of loop.toml is not read any more: %s. Remove the line.", section, key, why)
            kept[section] = {name: value for name, value in table.items() if name != key}
    return kept


def _refuse_secrets(document: Mapping[str, Any]) -> None:
    for section, key, field in keys():
        table = document.get(section)
        if about(field)["secret"] and isinstance(table, Mapping) and key in table:
            raise ConfigError(
                "no secret stands in loop.toml",
                value=f"{section}.{key}",
                next_step=f"Put it into the environment, as {about(field)['variable']}, or the API key into the file "
                "that label_studio.api_key_file names.",
            )


def _from_environment(environ: Mapping[str, str]) -> dict[str, dict[str, Any]]:
    """The settings that variables give, as their types ask where the words allow it. An empty variable says nothing."""
    given: dict[str, dict[str, Any]] = {}
    for section, key, field in keys():
        words = environ.get(about(field)["variable"])
        if words:
            given.setdefault(section, {})[key] = _converted(words, field.annotation)
    here = Path.cwd()
    if "dir" in given.get("models", {}) and not given["models"]["dir"].startswith("~"):
        given["models"]["dir"] = str(here / given["models"]["dir"])
    if "store" in given:
        given["store"]["url"] = _anchored(given["store"]["url"], here)
    return given


def _converted(words: str, kind: Any) -> Any:
    """`words` as a value of that type; else as they are, for the model to refuse."""
    try:
        return TypeAdapter(kind).validate_python(words)
    except ValidationError:
        return words


def _with_key(section: model.LabelStudioSettings, home: Path) -> model.LabelStudioSettings:
    """The section with the key from its key file, unless the environment gave one.

    A missing key file leaves the key unset: offline commands need none, and `loop doctor` tells. Raises ConfigError for
    a key file that cannot be read as UTF-8.
    """
    path = home / section.api_key_file if section.api_key_file else None
    if section.api_key is not None or path is None or not path.is_file():
        return section
    try:
        return section.model_copy(update={"api_key": path.read_text("utf-8").strip() or None})
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            "the file of label_studio.api_key_file can be read as UTF-8",
            value=f"{path} ({type(error).__name__})",  # not the error's own words: they may quote the key
            next_step="Write the key into it again, and `chmod 600` it.",
        ) from None


def _with_encoder(section: model.TrainSettings, home: Path) -> model.TrainSettings:
    """The section with an encoder that is a folder as its absolute path. Any other encoder is a name and stays one."""
    folder = home / section.encoder
    if section.encoder == model.TrainSettings().encoder or not folder.is_dir():
        return section
    return section.model_copy(update={"encoder": str(folder.resolve())})


def _anchored(url: str, base: Path) -> str:
    """A SQLite URL with a relative path, made absolute; any other URL as it is."""
    path = url.removeprefix(_SQLITE)
    if not url.startswith(_SQLITE) or path.startswith((":memory:", "file:")) or Path(path).is_absolute():
        return url
    return f"{sqlite_url(base)}/{path.removeprefix('./')}"
