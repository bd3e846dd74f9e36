"""The scripts set up what the locks name, once, and hand their words on; the locks hold what a lock should."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import pytest

from tests.loop.desk import heed_ctrl_c

ROOT = Path(__file__).parents[1]
LOCKS = ("requirements.lock", "requirements-dev.lock")

# An interpreter that writes down what it is asked for; `-m venv` makes a copy of it, as the real one does. The words of
# `up` are read by the real one, without any package that is installed.
INTERPRETER = """#!/usr/bin/env bash
printf '%s\\n' "$*" >>"$ASKED"
case "$*" in
    *sys.version_info*) exit "${TOO_OLD:-0}" ;;
    *read_options*) exec "$BARE_PYTHON" -S "$@" ;;
    "-m venv"*) mkdir -p "${@: -1}/bin" && cp "$0" "${@: -1}/bin/python" && touch "${@: -1}/pyvenv.cfg" ;;
    *"pip install"*) printf '%b' "${PIP_SAYS:-}"; sleep "${PIP_TAKES:-0}"; exit "${PIP_FAILS:-0}" ;;
    --version) echo "Python ${VERSION:-3.12.0}" ;;
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
        command = [str(self.folder / script), *words]
        return subprocess.run(command, env=self.environ(environ), cwd="/", capture_output=True, text=True)

    def start(self, script: str, **environ: str) -> subprocess.Popen[str]:
        """Run it beside the test, in a process group of its own, and return once pip is at work."""
        (self.folder / "asked").unlink(missing_ok=True)
        process = subprocess.Popen(
            [str(self.folder / script)],
            env=self.environ(environ),
            cwd="/",
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            preexec_fn=heed_ctrl_c,
        )
        wait_until(lambda: f"sleep {environ['PIP_TAKES']}" in commands_below(process.pid))
        return process

    def environ(self, more: dict[str, str]) -> dict[str, str]:
        path = f"{self.folder / 'tools'}:{os.environ['PATH']}"
        given = {"PATH": path, "HOME": str(self.folder), "ASKED": str(self.folder / "asked")}
        given["BARE_PYTHON"] = sys.executable
        return given | {"PYTHON": str(self.folder / "tools" / "python3")} | more

    @property
    def installs(self) -> list[str]:
        return [line for line in self.asked if "pip install" in line]


