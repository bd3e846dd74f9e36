"""The ready project: made from the bundled example once, and pointed to this run's addresses each time."""

from __future__ import annotations

import shutil
from pathlib import Path

from loop.settings.settings import CONFIG_NAME, Settings
from loop.settings.template import scaffold
from loop.settings.toml_lines import with_values
from loop.settings.whole_files import write_whole
from loop.up.credentials import KEY_NAME
from loop.up.options import Options
from store.projects import project_by_name
from store.session import open_store

NAME = "IT support"
EXAMPLE = Path(__file__).parents[2] / "examples" / "it_support"
FUNCTIONS = "labeling_functions.py"
_RETRAIN_AFTER = 30
# The same holdout in every copy of the example, so that what people see of it can be compared.
_SALT = "it-support"
# Weak labels of a few hundred short texts are learned in half the steps of the default; the first `up` waits for them.
_MIN_STEPS = 100


def make_project(options: Options) -> bool:
    """True when the project was made just now. It has a copy of the labelling functions, to be changed at will."""
    home = options.project
    made = not (home / CONFIG_NAME).exists()
    if made:
        home.mkdir(parents=True, exist_ok=True)
        shutil.copytree(EXAMPLE / "gazetteers", home / "gazetteers", dirs_exist_ok=True)
        shutil.copyfile(EXAMPLE / FUNCTIONS, home / FUNCTIONS)
        scaffold(home, NAME, (EXAMPLE / "labels.xml").read_text("utf-8"), environ={}, salt=_SALT)
    _configure(options, made)
    return made


def has_model(options: Options) -> bool:
    """Whether a model is in service."""
    settings = Settings.load(options.project, {})
    store = open_store(settings.store_url)
    try:
        with store.read() as session:
            return project_by_name(session, settings.project_name).promoted_version is not None
    finally:
        store.close()


def _configure(options: Options, made: bool) -> None:
    """Write this run's addresses into loop.toml, so that commands typed in another shell find them."""
    values: dict[str, str | int | float] = {
        "label_studio.url": options.url,
        "label_studio.api_key_file": f"../{KEY_NAME}",
        "backend.port": options.backend_port,
        "weak.functions": FUNCTIONS,
    }
    if made:
        values |= {"service.retrain_after": _RETRAIN_AFTER, "train.min_steps": _MIN_STEPS}
    path = options.project / CONFIG_NAME
    before = path.read_text("utf-8")
    after = with_values(before, values)
    if after != before:
        write_whole(path, after)
