"""`docker-compose.yml` as dataclasses: what of it decides how a service's process runs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$(?:\$|(\w+)|\{(\w+)(?:(:?[-?+])([^}]*))?\})")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}


@dataclass(frozen=True)
class Mount:
    """A volume by name, or a path of the host, and where the container has it."""

    source: str
    target: str
    read_only: bool = False

    @property
    def is_volume(self) -> bool:
        return not self.source.startswith(("/", "."))


@dataclass(frozen=True)
class HealthCheck:
    """`test` is the command; times are seconds."""

    test: tuple[str, ...]
    timeout: float


@dataclass(frozen=True)
class Service:
    """One service, with everything that its process can see."""

    name: str
    image: str
    target: str
    entrypoint: tuple[str, ...] | None
    command: tuple[str, ...] | None
    environment: Mapping[str, str]
    user: str | None
    mounts: tuple[Mount, ...]
    tmpfs: tuple[str, ...]
    read_only: bool
    hostname: str | None
    stop_signal: str | None
    capabilities: frozenset[str]
    health: HealthCheck | None
    depends_on: Mapping[str, str] = field(default_factory=dict)
    profiles: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


def read_compose(path: Path, environ: Mapping[str, str]) -> dict[str, Service]:
    """The services by name, the variables replaced by `environ` or by their defaults."""
    whole = _interpolated(yaml.safe_load(path.read_text("utf-8")), environ)
    files = {name: str(secret["file"]) for name, secret in (whole.get("secrets") or {}).items() if "file" in secret}
    return {name: _service(name, given, files) for name, given in whole["services"].items()}


def read_env_file(path: Path) -> dict[str, str]:
    """The variables that an env file sets."""
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    pairs = (line.partition("=") for line in lines if line and not line.startswith("#"))
    return {name.strip(): value.strip().strip("\"'") for name, _, value in pairs}


def _service(name: str, given: Mapping[str, Any], secret_files: Mapping[str, str]) -> Service:
    build = given.get("build") or {}
    secrets = [_secret(one, secret_files) for one in given.get("secrets") or ()]
    return Service(
        name=name,
        image=str(given.get("image", "")),
        target=str(build.get("target", "")) if isinstance(build, dict) else "",
        entrypoint=_words(given.get("entrypoint")),
        command=_words(given.get("command")),
        environment=_environment(given.get("environment") or {}),
        user=None if given.get("user") is None else str(given["user"]),
        mounts=(*(_mount(one) for one in given.get("volumes") or ()), *secrets),
        tmpfs=tuple(one.partition(":")[0] for one in _list(given.get("tmpfs"))),
        read_only=bool(given.get("read_only", False)),
        hostname=given.get("hostname"),
        stop_signal=given.get("stop_signal"),
        capabilities=_capabilities(given),
        health=_health(given.get("healthcheck")),
        depends_on=_depends_on(given.get("depends_on") or {}),
        profiles=tuple(given.get("profiles") or ()),
        aliases=_aliases(given.get("networks")),
    )


def _interpolated(value: Any, environ: Mapping[str, str]) -> Any:
    if isinstance(value, dict):
        return {key: _interpolated(one, environ) for key, one in value.items()}
    if isinstance(value, list):
        return [_interpolated(one, environ) for one in value]
    return _VARIABLE.sub(lambda found: _value(found, environ), value) if isinstance(value, str) else value


def _value(found: re.Match[str], environ: Mapping[str, str]) -> str:
    plain, braced, operator, word = found.groups()
    name = plain or braced
    if name is None:
        return "$"
    value = environ.get(name)
    is_set = bool(value) if operator and operator.startswith(":") else value is not None
    if operator and operator.endswith("+"):
        return word if is_set else ""
    if is_set:
        return value or ""
    if operator and operator.endswith("?"):
        raise ValueError(f"the compose file needs {name}: {word}")
    return word or ""


def _words(value: Any) -> tuple[str, ...] | None:
    if value is None:
        return None
    return tuple(shlex.split(value)) if isinstance(value, str) else tuple(str(word) for word in value)


def _environment(given: Any) -> dict[str, str]:
    pairs = (one.partition("=")[::2] for one in given) if isinstance(given, list) else given.items()
    return {name: _scalar(value) for name, value in pairs if value is not None}


def _scalar(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)


def _list(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value or ())


def _mount(given: Any) -> Mount:
    if isinstance(given, str):
        source, target, *options = given.split(":")
        return Mount(source, target, "ro" in ",".join(options).split(","))
    return Mount(str(given["source"]), str(given["target"]), bool(given.get("read_only", False)))


def _secret(given: Any, files: Mapping[str, str]) -> Mount:
    source = given if isinstance(given, str) else given["source"]
    target = source if isinstance(given, str) else given.get("target", source)
    return Mount(files[source], target if target.startswith("/") else f"/run/secrets/{target}", read_only=True)


def _capabilities(given: Mapping[str, Any]) -> frozenset[str]:
    """What is added again after everything was dropped; a service that drops nothing keeps a container's usual ones."""
    usual = {"chown", "dac_override", "fowner", "fsetid", "kill", "setgid", "setuid", "setpcap", "net_bind_service"}
    dropped = {one.lower() for one in given.get("cap_drop") or ()}
    kept = set() if "all" in dropped else usual - dropped
    return frozenset(kept | {one.lower() for one in given.get("cap_add") or ()})


def _health(given: Mapping[str, Any] | None) -> HealthCheck | None:
    if not given or given.get("disable"):
        return None
    test = given["test"]
    kind, *words = ("CMD-SHELL", test) if isinstance(test, str) else test
    words = ["/bin/sh", "-c", *words] if kind == "CMD-SHELL" else words
    return HealthCheck(tuple(words), _seconds(given.get("timeout", "30s")))


def _seconds(written: Any) -> float:
    found = re.findall(r"([\d.]+)(ms|s|m|h)", str(written))
    return sum(float(number) * _SECONDS[unit] for number, unit in found)


def _depends_on(given: Any) -> dict[str, str]:
    if isinstance(given, list):
        return dict.fromkeys(given, "service_started")
    return {name: str(one.get("condition", "service_started")) for name, one in given.items()}


def _aliases(given: Any) -> tuple[str, ...]:
    """The further names of a service in its networks."""
    networks = given.values() if isinstance(given, dict) else ()
    return tuple(alias for one in networks for alias in (one or {}).get("aliases") or ())
