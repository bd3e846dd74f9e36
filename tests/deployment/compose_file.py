"""docker-compose.yml, .env.example and the Dockerfile, read for the tests."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml
from dockerfile_parse import DockerfileParser

ROOT = Path(__file__).parents[2]
COMPOSE, ENV_EXAMPLE, DOCKERFILE = ROOT / "docker-compose.yml", ROOT / ".env.example", ROOT / "Dockerfile"
# ${NAME} or ${NAME:-default}, as compose replaces them.
VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
OWN_IMAGES = {"ner-annotation-loop/serve": "serve", "ner-annotation-loop/loop": "loop"}


def compose() -> dict[str, Any]:
    """The file as YAML, its anchors merged, its variables as they are written."""
    return dict(yaml.safe_load(COMPOSE.read_text("utf-8")))


def services() -> dict[str, dict[str, Any]]:
    """Every service by its name."""
    return dict(compose()["services"])


def with_defaults(written: str) -> str:
    """The text with the default of each variable in its place."""
    return VARIABLE.sub(lambda found: found[2] or "", written)


def target_of(service: dict[str, Any]) -> str | None:
    """The target of our Dockerfile that a service runs; None for somebody else's image."""
    return OWN_IMAGES.get(service["image"].split(":")[0])


def is_one_shot(service: dict[str, Any]) -> bool:
    """Whether the service does its work and ends."""
    return service["restart"] == "no"


def mounts(service: dict[str, Any]) -> list[tuple[str, str, bool]]:
    """(source, path in the container, whether it is read-only) of each mount."""
    found = []
    for line in service.get("volumes", []):
        source, path, *mode = line.split(":")
        found.append((source, path, mode == ["ro"]))
    return found


def env_example() -> dict[str, str]:
    """The variables of .env.example, in its order."""
    lines = (line for line in ENV_EXAMPLE.read_text("utf-8").splitlines() if line and not line.startswith("#"))
    return dict(line.split("=", 1) for line in lines)


def stages() -> dict[str, list[dict[str, str]]]:
    """The instructions of each stage of the Dockerfile, by the stage's name."""
    found: dict[str, list[dict[str, str]]] = {}
    for step in DockerfileParser(fileobj=DOCKERFILE.open("rb")).structure:
        if step["instruction"] == "FROM":
            found[step["value"].split()[-1]] = []
        if found:
            list(found.values())[-1].append(step)
    return found


def image_steps(target: str) -> list[dict[str, str]]:
    """The instructions that an image is made of: those of its stage and of the stages that it is built upon."""
    steps = stages()[target]
    parent = steps[0]["value"].split()[0]
    return [*(image_steps(parent) if parent in stages() else []), *steps]
