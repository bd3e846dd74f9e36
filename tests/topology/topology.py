"""The services of a compose file as processes of this machine: what `docker compose up` would do, without an engine."""

from __future__ import annotations

import hashlib
import os
import pwd
import signal
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.topology.compose import Mount, Service, read_compose
from tests.topology.container import Bind, Container, Identity
from tests.topology.images import REPOSITORY, Image, image_of
from tests.topology.network import Network

# Shorter than the intervals of the health checks, so that nothing waits for long.
_POLL_SECONDS = 0.7
_LINES = 40


class TopologyError(AssertionError):
    """A service did not do what the compose file promises; the message ends with its log."""


@dataclass
class Topology:
    """Started services in one network.

    replicas: how many of a service; one where it is not named. before: what is done before a service starts. instead:
    folders of this machine in place of what an image has at a path.
    """

    folder: Path
    network: Network
    environ: Mapping[str, str] = field(default_factory=dict)
    replicas: Mapping[str, int] = field(default_factory=dict)
    compose_file: Path = REPOSITORY / "docker-compose.yml"
    before: dict[str, Callable[[], object]] = field(default_factory=dict)
    instead: Mapping[str, Path] = field(default_factory=dict)
    containers: dict[str, Container] = field(default_factory=dict)

    def __post_init__(self) -> None:
        every = read_compose(self.compose_file, self.environ)
        self.services = {name: service for name, service in every.items() if not service.profiles}
        self._owned: set[Path] = set()
        for service in self.services.values():
            number = self.replicas.get(service.name, 1)
            for place in range(1, number + 1):
                self.add(service, f"{service.name}-{place}" if number > 1 else service.name)
        self._write_hosts()

    def __getitem__(self, name: str) -> Container:
        return self.containers[name]

    def address(self, name: str) -> str:
        """The address of a service or a replica."""
        return self.containers[name].member.address

    def add(self, service: Service, name: str, words: Sequence[str] | None = None) -> Container:
        """A container of the service under another name, with another command where one is given."""
        image = image_of(service, REPOSITORY / "Dockerfile")
        identity = _identity(service, image)
        container = Container(
            name=name,
            member=self.network.member(),
            words=words or _command(service, image),
            environment={**image.environment, **service.environment},
            identity=identity,
            folder=self.folder / "containers" / name,
            binds=[
                *self._replaced(image.binds),
                *self._etc(identity),
                *(self._bind(mount, identity) for mount in service.mounts),
            ],
            tmpfs=[*service.tmpfs, *([] if service.read_only else ["/tmp"])],
            read_only=service.read_only,
            work_dir=image.work_dir,
            hostname=service.hostname or hashlib.sha256(name.encode()).hexdigest()[:12],
            stop_signal=signal.Signals[service.stop_signal or image.stop_signal],
        )
        self.containers[name] = container
        return container

    def up(self, seconds: float = 480.0) -> None:
        """Start every service as soon as its conditions hold; return when each is healthy, or has ended well."""
        waiting, settled = list(self.services), set[str]()
        deadline = time.monotonic() + seconds
        while len(settled) < len(self.services):
            for name in [name for name in waiting if self._may_start(self.services[name], settled)]:
                waiting.remove(name)
                self.before.get(name, lambda: None)()
                for container in self.of(name):
                    container.start()
            self.check()
            settled |= {name for name in self.services.keys() - settled - set(waiting) if self.is_settled(name)}
            if time.monotonic() > deadline:
                late = sorted(self.services.keys() - settled)
                raise TopologyError(f"not ready after {seconds:.0f} s: {late}\n" + self.logs(late))
            time.sleep(_POLL_SECONDS)

    def down(self) -> None:
        """End every process."""
        for container in reversed(self.containers.values()):
            container.kill()

    def of(self, name: str) -> list[Container]:
        """The containers of a service."""
        number = self.replicas.get(name, 1)
        return [self.containers[f"{name}-{place}"] for place in range(1, number + 1)] if number > 1 else [self[name]]

    def is_settled(self, name: str) -> bool:
        """Whether the service is healthy, or runs where it has no health check, or is a one-shot that ended well."""
        if self._is_one_shot(name):
            return all(container.exit_code == 0 for container in self.of(name))
        return self._started(name) and all(self.is_healthy(container) for container in self.of(name))

    def is_healthy(self, container: Container) -> bool:
        """What the service's health check says; true without a check."""
        health = next(self.services[name].health for name in self.services if container in self.of(name))
        if health is None:
            return True
        try:
            return container.run(health.test, health.timeout).returncode == 0
        except (subprocess.TimeoutExpired, IndexError):  # no process is there yet
            return False

    def check(self) -> None:
        """Raise TopologyError for a service that has ended and should not have."""
        for name in self.services:
            for container in self.of(name):
                code = container.exit_code if self._started(name) else None
                if code is not None and not (code == 0 and self._is_one_shot(name)):
                    raise TopologyError(f"{container.name} ended with {code}:\n" + self.logs([name]))

    def wait_until(self, holds: Callable[[], Any], what: str, seconds: float) -> None:
        """Ask again and again until it holds. Raises TopologyError after `seconds`, and when a service ends."""
        deadline = time.monotonic() + seconds
        while not holds():
            self.check()
            if time.monotonic() > deadline:
                raise TopologyError(f"{what}: not within {seconds:.0f} s\n" + self.logs(self.services))
            time.sleep(_POLL_SECONDS)

    def logs(self, names: Sequence[str] | Mapping[str, Any]) -> str:
        """The ends of the services' logs."""
        parts = []
        for name in names:
            for container in self.of(name):
                last = "\n".join(container.log.splitlines()[-_LINES:])
                parts.append(f"--- {container.name}\n{last}")
        return "\n".join(parts)

    def volume(self, name: str) -> Path:
        """The folder that stands for a named volume."""
        return self.folder / "volumes" / name

    def _started(self, name: str) -> bool:
        return all(container.has_started for container in self.of(name))

    def _is_one_shot(self, name: str) -> bool:
        conditions = [service.depends_on.get(name) for service in self.services.values()]
        return "service_completed_successfully" in conditions

    def _may_start(self, service: Service, settled: set[str]) -> bool:
        return all(
            name in settled or (condition == "service_started" and self._started(name))
            for name, condition in service.depends_on.items()
        )

    def _write_hosts(self) -> None:
        lines = ["127.0.0.1 localhost"]
        for name, service in self.services.items():
            names = " ".join((name, *service.aliases))
            lines += [f"{container.member.address} {names} {container.name}" for container in self.of(name)]
        (self.folder / "hosts").write_text("\n".join(lines) + "\n")

    def _etc(self, identity: Identity) -> list[Bind]:
        """Names of hosts and of the user, as an engine and the image would have them."""
        hosts, passwd = self.folder / "hosts", self.folder / f"passwd-{identity.uid}"
        hosts.touch()
        known = Path("/etc/passwd").read_text("utf-8")
        if not any(int(line.split(":")[2]) == identity.uid for line in known.splitlines()):
            known += f"service:x:{identity.uid}:{identity.gid}::/:/usr/sbin/nologin\n"
        passwd.write_text(known)
        return [Bind(hosts, "/etc/hosts", read_only=True), Bind(passwd, "/etc/passwd", read_only=True)]

    def _replaced(self, binds: Iterable[Bind]) -> Iterator[Bind]:
        for bind in binds:
            yield Bind(self.instead.get(bind.target, bind.source), bind.target, bind.read_only)

    def _bind(self, mount: Mount, identity: Identity) -> Bind:
        if not mount.is_volume:
            return Bind((self.compose_file.parent / mount.source).resolve(), mount.target, mount.read_only)
        folder = self.volume(mount.source)
        folder.mkdir(parents=True, exist_ok=True)
        if folder not in self._owned:
            # A new volume takes over the owner of the image's folder, which is the image's user.
            os.chown(folder, identity.uid, identity.gid)
            self._owned.add(folder)
        return Bind(folder, mount.target, mount.read_only)


def _command(service: Service, image: Image) -> tuple[str, ...]:
    """An entrypoint of the compose file takes the place of the image's, and of the image's command."""
    if service.entrypoint is not None:
        return (*service.entrypoint, *(service.command or ()))
    return (*image.entrypoint, *(service.command or image.command))


def _identity(service: Service, image: Image) -> Identity:
    user, _, group = (service.user or image.user).partition(":")
    uid = int(user) if user.isdigit() else pwd.getpwnam(user).pw_uid
    gid = int(group) if group.isdigit() else _group_of(user)
    return Identity(uid, gid, service.capabilities)


def _group_of(user: str) -> int:
    if not user.isdigit():
        return pwd.getpwnam(user).pw_gid
    try:
        return pwd.getpwuid(int(user)).pw_gid
    except KeyError:
        return 0
