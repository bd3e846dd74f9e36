"""The services of docker-compose.yml, run from the built images beside a Label Studio and a PostgreSQL of this machine.

Commands, variables, users and volumes are those that `docker-compose config` prints. The run has a network and mounts
of its own (unshare), in which the services have the names that the file gives them, at 127.0.0.1.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil
import yaml

from loop.settings.toml_text import with_values
from scripts.images.buildah import ROOT, Buildah

_HOSTS = "127.0.0.1 localhost postgres label-studio backend.loop.internal\n"
_OURS = 10001
# No text of the example: a held-out text would get no pre-label.
_TEXT = "Melt 80 g of butter in the frying pan, then add two onions and the flour."


@dataclass(frozen=True)
class Figures:
    """What was seen of the running images: seconds, and MB of PSS. `loop` ran one cycle with a training."""

    start_seconds: float
    backend_memory: float
    backend_user: int
    backend_capabilities: str
    cycle_seconds: float
    loop_memory: float
    loop_user: int
    loop_capabilities: str
    spans: int

    def rows(self) -> list[str]:
        """Rows of the table, serve and loop."""
        cycle = f"one cycle with a training, {self.cycle_seconds:.0f} s"
        return [
            f"| start | {self.start_seconds:.1f} s until /health answers | {cycle} |",
            f"| memory (PSS) | {self.backend_memory:.0f} MB at rest with a model | {self.loop_memory:.0f} MB at most |",
            f"| user as run | {self.backend_user} | {self.loop_user} |",
            f"| effective capabilities as run | {self.backend_capabilities} | {self.loop_capabilities} |",
        ]

    def broken(self) -> list[str]:
        """The promises that are not kept."""
        promises = {
            "both run as a user without rights": {self.backend_user, self.loop_user} == {_OURS},
            "neither has a capability": {int(self.backend_capabilities, 16), int(self.loop_capabilities, 16)} == {0},
            "the backend finds spans with the model of the cycle": self.spans > 0,
        }
        return [promise for promise, kept in promises.items() if not kept]


def run_team(buildah: Buildah) -> Figures:
    """Run everything in a network and mounts of its own. Raises CalledProcessError."""
    for target in ("serve", "loop"):
        buildah.container(target)
    words = [
        "unshare",
        "--net",
        "--mount",
        sys.executable,
        "-m",
        "scripts.images.team",
        str(buildah.work),
        buildah.driver,
    ]
    answer = subprocess.run(words, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True).stdout
    return Figures(**json.loads(answer.splitlines()[-1]))


class Team:
    """The services, from the compose file."""

    def __init__(self, buildah: Buildah) -> None:
        self.buildah = buildah
        self.folder = Path(tempfile.mkdtemp(prefix="check-images-"))
        self.folder.chmod(0o755)
        self.hosts = self.folder / "hosts"
        self.hosts.write_text(_HOSTS)
        words = ["docker-compose", "--env-file", ".env.example", "config"]
        config = subprocess.run(
            words, cwd=ROOT, check=True, stdout=subprocess.PIPE, env=dict(os.environ) | {"EXAMPLE": "kitchen"}
        )
        self.services: Mapping[str, Any] = yaml.safe_load(config.stdout)["services"]

    def volume(self, name: str) -> Path:
        """The folder that stands in for a named volume; it has the owner that the images give it."""
        path = self.folder / "volumes" / name
        if not path.exists():
            path.mkdir(parents=True)
            os.chown(path, _OURS, _OURS)
        return path

    def words(self, service: str) -> list[str]:
        """The command line that runs a service's command in its image."""
        said = self.services[service]
        options = [f"--user={said['user']}", "--cap-drop=all", "--no-hosts", f"--volume={self.hosts}:/etc/hosts:ro"]
        options += [f"--env={name}={value}" for name, value in said.get("environment", {}).items()]
        for written in said.get("volumes", ()):
            source, target, *mode = written.split(":")
            place = source if source.startswith("/") else str(self.volume(source))
            options.append(f"--volume={place}:{target}:{mode[0] if mode else 'rw'}")
        container = f"check-{said['build']['target']}"
        return self.buildah.words("run", "--isolation", "chroot", *options, container, "--", *said["command"])

    def run(self, service: str) -> None:
        """Run a service that ends."""
        subprocess.run(self.words(service), check=True, stdout=sys.stderr)

    @contextmanager
    def process(self, words: list[str], log: str, **options: Any) -> Iterator[subprocess.Popen[bytes]]:
        """A process that stays until the block ends; its output is a log in the folder."""
        with (self.folder / log).open("wb") as sink:
            child = subprocess.Popen(words, stdout=sink, stderr=subprocess.STDOUT, **options)
        try:
            yield child
        finally:
            if child.poll() is None:
                for process in [*psutil.Process(child.pid).children(recursive=True), child]:
                    process.send_signal(signal.SIGTERM)
                child.wait(60)

    @contextmanager
    def postgres(self) -> Iterator[None]:
        """Debian's PostgreSQL, with the databases that the image would make."""
        programs = max(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: float(path.parent.name))
        data = self.folder / "postgres"
        data.mkdir()
        shutil.chown(data, "postgres", "postgres")
        as_postgres = ["setpriv", "--reuid=postgres", "--regid=postgres", "--clear-groups"]
        subprocess.run(
            [*as_postgres, programs / "initdb", "-D", data, "-E", "UTF8"], check=True, stdout=subprocess.DEVNULL
        )
        with (data / "pg_hba.conf").open("a") as rules:
            rules.write("host all all all scram-sha-256\n")
        with self.process([*as_postgres, str(programs / "postgres"), "-D", str(data), "-k", str(data)], "postgres.log"):
            ready = [str(programs / "pg_isready"), "-h", str(data), "-q"]
            wait_until(lambda: subprocess.run(ready).returncode == 0, "PostgreSQL")
            environ = {
                "PGHOST": str(data),
                "POSTGRES_USER": "postgres",
                "SECRETS_FOLDER": str(self.volume("secrets-postgres")),
            }
            script = [*as_postgres, str(ROOT / "compose" / "databases.sh")]
            subprocess.run(script, env=dict(os.environ) | environ, check=True)
            yield

    @contextmanager
    def label_studio(self) -> Iterator[None]:
        """The released package, as the image's entry point starts it."""
        said = {name: str(value) for name, value in self.services["label-studio"]["environment"].items()}
        said |= {"LABEL_STUDIO_BASE_DATA_DIR": str(self.folder / "label-studio"), "HOME": str(self.folder)}
        inject = self.volume("secrets-label-studio") / "environment"
        program = Path(sys.executable).parent / "label-studio"
        words = ["/bin/sh", "-c", f". {inject}; exec {program}"]
        environ = {name: os.environ[name] for name in ("PATH", "LANG") if name in os.environ} | said
        with self.process(words, "label-studio.log", env=environ, cwd=self.folder):
            wait_until(lambda: answers("http://127.0.0.1:8080/health"), "Label Studio")
            yield


