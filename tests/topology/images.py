"""What stands in for each image of the compose file: this environment's programs, under the image's own terms.

Images of this project: `USER`, `WORKDIR`, `ENV`, `ENTRYPOINT` and `CMD` are read from the Dockerfile; the packages are
those of this environment. Label Studio's image: the released package. The PostgreSQL image: Debian's programs. What the
images of others would do before their command stands in `stand_ins/`.
"""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.store import cluster
from tests.topology.compose import Service
from tests.topology.container import Bind

REPOSITORY = Path(__file__).parents[2]
APP = "/app"
_STAND_INS = Path(__file__).parent / "stand_ins"
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class Image:
    """What a container has of its image."""

    environment: Mapping[str, str] = field(default_factory=dict)
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    user: str = "root"
    work_dir: str = "/"
    binds: tuple[Bind, ...] = ()
    stop_signal: str = "SIGTERM"


def image_of(service: Service, dockerfile: Path) -> Image:
    """What stands in for the service's image."""
    if service.target:
        return _ours(dockerfile.read_text("utf-8"), service.target)
    if "label-studio" in service.image:
        return _label_studio()
    if "postgres" in service.image:
        return _postgres()
    return Image(environment={"PATH": _PATH})


def python_binds() -> tuple[Bind, ...]:
    """This environment's Python and packages, each at its own path."""
    wanted = {Path(sys.prefix), Path(sys.base_prefix), REPOSITORY, *(Path(one) for one in sys.path if one)}
    folders = sorted(folder for folder in wanted if folder.is_dir() and not folder.is_relative_to("/usr"))
    kept: list[Path] = []
    for folder in folders:
        if not any(folder.is_relative_to(one) for one in kept):
            kept.append(folder)
    return tuple(Bind(folder, str(folder), read_only=True) for folder in kept)


def _with_python(environment: Mapping[str, str]) -> dict[str, str]:
    path = environment.get("PATH", _PATH)
    return {**environment, "PATH": f"{sys.prefix}/bin:{path}", "PYTHONDONTWRITEBYTECODE": "1"}


def _label_studio() -> Image:
    data = "/label-studio/data"
    return Image(
        environment=_with_python({"HOME": "/label-studio", "LABEL_STUDIO_BASE_DATA_DIR": data}),
        entrypoint=("/label-studio/deploy/docker-entrypoint.sh",),
        command=("label-studio",),
        user="1001:0",
        work_dir="/label-studio",
        binds=(*python_binds(), _stand_in("label-studio-entrypoint.sh", "/label-studio/deploy/docker-entrypoint.sh")),
    )


def _postgres() -> Image:
    return Image(
        environment={"PATH": f"{_newest_postgresql()}:{_PATH}", "PGDATA": "/var/lib/postgresql/data"},
        entrypoint=("/opt/stand-ins/docker-entrypoint.sh",),
        command=("postgres",),
        binds=(_stand_in("postgres-entrypoint.sh", "/opt/stand-ins/docker-entrypoint.sh"),),
        stop_signal="SIGINT",
    )


def _newest_postgresql() -> Path:
    found = cluster.binaries()
    assert found is not None, "PostgreSQL is not under /usr/lib/postgresql; Debian: apt-get install postgresql"
    return found


def _stand_in(name: str, target: str) -> Bind:
    return Bind(_STAND_INS / name, target, read_only=True)


def _ours(dockerfile: str, target: str) -> Image:
    """The terms of one target, with those of the stages that it is built from."""
    stages = _stages(dockerfile)
    environment: dict[str, str] = {}
    said: dict[str, str] = {}
    for name in _lineage(stages, target):
        for instruction, words in stages[name][1]:
            if instruction == "ENV":
                environment |= _pairs(words, environment)
            elif instruction in ("USER", "WORKDIR", "ENTRYPOINT", "CMD", "STOPSIGNAL"):
                said[instruction] = words
    return Image(
        environment=_with_python({"PATH": _PATH, "PYTHONPATH": APP} | environment),
        entrypoint=_list(said.get("ENTRYPOINT", "[]")),
        command=_list(said.get("CMD", "[]")),
        user=said.get("USER", "root"),
        work_dir=said.get("WORKDIR", "/"),
        binds=(*python_binds(), *_copied(dockerfile)),
        stop_signal=said.get("STOPSIGNAL", "SIGTERM"),
    )


def _copied(dockerfile: str) -> list[Bind]:
    """The folders of the repository that the images copy, in the place where they copy them to."""
    found = re.findall(r"(?m)^COPY (\w+) (?:/app/)?(\w+)$", dockerfile)
    return [Bind(REPOSITORY / source, f"{APP}/{target}", read_only=True) for source, target in dict.fromkeys(found)]


Stage = tuple[str, list[tuple[str, str]]]


def _stages(dockerfile: str) -> dict[str, Stage]:
    """(base, instructions) by the name of each stage."""
    stages: dict[str, Stage] = {}
    whole = re.sub(r"\\\n", " ", re.sub(r"(?m)^\s*#.*\n", "", dockerfile))
    name = ""
    for line in whole.splitlines():
        instruction, _, words = line.strip().partition(" ")
        if instruction.upper() == "FROM":
            found = re.match(r"(?:--\S+\s+)*(\S+)(?:\s+[aA][sS]\s+(\S+))?", words.strip())
            assert found is not None
            name = found[2] or str(len(stages))
            stages[name] = found[1], []
        elif instruction and name:
            stages[name][1].append((instruction.upper(), words.strip()))
    return stages


def _lineage(stages: Mapping[str, Stage], target: str) -> list[str]:
    names = []
    while target in stages:
        names.append(target)
        target = stages[target][0]
    return names[::-1]


def _pairs(words: str, known: Mapping[str, str]) -> dict[str, str]:
    """NAME=value of an ENV instruction; $NAME of an earlier one is replaced."""
    pairs = (word.partition("=") for word in shlex.split(words))
    before = {"PATH": _PATH} | known
    return {name: re.sub(r"\$\{?(\w+)\}?", lambda found: before.get(found[1], ""), value) for name, _, value in pairs}


def _list(words: str) -> tuple[str, ...]:
    return tuple(json.loads(words)) if words.startswith("[") else ("/bin/sh", "-c", words)
