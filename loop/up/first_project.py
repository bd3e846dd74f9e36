"""`python -m loop.up.first_project`: what the service `init` of docker-compose.yml does.

It makes the project of the example that EXAMPLE names, in the folder of LOOP_HOME, imports the example's texts,
connects the project to Label Studio, and sends pre-labels: the agreed votes, until a model serves. What is done already
stays.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from loop import console
from loop.service.starting import when_store_answers
from loop.settings.settings import Settings
from loop.settings.toml_text import SettingValue
from loop.up.project import NOBODY, example_named, make_from_example, pre_labels_in
from loop.weak.sources import has_sources
from ner.errors import ConfigError, InputError, RuleError

BACKEND_URL = "http://backend.loop.internal:9090"


def main(environ: Mapping[str, str]) -> int:
    """Make and connect. Gives the exit code of what failed, or 0."""
    try:
        example = example_named(environ.get("EXAMPLE", ""), "EXAMPLE", "Correct it in .env.")
        home = _home(environ)
        values: dict[str, SettingValue] = {"backend.url": BACKEND_URL}
        when_store_answers(lambda: make_from_example(example, home, values, environ=environ, salt=example.name))
    except RuleError as error:
        console.stderr().print(f"init: {error}", markup=False, highlight=False, soft_wrap=True)
        return error.exit_code
    settings = Settings.load(home, environ)
    steps = [["import", str(example / "tasks.jsonl")], ["connect", "--push", "--moved"]]
    if has_sources(settings):
        steps.append(["weak", "apply"])
    for words in steps:
        code = _loop(words, environ)
        left_out = words[0] == "weak" and code == InputError.exit_code  # it is told, and the other sources vote
        if code and not left_out:
            return code
    return 0 if pre_labels_in(settings) == NOBODY else _loop(["publish"], environ)


def _loop(words: Sequence[str], environ: Mapping[str, str]) -> int:
    return subprocess.run([sys.executable, "-m", "loop.cli", *words], env=dict(environ), check=False).returncode


def _home(environ: Mapping[str, str]) -> Path:
    if not environ.get("LOOP_HOME"):
        raise ConfigError("LOOP_HOME names the project's folder", value="nothing", next_step="Set it.")
    return Path(environ["LOOP_HOME"])


if __name__ == "__main__":
    sys.exit(main(os.environ))
