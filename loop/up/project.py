"""What the first `up` makes in the data folder and later ones find: the user of Label Studio and the ready project.

An example is a folder of examples/ with `name.txt`, `labels.xml` and `tasks.jsonl`. It may also hold `settings.toml` (a
part of loop.toml), `labeling_functions.py`, `weak.toml` and `gazetteers/`; the project gets a copy of them.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import tomllib
from collections.abc import Mapping
from contextlib import closing
from dataclasses import asdict, dataclass, field
from pathlib import Path

from loop.backup.upgrade import open_upgraded
from loop.settings.settings import CONFIG_NAME, Settings
from loop.settings.template import scaffold
from loop.settings.toml_text import SettingValue, with_values
from loop.settings.whole_files import write_whole
from loop.up.options import DEFAULT_EXAMPLE, Options
from ner.errors import ConfigError, InputError
from store.projects import project_by_name
from store.weak.votes import count_voted

EXAMPLES = Path(__file__).parents[2] / "examples"
EXAMPLE = EXAMPLES / DEFAULT_EXAMPLE
FUNCTIONS = "labeling_functions.py"
SETTINGS = "settings.toml"
CREDENTIALS, API_KEY = "credentials", "api-key"
MODEL, VOTES, NOBODY = "model", "votes", "nobody"
_MADE_OF = "example"  # the file of the data folder that names its example
_COPIED = (FUNCTIONS, "weak.toml", "gazetteers")
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
    documents are held out. Raises what `example_of` raises.
    """
    example = example_of(options)
    options.data.mkdir(parents=True, exist_ok=True)
    write_whole(options.data / _MADE_OF, example.name + "\n")
    values: dict[str, SettingValue] = {
        "label_studio.url": options.url,
        "label_studio.api_key_file": f"../{API_KEY}",
        "backend.port": options.backend_port,
    }
    return make_from_example(example, options.project, values, environ={}, salt=salt)


def example_of(options: Options) -> Path:
    """The folder of the example that is asked for, or else of the one that the data folder was made of.

    Raises ConfigError for a name that is no example, and for another example than that of the data folder.
    """
    kept = _example_in(options.data)
    example = example_named(options.example or kept or DEFAULT_EXAMPLE, "--example", "`ls examples` shows them.")
    if kept not in (None, example.name):
        raise ConfigError(
            "a data folder holds one example",
            value=f"{options.data} holds {kept}, not {example.name}",
            next_step=f"Name another folder: ./scripts/up --example {example.name} --data data-{example.name}",
        )
    return example


def example_named(name: str, option: str, next_step: str) -> Path:
    """The folder of an example. Raises ConfigError, which names `option`, for a name that is none."""
    names = sorted(path.parent.name for path in EXAMPLES.glob("*/name.txt"))
    if name not in names:
        raise ConfigError(f"{option} is one of {', '.join(names)}", value=name, next_step=next_step)
    return EXAMPLES / name


def _example_in(data: Path) -> str | None:
    """The example that the data folder was made of; before that was written down, there was one example."""
    try:
        return (data / _MADE_OF).read_text("utf-8").strip()
    except FileNotFoundError:
        return DEFAULT_EXAMPLE if (data / "project" / CONFIG_NAME).exists() else None


def make_from_example(
    example: Path, home: Path, values: Mapping[str, SettingValue], *, environ: Mapping[str, str], salt: str
) -> bool:
    """Make the project of an example in the folder `home`, if that is not done; True when it was made just now.

    The project has a copy of the sources of weak labels, to be changed at will, and the settings. `values` are
    written into loop.toml each time; the rest of the file is a person's. Raises what `scaffold` raises, and InputError
    for settings that are no TOML.
    """
    config = home / CONFIG_NAME
    is_new = not config.exists()
    if is_new:
        home.mkdir(parents=True, exist_ok=True)
        for name in _COPIED:
            _copy(example / name, home / name)
        scaffold(home, name_of(example), (example / "labels.xml").read_text("utf-8"), environ=environ, salt=salt)
    text = config.read_text("utf-8")
    if "retrain_after" not in tomllib.loads(text)["service"]:  # also after a first start that was cut off here
        text = with_values(text, _own_settings(example))
    write_whole(config, with_values(text, values))
    return is_new


def _copy(place: Path, to: Path) -> None:
    if place.is_dir():
        shutil.copytree(place, to, dirs_exist_ok=True)
    elif place.exists():
        shutil.copyfile(place, to)


def _own_settings(example: Path) -> dict[str, SettingValue]:
    """What a new project of the example has in its loop.toml, by `section.key`."""
    values: dict[str, SettingValue] = {"service.retrain_after": _RETRAIN_AFTER}
    if (example / FUNCTIONS).exists():
        values["weak.functions"] = FUNCTIONS
    try:
        own = tomllib.loads((example / SETTINGS).read_text("utf-8"))
    except FileNotFoundError:
        return values
    except ValueError as error:
        raise InputError(
            "an example's settings are TOML, in UTF-8",
            value=f"{example / SETTINGS}: {error}",
            next_step="Correct that line.",
        ) from error
    return values | {f"{section}.{key}": value for section, keys in own.items() for key, value in keys.items()}


def name_of(example: Path) -> str:
    """The name of an example's project."""
    return (example / "name.txt").read_text("utf-8").strip()


def who_pre_labels(options: Options) -> str:
    """The MODEL in service; before there is one the VOTES of sources of weak labels, or NOBODY where nothing votes."""
    return pre_labels_in(Settings.load(options.project, {}))


def pre_labels_in(settings: Settings) -> str:
    """As `who_pre_labels`, of any project."""
    with closing(open_upgraded(settings)) as store, store.read() as session:
        project = project_by_name(session, settings.project_name)
        if project.promoted_version is not None:
            return MODEL
        return VOTES if count_voted(session, project.id) else NOBODY
