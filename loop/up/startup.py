"""From nothing to ready, step by step. Each step finds what an earlier `up` has done and does the rest."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import requests

from loop.settings.settings import Settings, sqlite_url
from loop.up.children import Children
from loop.up.options import HOST, Options
from loop.up.project import (
    CREDENTIALS,
    MODEL,
    NOBODY,
    Credentials,
    example_of,
    make_project,
    who_pre_labels,
)
from loop.weak.sources import has_sources
from ner.containers import with_variables
from ner.errors import ConfigError, InputError

_BOOT_SECONDS, _BACKEND_SECONDS = 900.0, 120.0
# Label Studio reads its settings from variables with and without its prefix: it would take our PORT for its own.
_NOT_FOR_LABEL_STUDIO = ("HOST", "PORT", "LOG_LEVEL", "DEBUG", "WORKERS", "THREADS", "MODEL_DIR", "SECRET_KEY")
_PREFIXES_NOT_FOR_LABEL_STUDIO = ("LABEL_STUDIO_", "HEARTEX_", "DJANGO_", "POSTGRE", "BASIC_AUTH_", "LOOP_")
# loop.toml of the project says these; a variable left over in the shell would point the commands elsewhere.
_NOT_FOR_THE_LOOP = ("LOOP_HOME", "LOOP_STORE_URL", "LOOP_STORE_URL_FILE", "MODEL_DIR", "MODEL_STORE", "PORT", "HOST")


class Startup:
    """One run of `scripts/up`; `say` gets each line of progress."""

    def __init__(
        self,
        options: Options,
        user: Credentials,
        children: Children,
        environ: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self.options, self.user, self.children = options, user, children
        self._environ, self._say = environ, say
        self._begin = time.monotonic()

    def reach_ready(self) -> None:
        """Take the steps in order. Raises RuleError (ChildError among them) when one of them fails."""
        self.start_label_studio()
        self.fill_project()
        self.start_backend()
        self.await_label_studio()
        self.connect()
        self.publish()
        self.children.start("loop", self.command("run"), loop_environment(self._environ, self.options, self.user))
        self.tell("the loop is running: ready")

    def watch(self) -> None:
        """Never returns. Raises ChildError when a child ends by itself."""
        while True:
            self.children.check()
            time.sleep(0.5)

    def start_label_studio(self) -> None:
        """Start Label Studio as a child, on its own folder."""
        folder = self.options.data / "label-studio"
        first = "" if folder.exists() else " for the first time, which takes a minute or two"
        self.tell(f"Label Studio is starting{first} ...")
        folder.mkdir(parents=True, exist_ok=True)
        program = str(Path(sys.executable).parent / "label-studio")
        words = [program, "start", "--no-browser", "--internal-host", HOST, "--port", str(self.options.port)]
        self.children.start("label-studio", words, label_studio_environment(self._environ, self.options, self.user))

    def fill_project(self) -> None:
        """Make the project, import its texts, and let the sources vote, while Label Studio is still starting."""
        if make_project(self.options):
            self.tell("importing the example ...")
        self.loop("import", str(example_of(self.options) / "tasks.jsonl"))
        if has_sources(Settings.load(self.options.project, {})):
            left_out = self.loop("weak", "apply", allowed=(0, InputError.exit_code))
            but = f"; some were left out, as {self.children.log('setup')} says" if left_out else ""
            self.tell(f"the sources of weak labels have voted{but}")

    def await_label_studio(self) -> None:
        """Wait until Label Studio answers, and check that it takes our key."""
        self._await(self.options.url, "Label Studio", _BOOT_SECONDS)
        headers = {"Authorization": f"Token {self.user.api_key}"}
        answer = requests.get(f"{self.options.url}/api/current-user/whoami", headers=headers, timeout=60)
        if answer.status_code == 401:
            raise ConfigError(
                f"Label Studio takes the key of {self.options.data / CREDENTIALS}",
                value="401",
                next_step="Its folder was made with other credentials: restore them, or start anew with --data DIR.",
            )

    def start_backend(self) -> None:
        """Start the ML backend as a child. It must answer before it is connected: Label Studio calls it then."""
        environ = backend_environment(self._environ, self.options)
        self.children.start("ml-backend", [sys.executable, "-m", "ml_backend"], environ)
        self._await(self.options.backend_url, "the ML backend", _BACKEND_SECONDS)

    def connect(self) -> None:
        """Make project, tasks, backend and webhook in Label Studio, as far as they are not there yet."""
        self.loop("connect", "--push", "--moved")
        self.tell("project, tasks and backend are connected")

    def publish(self) -> None:
        """Let the model in service pre-label or, before there is one, the agreed votes. Training comes later."""
        who = who_pre_labels(self.options)
        if who == NOBODY:
            self.tell("nothing pre-labels yet: a first model is trained from what people label")
            return
        self.loop("publish")
        by = "the model in service" if who == MODEL else "the agreed votes"
        self.tell(f"tasks are pre-labelled by {by}, the least certain first")
        if who != MODEL:
            self.tell("the loop trains a first model, which has to beat the votes")

    def loop(self, *words: str, allowed: Sequence[int] = (0,)) -> int:
        """Run one command on the project, its output in the log `setup`; gives its exit code, one of `allowed`."""
        environ = loop_environment(self._environ, self.options, self.user)
        return self.children.run("setup", self.command(*words), environ, allowed=allowed)

    def command(self, *words: str) -> list[str]:
        """`loop -C PROJECT WORDS...`, as a command line."""
        return [sys.executable, "-m", "loop.cli", "-C", str(self.options.project), *words]

    def tell(self, line: str) -> None:
        """Say a line of progress, with the seconds since the start."""
        self._say(f"[{time.monotonic() - self._begin:4.0f} s] {line}")

    def _await(self, url: str, who: str, seconds: float) -> None:
        remind = partial(self.tell, f"{who} does not answer yet; it is still starting")
        self.children.wait_until(lambda: _answers(f"{url}/health"), f"{who} answers", seconds, remind=remind)
        self.tell(f"{who} answers at {url}")


def label_studio_environment(environ: Mapping[str, str], options: Options, user: Credentials) -> dict[str, str]:
    """For Label Studio: no browser, this machine alone, nothing phoned home, a backend on this machine allowed."""
    kept = _without(environ, *_NOT_FOR_LABEL_STUDIO, prefixes=_PREFIXES_NOT_FOR_LABEL_STUDIO)
    return kept | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(options.data / "label-studio"),
        "LABEL_STUDIO_HOST": options.url,
        "LABEL_STUDIO_USERNAME": user.user,
        "LABEL_STUDIO_PASSWORD": user.password,
        "LABEL_STUDIO_USER_TOKEN": user.api_key,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_SENTRY_DSN": "",
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
        "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "false",
        "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "false",
    }


def loop_environment(environ: Mapping[str, str], options: Options, user: Credentials) -> dict[str, str]:
    """For commands on the project; loop.toml holds the rest of their settings."""
    kept = _without(environ, *_NOT_FOR_THE_LOOP)
    return with_variables(kept, {"LABEL_STUDIO_URL": options.url, "LABEL_STUDIO_API_KEY": user.api_key})


def backend_environment(environ: Mapping[str, str], options: Options) -> dict[str, str]:
    """For the ML backend, which reads its settings from the environment alone."""
    kept = _without(environ, *_NOT_FOR_THE_LOOP, "LABEL_STUDIO_API_KEY", "LABEL_STUDIO_API_KEY_FILE")
    return kept | {
        "LOOP_STORE_URL": sqlite_url(options.project / "loop.db"),
        "MODEL_DIR": str(options.project / "models"),
        "HOST": HOST,
        "PORT": str(options.backend_port),
    }


def _without(environ: Mapping[str, str], *names: str, prefixes: tuple[str, ...] = ()) -> dict[str, str]:
    return {key: value for key, value in environ.items() if key not in names and not key.startswith(prefixes)}


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False
