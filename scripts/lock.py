"""Write the requirements-*.lock files from what is installed in the environment that runs this.

    .venv/bin/python scripts/lock.py [--check]

Upgrade something with pip, run the tests, run this. A lock holds the exact version of every package that is needed on
Python 3.11 to 3.13 on Linux, and no address of any package index: requirements.lock for the project, -dev for its
tools, -serve and -loop for the two images. torch is pinned without its local suffix, so that a CPU build from a
--find-links folder satisfies it as well as the default build does; what only the default build needs (nvidia-*,
triton) is left to torch's own metadata.
"""

from __future__ import annotations

import sys
import tomllib
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[1]
PYTHONS = ("3.11", "3.12", "3.13")
ONLY_WITH_A_GPU = ("nvidia-", "cuda-", "triton")


def main() -> int:
    pyproject = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))
    project, groups = pyproject["project"], pyproject["dependency-groups"]
    extras = project["optional-dependencies"]
    needed = closure([*project["dependencies"], *extras["server"]])
    tools = closure(extras["dev"]) - needed
    image = closure([*project["dependencies"], *extras["postgres"], *extras["mlflow"]])
    packages = {"": needed, "-dev": tools, "-serve": closure(groups["serve"]), "-loop": image}
    written = {f"requirements{name}.lock": lock_text(found) for name, found in packages.items()}
    stale = [name for name, text in written.items() if not is_current(ROOT / name, text)]
    if "--check" in sys.argv[1:]:
        print("stale: " + ", ".join(stale) if stale else "the locks are current")
        return bool(stale)
    for name, text in written.items():
        (ROOT / name).write_text(text, "utf-8")
        print(f"{name}: {text.count('==')} packages")
    return 0


def closure(roots: Iterable[str]) -> set[str]:
    """Canonical names of the packages that `roots` need on any of PYTHONS, themselves included."""
    found: set[str] = set()
    seen: set[tuple[str, frozenset[str]]] = set()
    waiting = [Requirement(root) for root in roots]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        key = (name, frozenset(requirement.extras))
        if key in seen or name.startswith(ONLY_WITH_A_GPU):
            continue
        seen.add(key)
        found.add(name)
        waiting.extend(needed_by(name, requirement.extras))
    return found


def needed_by(name: str, extras: Iterable[str]) -> list[Requirement]:
    """What the installed package `name` with `extras` asks for on any of PYTHONS on Linux."""
    try:
        lines = metadata.requires(name) or []
    except metadata.PackageNotFoundError:
        raise SystemExit(f"{name} is needed but not installed here: install it and run this again") from None
    return [requirement for requirement in map(Requirement, lines) if applies(requirement, ["", *extras])]


def applies(requirement: Requirement, extras: list[str]) -> bool:
    """True when the requirement holds on Linux for one of PYTHONS and one of the extras."""
    marker = requirement.marker
    return marker is None or any(
        marker.evaluate({**LINUX, "python_version": python, "python_full_version": f"{python}.9", "extra": extra})
        for python in PYTHONS
        for extra in extras
    )


LINUX = {"sys_platform": "linux", "platform_system": "Linux", "os_name": "posix", "implementation_name": "cpython"}


def lock_text(names: Iterable[str]) -> str:
    pins = (f"{name}=={Version(metadata.version(name)).public}\n" for name in sorted(names))
    return "# Made by scripts/lock.py; change versions there, not here.\n" + "".join(pins)


def is_current(path: Path, text: str) -> bool:
    return path.is_file() and path.read_text("utf-8") == text


if __name__ == "__main__":
    sys.exit(main())
