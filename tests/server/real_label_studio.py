"""A real Label Studio on this machine, for tests: a migrated data folder, a free port, stop and start again."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import requests

PASSWORD = "a-password-for-tests"


@dataclass(frozen=True)
class Annotator:
    """A user that can log in and has a legacy token."""

    email: str
    token: str
    password: str = PASSWORD


FIRST = Annotator("one@loop.test", "0" * 39 + "1")
SECOND = Annotator("two@loop.test", "0" * 39 + "2")

_ENVIRONMENT = {
    "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
    "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
    "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
    "LABEL_STUDIO_SENTRY_DSN": "",
    "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
    "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "false",
    "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "false",
}


def make_template(folder: Path) -> Path:
    """A data folder with the migrations run and two users in it, at `folder`: whole or not there (about a minute).

    Sessions that begin at once wait for the one that makes it.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with folder.with_name(f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return folder if folder.is_dir() else _made(folder)


def _made(folder: Path) -> Path:
    with tempfile.TemporaryDirectory(prefix="label-studio-", ignore_cleanup_errors=True) as fast:
        for user in (FIRST, SECOND):
            words = ["init", "-q", "--username", user.email, "--password", user.password, "--user-token", user.token]
            command = [*_program(), *words]
            environ = _environment(Path(fast))
            subprocess.run(command, env=environ, cwd=fast, check=True, capture_output=True, timeout=600)
        building = folder.with_name(f".{folder.name}.building")
        shutil.rmtree(building, ignore_errors=True)
        shutil.copytree(fast, building)
    return building.rename(folder)


def _program() -> list[str]:
    return [str(Path(sys.executable).parent / "label-studio")]


def _environment(data_dir: Path) -> dict[str, str]:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("LABEL_STUDIO_")}
    return {**inherited, **_ENVIRONMENT, "LABEL_STUDIO_BASE_DATA_DIR": str(data_dir)}


def free_port() -> int:
    """A port that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass
class RealLabelStudio:
    """One server process on its own data folder; `stop` and `start` keep the port and the data."""

    data_dir: Path
    port: int = field(default_factory=free_port)
    first: Annotator = FIRST
    second: Annotator = SECOND
    process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        """Start the server and return once it answers."""
        log = (self.data_dir / "server.log").open("ab")
        words = ["start", "--no-browser", "--internal-host", "127.0.0.1", "--port", str(self.port)]
        with log:
            self.process = subprocess.Popen(
                [*_program(), *words],
                env=_environment(self.data_dir),
                cwd=self.data_dir,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._wait()

    def stop(self) -> None:
        """Stop the server at once, as an operator's restart would."""
        if self.process is not None:
            self.process.terminate()
            try:
                self.process.wait(10)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait(10)
            self.process = None

    def _wait(self, seconds: float = 180.0) -> None:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if self.process is None or self.process.poll() is not None:
                raise RuntimeError(f"Label Studio ended while starting: {self._last_words()}")
            try:
                if requests.get(f"{self.url}/health", timeout=2).ok:
                    return
            except requests.RequestException:
                pass
            time.sleep(0.2)
        raise RuntimeError(f"Label Studio did not answer within {seconds:.0f} s: {self._last_words()}")

    def _last_words(self) -> str:
        return (self.data_dir / "server.log").read_text("utf-8", "replace")[-2000:]
