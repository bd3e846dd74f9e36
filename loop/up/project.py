"""What the first `up` makes in the data folder and later ones find: the user of Label Studio and the ready project."""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loop.backup.upgrade import open_upgraded
from loop.settings.settings import CONFIG_NAME, Settings
from loop.settings.template import scaffold
from loop.settings.toml_text import with_values
from loop.settings.whole_files import write_whole
from loop.up.options import Options
from ner.errors import ConfigError
from store.projects import project_by_name

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = EXAMPLES / "it_support"
FUNCTIONS = "labeling_functions.py"
CREDENTIALS, API_KEY = "credentials", "api-key"
_USER = "annotator@loop.local"
_RETRAIN_AFTER = 30
# Every copy of the example has the same holdout, so that what people see of it can be compared.
SALT = "it-support"


@dataclass(frozen=True)
class Credentials:
    """Log-in and API key (a legacy token of 40 hexadecimal digits)."""

    user: str
    password: str = field(repr=False)
    api_key: str = field(repr=False)


def credentials_in(data: Path) -> Credentials:
    """The credentials in `data/credentials`, which are made when there are none; the key also stands in `data/api-key`.

    Only their owner can read the two files. Raises ConfigError for a file of another content.
    """
    path = data / CREDENTIALS
    if not path.exists():
        made = Credentials(_USER, secrets.token_urlsafe(12), secrets.token_hex(20))
        _write_private(path, json.dumps(asdict(made), indent=2) + "\n")
    try:
        found = Credentials(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{path} holds user, password and api_key as JSON",
            value=type(error).__name__,
            next_step="Restore the file, or start anew in another folder with --data.",
        ) from error
    _write_private(data / API_KEY, found.api_key + "\n")
    return found


def _write_private(path: Path, text: str) -> None:
    mask = os.umask(0o077)
    try:
        write_whole(path, text)
    finally:
        os.umask(mask)


def make_project(options: Options, *, salt: str = SALT) -> bool:
    """Make the project of `up`, if that is not done; True when it was made just now.

    Its loop.toml gets this run's addresses, so that commands typed in another shell find them. `salt` decides which
    documents are held out.
    """
    values: dict[str, str | int | float] = {
        "label_studio.url": options.url,
        "label_studio.api_key_file": f"../{API_KEY}",
        "backend.port": options.backend_port,
    }
    return make_from_example(EXAMPLE, options.project, values, environ={}, salt=salt)


def make_from_example(
    example: Path, home: Path, values: Mapping[str, str | int | float], *, environ: Mapping[str, str], salt: str
) -> bool:
    """Make the project of an example in the folder `home`, if that is not done; True when it was made just now.

    The project has a copy of the labelling functions, to be changed at will. `values` are written into loop.toml each
    time; the rest of the file is a person's. Raises what `scaffold` raises.
    """
    config = home / CONFIG_NAME
    is_new = not config.exists()
    if is_new:
        home.mkdir(parents=True, exist_ok=True)
        shutil.copytree(example / "gazetteers", home / "gazetteers", dirs_exist_ok=True)
        shutil.copyfile(example / FUNCTIONS, home / FUNCTIONS)
        scaffold(home, name_of(example), (example / "labels.xml").read_text("utf-8"), environ=environ, salt=salt)
        values = {**values, "service.retrain_after": _RETRAIN_AFTER}
    text = with_values(config.read_text("utf-8"), values)
    if "functions" not in tomllib.loads(text).get("weak", {}):  # also after a first start that was cut off here
        text = with_values(text, {"weak.functions": FUNCTIONS})
    write_whole(config, text)
    return is_new


def name_of(example: Path) -> str:
    """The name of an example's project."""
    return (example / "name.txt").read_text("utf-8").strip()


def has_model(options: Options) -> bool:
    """Whether a model is in service."""
    settings = Settings.load(options.project, {})
    store = open_upgraded(settings)
    try:
        with store.read() as session:
            return project_by_name(session, settings.project_name).promoted_version is not None
    finally:
        store.close()