def measure(team: Team) -> Figures:
    """One run of everything."""
    team.run("secrets")
    with team.postgres(), team.label_studio():
        begin = time.monotonic()
        with team.process(team.words("backend"), "backend.log") as backend:
            wait_until(lambda: answers("http://127.0.0.1:9090/health"), "the ML backend")
            start = time.monotonic() - begin
            team.run("init")
            config = team.volume("project") / "kitchen" / "loop.toml"
            config.write_text(with_values(config.read_text("utf-8"), {"promotion.first_model": "gates"}), "utf-8")
            begin = time.monotonic()
            with team.process([*team.words("loop"), "--once"], "loop.log") as cycle:
                most, loop_user, loop_capabilities = watch(cycle)
            if cycle.returncode:
                print((team.folder / "loop.log").read_text("utf-8"), file=sys.stderr)
            seconds = time.monotonic() - begin
            password = (team.volume("secrets-backend") / "backend_password").read_text("utf-8")
            wait_until(lambda: spans_of(password) > 0, "a pre-label")
            memory = pss(backend.pid)
            user, capabilities = standing(inner(backend.pid))
            found = spans_of(password)
    return Figures(start, memory, user, capabilities, seconds, most, loop_user, loop_capabilities, found)


def watch(cycle: subprocess.Popen[bytes]) -> tuple[float, int, str]:
    """(most memory, user, capabilities) of a command while it runs."""
    most, seen = 0.0, (-1, "f")
    while cycle.poll() is None:
        most = max(most, pss(cycle.pid))
        pid = inner(cycle.pid)
        seen = standing(pid) if pid is not None else seen
        time.sleep(0.5)
    return most, *seen


def containers_processes(pid: int) -> list[psutil.Process]:
    """The processes in the container that buildah's process `pid` runs: those of its user."""
    try:
        children = psutil.Process(pid).children(recursive=True)
        return [child for child in children if child.uids().real == _OURS]
    except psutil.NoSuchProcess:
        return []


def inner(pid: int) -> int | None:
    """The first process in the container."""
    return next((child.pid for child in containers_processes(pid)), None)


def pss(pid: int) -> float:
    """MB of every process in the container, shared pages counted once."""
    total = 0
    for child in containers_processes(pid):
        try:
            total += child.memory_full_info().pss
        except psutil.NoSuchProcess:
            continue
    return total / 1e6


def standing(pid: int | None) -> tuple[int, str]:
    """(user, effective capabilities in hexadecimal) of a process."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text("utf-8").splitlines()
    except OSError:
        return -1, "f"
    said = dict(line.split(":", 1) for line in lines)
    return int(said["Uid"].split()[1]), said["CapEff"].strip()


def spans_of(password: str) -> int:
    """Spans that `/predict` gives for one text."""
    task = {"tasks": [{"id": 10**6, "data": {"text": _TEXT}}], "project": "1.0"}
    login = base64.b64encode(f"label-studio:{password}".encode()).decode()
    headers = {"Content-Type": "application/json", "Authorization": f"Basic {login}"}
    request = urllib.request.Request("http://127.0.0.1:9090/predict", json.dumps(task).encode(), headers)
    with urllib.request.urlopen(request, timeout=30) as answer:
        return len(json.load(answer)["results"][0]["result"])


def answers(url: str) -> bool:
    """Whether the address answers with success."""
    try:
        with urllib.request.urlopen(url, timeout=5):
            return True
    except OSError:
        return False


def wait_until(holds: Callable[[], bool], what: str, seconds: float = 300) -> None:
    """Ask until it is true. Raises TimeoutError."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise TimeoutError(f"{what} within {seconds:.0f} s")
        time.sleep(0.1)


def main(work: Path, driver: str) -> None:
    """Inside the private network and mounts: print the figures as JSON."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that what was started is ended
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    team = Team(Buildah(work, driver))
    subprocess.run(["mount", "--bind", str(team.hosts), "/etc/hosts"], check=True)
    try:
        print(json.dumps(asdict(measure(team))))
    except BaseException:
        print(f"the logs are in {team.folder}", file=sys.stderr)
        raise
    shutil.rmtree(team.folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2])
