"""From nothing to ready, step by step; each step finds what an earlier run has done and does the rest."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import requests

from loop.up.children import Household
from loop.up.credentials import FILE_NAME, Credentials
from loop.up.environments import backend_environment, label_studio_environment, loop_environment
from loop.up.options import HOST, Options
from loop.up.project import EXAMPLE, has_model, make_project
from ner.errors import ConfigError

_NOT_PROMOTED = 8
_BOOT_SECONDS, _BACKEND_SECONDS = 900.0, 120.0


class Up:
    """One run of `scripts/up`; `say` hears each line of progress."""

    def __init__(
        self,
        options: Options,
        user: Credentials,
        household: Household,
        environ: Mapping[str, str],
        say: Callable[[str], None],
    ) -> None:
        self.options, self.user, self.household = options, user, household
        self._environ, self._say = environ, say
        self._begin = time.monotonic()

    def reach_ready(self) -> None:
        """The steps in order. Raises RuleError, ChildError among them, when one fails."""
        self.start_label_studio()
        made = make_project(self.options)
        self.await_label_studio()
        self.start_backend()
        self.connect(made)
        self.make_first_model()
        self.publish()
        self.start_service()

    def watch(self) -> None:
        """Return never; ChildError when a child ends by itself."""
        while True:
            self.household.check()
            time.sleep(0.5)

    def start_label_studio(self) -> None:
        """As a child, on its own folder."""
        first = not (self.options.data / "label-studio").exists()
        self.tell(f"Label Studio is starting{' for the first time, which takes a minute or two' if first else ''} ...")
        (self.options.data / "label-studio").mkdir(parents=True, exist_ok=True)
        program = str(Path(sys.executable).parent / "label-studio")
        words = [program, "start", "--no-browser", "--internal-host", HOST, "--port", str(self.options.port)]
        environ = label_studio_environment(self._environ, self.options, self.user)
        self.household.start("label-studio", words, environ)

    def await_label_studio(self) -> None:
        """Until it answers, and takes our key."""
        self.household.wait_until(lambda: _answers(f"{self.options.url}/health"), "Label Studio answers", _BOOT_SECONDS)
        headers = {"Authorization": f"Token {self.user.api_key}"}
        answer = requests.get(f"{self.options.url}/api/current-user/whoami", headers=headers, timeout=60)
        if answer.status_code == 401:
            raise ConfigError(
                f"Label Studio takes the key of {self.options.data / FILE_NAME}",
                value="401",
                next_step="Its folder was made with other credentials: restore them, or start anew with --data DIR.",
            )
        self.tell(f"Label Studio answers at {self.options.url}")

    def start_backend(self) -> None:
        """As a child; Label Studio calls it while it is connected, so it must answer by then."""
        environ = backend_environment(self._environ, self.options)
        self.household.start("ml-backend", [sys.executable, "-m", "ml_backend"], environ)
        health = f"{self.options.backend_url}/health"
        self.household.wait_until(lambda: _answers(health), "the ML backend answers", _BACKEND_SECONDS)
        self.tell(f"ML backend answers at {self.options.backend_url}")

    def connect(self, made: bool) -> None:
        """Project, tasks, backend and webhook in Label Studio; what is there already is found."""
        if made:
            self.tell("importing the example ...")
        self.loop("import", str(EXAMPLE / "tasks.jsonl"))
        self.loop("connect", "--push", "--moved")
        self.tell("project, tasks and backend are connected")

    def make_first_model(self) -> None:
        """From the labelling functions' votes, when no model is in service yet."""
        if has_model(self.options):
            return
        self.tell("training a first model from the labelling functions, which takes a minute or a few ...")
        self.loop("label")
        self.loop("retrain", hear=self._pass_on)
        if self.loop("promote", good=(0, _NOT_PROMOTED)):
            self.tell("the first model was not promoted; `loop status` says why")
        else:
            self.tell("the first model is in service")

    def publish(self) -> None:
        """Pre-labels and the queue; nothing is sent that is there already."""
        if has_model(self.options):
            self.loop("publish")
            self.tell("tasks are pre-labelled and queued, the least certain first")

    def start_service(self) -> None:
        """`loop run`, which does all of this from now on."""
        self.household.start("loop", self._command("run"), loop_environment(self._environ, self.options, self.user))
        self.tell("the loop is running")

    def loop(self, *words: str, hear: Callable[[str], None] = lambda _: None, good: tuple[int, ...] = (0,)) -> int:
        """One command on the project, its output in the log `setup`."""
        environ = loop_environment(self._environ, self.options, self.user)
        return self.household.run("setup", self._command(*words), environ, hear=hear, good=good)

    def tell(self, line: str) -> None:
        """A line of progress, with the seconds since the start."""
        self._say(f"[{time.monotonic() - self._begin:4.0f} s] {line}")

    def _pass_on(self, line: str) -> None:
        """What a command says, but for what it would have a person do next: that is done here."""
        if line and not line.startswith("Next:"):
            self.tell(f"  {line}")

    def _command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "loop.cli", "-C", str(self.options.project), *words]


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False