def commands_below(pid: int) -> list[str]:
    """What a process has started, and what that has."""
    commands = []
    for process in psutil.Process(pid).children(recursive=True):
        with contextlib.suppress(psutil.NoSuchProcess):
            commands.append(" ".join(process.cmdline()))
    return commands


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    for name in ("scripts", ".ci"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in (*LOCKS, "pyproject.toml"):
        shutil.copyfile(ROOT / name, tmp_path / name)
    for name in ("loop", "ner"):
        (tmp_path / name).symlink_to(ROOT / name)
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


@pytest.mark.parametrize(("word", "code", "answer"), [("--help", 0, "--backend-port"), ("--prot=80", 2, "--prot=80")])
def test_help_and_a_wrong_word_are_answered_before_anything_is_installed(
    clone: Clone, word: str, code: int, answer: str
):
    done = clone.run("scripts/up", word)
    assert done.returncode == code
    assert answer in done.stdout + done.stderr
    assert clone.installs == []
    assert not (clone.folder / ".venv").exists()


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
    assert not any("-m loop.up" in line for line in clone.asked)
    assert clone.run("scripts/up").returncode == 0
    assert len(clone.installs) == 2


def test_a_broken_environment_is_made_anew(clone: Clone):
    clone.run("scripts/up")
    write_program(clone.folder / ".venv" / "bin" / "python", "#!/bin/false\n")
    assert clone.run("scripts/up").returncode == 0
    assert len(clone.installs) == 2


def test_an_environment_of_a_python_that_does_not_fit_is_made_anew(clone: Clone):
    clone.run("scripts/up")
    with (clone.folder / "requirements.lock").open("a") as lock:
        lock.write("another==1.0\n")
    old = INTERPRETER.replace("${TOO_OLD:-0}", "1")
    write_program(clone.folder / ".venv" / "bin" / "python", old)
    assert clone.run("scripts/up").returncode == 0
    assert any(line.startswith("-m venv --clear") for line in clone.asked)


def test_a_folder_that_holds_something_else_is_never_emptied(clone: Clone):
    mine = clone.folder / "mine"
    write_program(mine / "thesis.txt", "all of it")
    done = clone.run("scripts/up", LOOP_VENV=str(mine))
    assert done.returncode == 3
    assert str(mine) in done.stderr
    assert [path.name for path in mine.iterdir()] == ["thesis.txt"]


def test_a_machine_without_a_fitting_python_is_told_so(clone: Clone):
    found = {"TOO_OLD": "1", "VERSION": "3.9.2", "PATH": f"{clone.folder / 'tools'}:/usr/bin:/bin"}
    done = clone.run("scripts/up", PYTHON="", **found)
    assert done.returncode == 3
    assert "Python 3.11, 3.12 or 3.13 is needed: got python3 (Python 3.9.2)" in done.stderr
    assert "PYTHON=/path/to/python3" in done.stderr


@pytest.mark.parametrize(("word", "shown"), [("tools/python3", "Python 3.9.2"), ("nope", "no Python that runs")])
def test_a_chosen_python_that_does_not_fit_is_named_and_not_replaced(clone: Clone, word: str, shown: str):
    chosen = str(clone.folder / word)
    done = clone.run("scripts/up", PYTHON=chosen, TOO_OLD="1", VERSION="3.9.2")
    assert done.returncode == 3
    assert f"got {chosen} ({shown})" in done.stderr
    assert "unset PYTHON" in done.stderr
    assert not (clone.folder / ".venv").exists()


# What pip says, and what ends it


def test_what_pip_says_goes_to_a_file_and_its_last_words_are_shown_when_it_fails(clone: Clone):
    noise = r"WARNING: Location 'file:///wheels/x/' is ignored: it is neither a file nor a directory.\n"
    said = r"Looking in indexes: https://somewhere\n" + noise * 50 + r"ERROR: no such package\n"
    good = clone.run("scripts/up", PIP_SAYS=said)
    assert good.returncode == 0
    assert "Location" not in good.stderr + good.stdout
    (clone.folder / ".venv" / "bin" / "python").unlink()
    bad = clone.run("scripts/up", PIP_SAYS=said, PIP_FAILS="1")
    assert bad.returncode == 1
    assert "ERROR: no such package" in bad.stderr
    assert "Location" not in bad.stderr
    assert "somewhere" not in bad.stderr
    log = clone.folder / ".venv" / "install.log"
    assert str(log) in bad.stderr
    assert log.read_text().count("Location") == 50


@pytest.mark.parametrize(
    ("log", "told"),
    [
        ("", "starting"),
        ("Collecting torch==2 (from -r x)\n  Using cached\nCollecting numpy==1\n", "found 2 packages, now numpy==1"),
        ("Collecting numpy==1\nProcessing /wheels/six-1.whl\n", "found 2 packages, now six-1.whl"),
        ("Collecting a\nInstalling collected packages: a, b, c\n", "unpacking 3 packages, now 2 are in place"),
    ],
)
def test_progress_tells_how_many_packages_are_found_and_then_how_many_are_in_place(
    log: str, told: str, tmp_path: Path
) -> None:
    for name in ("a-1", "b-1"):
        (tmp_path / f"lib/python3.12/site-packages/{name}.dist-info").mkdir(parents=True)
    (tmp_path / "install.log").write_text(log)
    words = ["bash", "-euo", "pipefail", "-c", f"source {ROOT}/scripts/environment.sh; echo $(what_pip_does)"]
    said = subprocess.run(words, env={**os.environ, "LOOP_VENV": str(tmp_path)}, capture_output=True, text=True)
    assert (said.stdout.strip(), said.stderr) == (told, "")


def test_a_killed_installation_over_a_finished_one_is_made_again(clone: Clone):
    clone.run("scripts/up")
    lock = clone.folder / "requirements.lock"
    before = lock.read_text()
    lock.write_text(before + "another==1.0\n")
    killed = clone.start("scripts/up", PIP_TAKES="60")
    os.killpg(killed.pid, signal.SIGKILL)
    killed.wait()
    lock.write_text(before)
    assert clone.run("scripts/up").returncode == 0
    assert len(clone.installs) == 2


def test_a_second_installation_says_that_it_waits(clone: Clone):
    first = clone.start("scripts/up", PIP_TAKES="2")
    second = clone.run("scripts/up")
    assert first.wait(60) == second.returncode == 0
    assert f"Waiting for another installation into {clone.folder / '.venv'}" in second.stderr
    assert "Installing" not in second.stderr


def test_ctrl_c_ends_an_installation_with_one_line_and_nothing_stays_behind(clone: Clone):
    process = clone.start("scripts/up", PIP_TAKES="60")
    os.killpg(process.pid, signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 130
    assert said.splitlines()[-1] == "Interrupted. Run this again to install the rest."
    wait_until(lambda: not is_there(process.pid))


def is_there(group: int) -> bool:
    """Whether a process of the group runs; what has ended counts as gone, whether or not anybody has taken note."""
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.NoSuchProcess, ProcessLookupError):
            if os.getpgid(process.pid) == group and process.status() != psutil.STATUS_ZOMBIE:
                return True
    return False


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
    assert clone.asked[-1] == "-m pytest -n 3 --dist loadfile --no-loadscope-reorder"


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
    scripts = [path for path in (ROOT / "scripts").rglob("*") if path.is_file() and path.suffix in ("", ".py", ".sh")]
    assert len({path.parent for path in scripts}) > 1
    for path in (*scripts, ROOT / ".ci" / "run", ROOT / "pyproject.toml"):
        assert not re.search(r"index-url|pypi\.|--find-links\s+\S*://", path.read_text()), path
