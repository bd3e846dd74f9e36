"""`scripts/check_images`: build, run, print a table. Fails where an image does not keep what it promises."""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
from pathlib import Path

from scripts.images.buildah import BASE, PREFIX, Buildah
from scripts.images.team import Figures, run_team

_PROGRAMS = ("buildah", "debootstrap", "docker-compose")
_MOST_SERVE_BYTES = 350_000_000
_NOT_IN_SERVE = ("torch", "transformers", "peft", "datasets", "pip", "setuptools")
_COMPILERS = ("gcc", "cc", "g++", "c++", "clang", "make")
_PACKAGES = "from importlib.metadata import distributions as d; print(*sorted({x.name.lower() for x in d()}))"
_FOUND = "import shutil, sys; print(*(name for name in sys.argv[1:] if shutil.which(name)))"


def main() -> int:
    """Gives 1 where a promise is broken, 3 where something is missing on this machine."""
    parser = argparse.ArgumentParser(prog="scripts/check_images", description=__doc__)
    parser.add_argument(
        "--work", type=Path, default=Path("build/images"), metavar="DIR", help="what is kept, and where"
    )
    driver = "of buildah's storage; vfs where overlay is refused, slower and with many times the space"
    parser.add_argument("--storage-driver", default="overlay", metavar="NAME", help=driver)
    parser.add_argument("--rebuild", action="store_true", help="build the images again from the layers that are there")
    asked = parser.parse_args()
    missing = [name for name in _PROGRAMS if not shutil.which(name)]
    if missing or os.getuid() != 0:
        print(
            f"needed: root, and Debian's packages {', '.join(_PROGRAMS)} and postgresql. Missing: {missing or 'root'}"
        )
        return 3
    work = asked.work.resolve()
    work.mkdir(parents=True, exist_ok=True)
    buildah = Buildah(work, asked.storage_driver)
    if not buildah.has(BASE):
        buildah.make_base()
    for target in ("serve", "loop"):
        if asked.rebuild or not buildah.has(f"{PREFIX}/{target}"):
            buildah.build(target)
    broken = show(buildah, run_team(buildah))
    print("\n".join(f"BROKEN: {promise}" for promise in broken) or "every promise is kept")
    return 1 if broken else 0


def show(buildah: Buildah, figures: Figures) -> list[str]:
    """Print the table; the promises that are not kept."""
    broken = []
    print("\n| | serve | loop |\n| --- | --- | --- |")
    sizes = {target: buildah.size(target) for target in ("serve", "loop")}
    print(f"| size | {sizes['serve'] / 1e6:.0f} MB | {sizes['loop'] / 1e6:.0f} MB |")
    packages = {target: _in_image(buildah, target, _PACKAGES) for target in ("serve", "loop")}
    print(f"| Python packages | {len(packages['serve'])} | {len(packages['loop'])} |")
    compilers = {target: _in_image(buildah, target, _FOUND, *_COMPILERS) for target in ("serve", "loop")}
    print(f"| compilers | {' '.join(compilers['serve']) or 'none'} | {' '.join(compilers['loop']) or 'none'} |")
    for line in figures.rows():
        print(line)
    kept = sorted(set(packages["serve"]) & set(_NOT_IN_SERVE))
    print(f"| of {', '.join(_NOT_IN_SERVE)} | {' '.join(kept) or 'none'} | |")
    broken += [f"serve is under 350 MB: {sizes['serve'] / 1e6:.0f} MB"] if sizes["serve"] >= _MOST_SERVE_BYTES else []
    broken += [f"serve holds none of {kept}"] if kept else []
    broken += ["no image holds a compiler"] if any(compilers.values()) else []
    return broken + figures.broken()


def _in_image(buildah: Buildah, target: str, code: str, *words: str) -> list[str]:
    return buildah.run(f"check-{target}", "python", "-c", code, *words).split()


if __name__ == "__main__":
    try:
        sys.exit(main())
    except subprocess.CalledProcessError as error:
        sys.exit(f"{' '.join(map(str, error.cmd[:9]))} ... ended with {error.returncode}")
