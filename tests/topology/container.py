"""One process as a container engine would start it, without an engine.

The process has its own network, mounts, host name and process ids. Its root file system is an empty tmpfs with this
machine's programs, mounted read-only, in place of an image. It is PID 1, and it has the user and the capabilities that
the compose file gives. Nothing else of this machine can be seen from it.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.topology.network import Member

_SYSTEM = ("bin", "lib", "lib64", "sbin", "usr", "etc")
_DEVICES = ("null", "zero", "full", "random", "urandom")
_START_SECONDS = 20.0


@dataclass(frozen=True)
class Bind:
    """A path of this machine at a path of the container."""

    source: Path
    target: str
    read_only: bool = False


@dataclass(frozen=True)
class Identity:
    """The user and the group, by number, and the capabilities that the process may have or gain."""

    uid: int
    gid: int
    capabilities: frozenset[str] = frozenset()

    def setpriv(self) -> list[str]:
        """The command line that becomes this user."""
        kept = ",".join(["-all", *(f"+{name}" for name in sorted(self.capabilities))])
        who = ["--reuid", str(self.uid), "--regid", str(self.gid), "--clear-groups"]
        return ["setpriv", *who, "--bounding-set", kept, "--inh-caps", "-all", "--no-new-privs"]


@dataclass
class Container:
    """One service, or one of its replicas. It keeps address and volumes from one start to the next."""

    name: str
    member: Member
    words: Sequence[str]
    environment: Mapping[str, str]
    identity: Identity
    folder: Path
    binds: Sequence[Bind] = ()
    tmpfs: Sequence[str] = ("/tmp",)
    read_only: bool = False
    work_dir: str = "/"
    hostname: str = ""
    stop_signal: signal.Signals = signal.SIGTERM
    _engine: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def log(self) -> str:
        """Everything that the process has printed, over all its starts."""
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    @property
    def has_started(self) -> bool:
        """Whether the process was ever started; it may have ended since."""
        return self._engine is not None

    @property
    def exit_code(self) -> int | None:
        """None while the process runs."""
        return self._engine.poll() if self._engine is not None else None

    @property
    def pid(self) -> int:
        """The pid, as this machine counts, of the container's process."""
        assert self._engine is not None
        return psutil.Process(self._engine.pid).children()[0].pid

    def start(self) -> None:
        """Start the process."""
        self.folder.mkdir(parents=True, exist_ok=True)
        namespaces = ["--mount", "--uts", "--ipc", "--pid", "--fork", "--kill-child"]
        with self._log.open("ab") as log:
            self._engine = subprocess.Popen(
                ["nsenter", f"--net={self.member.namespace}", "unshare", *namespaces, "bash", "-c", self._script()],
                env={"PATH": os.environ["PATH"]},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def wait(self, seconds: float) -> int:
        """The exit code of a process that is meant to end."""
        assert self._engine is not None
        return self._engine.wait(seconds)

    def stop(self, seconds: float = 10.0) -> None:
        """What `docker stop` does: a signal, and a kill for a process that does not heed the signal."""
        if self._engine is None or self.exit_code is not None:
            return
        os.kill(self.pid, self.stop_signal)
        try:
            self._engine.wait(seconds)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """`kill -9`: the process and all that it started end at once."""
        if self._engine is not None and self.exit_code is None:
            os.kill(self.pid, signal.SIGKILL)
            self._engine.wait(10)

    def run(self, words: Sequence[str], timeout: float = 60.0) -> subprocess.CompletedProcess[str]:
        """What `docker exec` does: another process in the same container."""
        inside = ["--target", str(self.pid), "--mount", "--uts", "--ipc", "--net", "--pid", "--root"]
        command = [_which("nsenter"), *inside, f"--wdns={self.work_dir}", *self.identity.setpriv(), *words]
        return subprocess.run(
            command, env=dict(self.environment), capture_output=True, text=True, timeout=timeout, check=False
        )

    @property
    def _log(self) -> Path:
        return self.folder / "output.log"

    def _script(self) -> str:
        """The shell's commands that make the root file system and become the process."""
        root = self.folder / "root"
        lines = ["set -eu", f"hostname {shlex.quote(self.hostname or self.name)}", f"mkdir -p {root}"]
        lines += [f"mount -t tmpfs -o mode=755 tmpfs {root}", f"mkdir {root}/proc {root}/dev"]
        lines += [f"mount -t proc proc {root}/proc"]
        for name in _DEVICES:
            lines += [f"touch {root}/dev/{name}", f"mount --bind /dev/{name} {root}/dev/{name}"]
        lines += [f"ln -s /proc/self/fd {root}/dev/fd", *_tmpfs(root, "/dev/shm")]
        lines += [line for name in _SYSTEM for line in _system(root, name)]
        lines += [line for target in self.tmpfs for line in _tmpfs(root, target)]
        lines += [line for bind in self.binds for line in _bind(root, bind)]
        lines += [f"mkdir -p {root}{shlex.quote(self.work_dir)}"]
        lines += [f"mount -o remount,ro {root}"] if self.read_only else []
        given = [f"{name}={value}" for name, value in self.environment.items()]
        process = shlex.join([*self.identity.setpriv(), *self.words])
        become = f"cd {shlex.quote(self.work_dir)} && exec {process}"
        lines.append(f"exec chroot {root} /usr/bin/env -i {shlex.join(given)} /bin/sh -c {shlex.quote(become)}")
        return "\n".join(lines)


def _which(program: str) -> str:
    return next(f"{folder}/{program}" for folder in ("/usr/bin", "/bin") if Path(folder, program).exists())


def _system(root: Path, name: str) -> list[str]:
    source = Path("/", name)
    if source.is_symlink():
        return [f"ln -s {source.readlink()} {root}/{name}"]
    return _bind(root, Bind(source, f"/{name}", read_only=True)) if source.exists() else []


def _tmpfs(root: Path, target: str) -> list[str]:
    place = f"{root}{shlex.quote(target)}"
    return [f"mkdir -p {place}", f"mount -t tmpfs -o mode=1777 tmpfs {place}"]


def _bind(root: Path, bind: Bind) -> list[str]:
    source, place = shlex.quote(str(bind.source)), f"{root}{shlex.quote(bind.target)}"
    make_file = f"mkdir -p $(dirname {place}) && {{ [ -e {place} ] || touch {place}; }}"
    make = f"mkdir -p {place}" if bind.source.is_dir() else make_file
    lines = [make, f"mount --rbind {source} {place}"]
    return [*lines, f"mount -o remount,bind,ro {place}"] if bind.read_only else lines
