"""The scripts set up what the locks name, once, and hand their words on; the locks hold what a lock should."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")

# An interpreter that writes down what it is asked for; `-m venv` makes a copy of it, as the real one does.
INTERPRETER = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$ASKED"
case "$*" in
    *sys.version_info*) exit "${TOO_OLD:-0}" ;;
    "-m venv"*) mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" ;;
    *"pip install"*) exit "${PIP_FAILS:-0}" ;;
    --version) echo "Python 3.12.0" ;;
esac
exit 0
"""
TOOL = '#!/usr/bin/env bash\nprintf "%s %s\\n" "$(basename "$0")" "$*" >>"$ASKED"\nexit "${TOOL_FAILS:-0}"\n'


@dataclass
class Clone:
    """A clone of the scripts with a fake interpreter in front of everything."""

    folder: Path

    @property
    def asked(self) -> list[str]:
        path = self.folder / "asked"
        return path.read_text().splitlines() if path.exists() else []

    def run(self, script: str, *words: str, **environ: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "asked").unlink(missing_ok=True)
        path = f"{self.folder / 'tools'}:{os.environ['PATH']}"
        given = {"PATH": path, "HOME": str(self.folder), "ASKED": str(self.folder / "asked")}
        return subprocess.run(
            [str(self.folder / script), *words],
            env=given | {"PYTHON": str(self.folder / "tools" / "python3")} | environ,
            cwd="/",
            capture_output=True,
            text=True,
        )

    @property
    def installs(self) -> list[str]:
        return [line for line in self.asked if "pip install" in line]


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    for name in ("scripts", ".ci"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in (*LOCKS, "pyproject.toml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    (tmp_path / "tools").mkdir()
    for name in ("python3", "python3.13", "python3.12", "python3.11", "python"):
        write_program(tmp_path / "tools" / name, INTERPRETER)
    return Clone(tmp_path)


def write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)


def with_tools(clone: Clone) -> None:
    for name in ("ruff", "mypy", "lint-imports"):
        write_program(clone.folder / ".venv" / "bin" / name, TOOL)


# Setting up


def test_the_first_up_makes_the_environment_and_starts_with_the_words(clone: Clone):
    done = clone.run("scripts/up", "--port", "1234")
    assert done.returncode == 0, done.stderr
    locks, project = clone.installs
    assert locks.endswith(f"-r {clone.folder}/requirements.lock")
    assert project.endswith(f"--no-deps --no-build-isolation -e {clone.folder}")
    assert clone.asked[-1] == "-m loop.up --port 1234"


def test_a_second_up_installs_nothing_and_a_changed_lock_installs_again(clone: Clone):
    clone.run("scripts/up")
    clone.run("scripts/up")
    assert clone.installs == []
    with (clone.folder / "requirements.lock").open("a") as lock:
        lock.write("another==1.0\n")
    clone.run("scripts/up")
    assert len(clone.installs) == 2


def test_after_the_tests_were_set_up_up_has_nothing_to_install(clone: Clone):
    clone.run("scripts/test", "--version")
    assert len(clone.installs) == 2
    clone.run("scripts/up")
    assert clone.installs == []


def test_a_failed_installation_is_told_and_done_again(clone: Clone):
    failed = clone.run("scripts/up", PIP_FAILS="1")
    assert failed.returncode != 0
    assert "the installation failed" in failed.stderr
    assert not any("loop.up" in line for line in clone.asked)
    assert clone.run("scripts/up").returncode == 0
    assert len(clone.installs) == 2


def test_a_broken_environment_is_made_anew(clone: Clone):
    clone.run("scripts/up")
    write_program(clone.folder / ".venv" / "bin" / "python", "#!/bin/false\n")
    assert clone.run("scripts/up").returncode == 0
    assert len(clone.installs) == 2


def test_a_machine_without_a_fitting_python_is_told_so(clone: Clone):
    done = clone.run("scripts/up", TOO_OLD="1", PATH=f"{clone.folder / 'tools'}:/usr/bin:/bin")
    assert done.returncode == 3
    assert "Python 3.11, 3.12 or 3.13 is needed" in done.stderr


# Testing


def test_words_go_to_pytest_alone(clone: Clone):
    clone.run("scripts/test", "--version")
    with_tools(clone)
    clone.run("scripts/test", "tests/ner", "-k", "two words")
    assert clone.asked[-1] == "-m pytest tests/ner -k two words"
    assert not any(line.startswith(("ruff", "mypy", "lint-imports")) for line in clone.asked)


@pytest.mark.parametrize("script", ["scripts/test", ".ci/run"])
def test_without_words_every_check_comes_before_pytest(clone: Clone, script: str):
    clone.run("scripts/test", "--version")
    with_tools(clone)
    for name in ("chromium", "chromedriver", "pg_ctl"):
        write_program(clone.folder / "tools" / name, TOOL)
    assert clone.run(script).returncode == 0
    checks = [line.split()[0] for line in clone.asked if line.split()[0] in ("ruff", "mypy", "lint-imports")]
    assert checks == ["ruff", "ruff", "mypy", "lint-imports"]
    assert clone.asked[-1] == "-m pytest"


def test_a_check_that_fails_ends_it(clone: Clone):
    clone.run("scripts/test", "--version")
    with_tools(clone)
    assert clone.run("scripts/test", TOOL_FAILS="1").returncode == 1
    assert not any("pytest" in line for line in clone.asked)


# The locks


def pins(name: str) -> list[str]:
    lines = (ROOT / name).read_text().splitlines()
    return [line for line in lines if line and not line.startswith("#")]


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_exact_pins_and_no_address(name: str):
    assert all(re.fullmatch(r"[a-z0-9][a-z0-9._-]*==[0-9][0-9a-z.]*", line) for line in pins(name))
    assert "://" not in (ROOT / name).read_text()


def test_torch_is_pinned_without_a_build_and_brings_no_gpu_packages():
    assert "torch==2.13.0" in pins("requirements.lock")
    assert not [line for line in pins("requirements.lock") if line.startswith(("nvidia", "cuda", "triton"))]


def test_no_package_stands_in_both_locks():
    runtime, tools = ({line.split("==")[0] for line in pins(name)} for name in LOCKS)
    assert not runtime & tools


def test_the_locks_are_what_is_installed_here():
    done = subprocess.run([sys.executable, ROOT / "scripts" / "lock.py", "--check"], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_no_script_names_a_package_index():
    for path in (*(ROOT / "scripts").iterdir(), ROOT / ".ci" / "run", ROOT / "pyproject.toml"):
        if path.is_file():
            assert not re.search(r"index-url|pypi\.|--find-links\s+\S*://", path.read_text()), path
