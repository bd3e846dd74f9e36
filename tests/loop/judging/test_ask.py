"""A process that is asked about a model: whatever becomes of it, only what is shown to be wrong counts as wrong."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from loop.judging import ask
from loop.judging.ask import JudgingError, Reference, ServedAnswers, ask_fp32, ask_served
from loop.judging.contract import WrongFileError
from ner.errors import BundleError
from ner.spans import Span

SAID = {"spans": [[{"start": 0, "end": 1, "label": "OS"}]], "speed": None, "memory_mb": 1.0, "bundle_mb": 2.0}
ANSWER = f"echo '{json.dumps({'answer': SAID})}'"


@dataclass
class Stand:
    """Runs a shell script in place of the process."""

    script: Path
    monkeypatch: pytest.MonkeyPatch

    def run(self, body: str) -> None:
        self.script.write_text(f"#!/bin/sh\n{body}\n")
        self.script.chmod(0o755)
        self.monkeypatch.setattr(sys, "executable", str(self.script))

    def served(self, body: str, texts: Sequence[str] = ("a",)) -> ServedAnswers:
        self.run(body)
        return ask_served(Path("bundle"), None, texts)

    def fp32(self, body: str, texts: Sequence[str] = ("a",)) -> Reference:
        self.run(body)
        return ask_fp32(Path("bundle"), "tiny", texts)


@pytest.fixture
def stand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Stand:
    return Stand(tmp_path / "stand", monkeypatch)


@pytest.fixture
def heeding() -> Iterator[None]:
    """SIGINT interrupts, also where a shell's background job would ignore it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("cat >/dev/null; printf 'one\\nRuntimeError: two\\n\\n' >&2; exit 3", "with exit code 3 RuntimeError: two"),
        ("exit 3", "exit code 3"),
        ("cat >/dev/null; echo no JSON", "gives an answer that can be read"),
        ("cat >/dev/null; echo '[]'", "gives an answer that can be read"),
        ("cat >/dev/null; echo '{}'", "gives an answer that can be read"),
        ("cat >/dev/null; echo '{\"answer\": {}}'", "gives an answer that can be read"),
        (f"cat >/dev/null; {ANSWER}", "tags all of 2 texts: got 1"),
        *[(f"cat >/dev/null; kill -{name} $$", f"by SIG{name}") for name in ("KILL", "ABRT", "BUS", "ILL", "TERM")],
    ],
)
def test_a_process_without_an_answer_says_nothing_about_the_model(stand: Stand, body: str, said: str) -> None:
    with pytest.raises(JudgingError) as error:
        stand.served(body, ("a", "b"))
    assert said in str(error.value)
    assert not isinstance(error.value, BundleError)
    reference = stand.fp32(body, ("a", "b"))
    assert reference.error is not None and said in reference.error
    assert reference == Reference(error=reference.error)


@pytest.mark.parametrize("name", ["SEGV", "FPE"])
def test_a_model_that_crashes_twice_in_a_row_is_shown_to_be_broken(stand: Stand, name: str, tmp_path: Path) -> None:
    body = f"cat >/dev/null; echo x >>{tmp_path}/times; kill -{name} $$"
    with pytest.raises(WrongFileError, match=f"by SIG{name}"):
        stand.served(body)
    assert (tmp_path / "times").read_text() == "x\nx\n"


def test_a_crash_that_does_not_come_again_is_forgotten(stand: Stand, tmp_path: Path) -> None:
    once = f"cat >/dev/null; [ -e {tmp_path}/crashed ] || {{ touch {tmp_path}/crashed; kill -SEGV $$; }}"
    assert stand.served(f"{once}; {ANSWER}") == ServedAnswers(((Span(0, 1, "OS"),),), None, 1.0, 2.0)


@pytest.mark.parametrize("wrong", [True, False])
def test_a_refusal_keeps_its_rule_and_says_whether_the_file_is_wrong(stand: Stand, wrong: bool) -> None:
    refused = {"rule": "a rule", "value": "a value", "next_step": "Do this.", "wrong_file": wrong}
    body = f"cat >/dev/null; echo '{json.dumps({'refused': refused})}'"
    kind = WrongFileError if wrong else JudgingError
    with pytest.raises(kind, match=r"a rule: got a value\. Do this\."):
        stand.served(body)
    if wrong:
        with pytest.raises(WrongFileError):
            stand.fp32(body)
    else:
        assert stand.fp32(body) == Reference(error="a rule: got a value. Do this.")


def test_a_process_that_cannot_be_started_says_nothing_about_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    with pytest.raises(JudgingError, match="can be started"):
        ask_served(Path("bundle"), None, ())
    assert "can be started" in str(ask_fp32(Path("bundle"), "tiny", ()).error)


def test_the_process_is_told_what_to_do_and_to_let_its_threads_sleep(stand: Stand, tmp_path: Path) -> None:
    answer = {"spans": [[{"start": 0, "end": 1, "label": "OS"}]], "speeds": []}
    answer |= {"trainable_parameters": None, "total_parameters": None}
    told_env = f"echo $OMP_WAIT_POLICY $* >{tmp_path}/env"
    found = stand.fp32(f"cat >{tmp_path}/told; {told_env}; echo '{json.dumps({'answer': answer})}'", ["\ud800"])
    assert found == Reference(spans=((Span(0, 1, "OS"),),))
    told = json.loads((tmp_path / "told").read_text())
    assert told["texts"] == ["\ud800"] and told["encoder"] == "tiny"
    assert Path(told["bundle"]) == Path("bundle").absolute()
    assert (tmp_path / "env").read_text() == "PASSIVE -P -m loop.judging.fp32_process\n"
    assert not Path(told["workspace"]).exists()


@pytest.mark.parametrize("way", [Stand.served, Stand.fp32])
def test_a_process_that_takes_too_long_is_ended(
    stand: Stand, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, way: Callable[[Stand, str, Sequence[str]], object]
) -> None:
    monkeypatch.setattr(ask, "_STARTING_SECONDS", 0.5)
    try:
        said = str(way(stand, f"echo $$ >{tmp_path}/pid; exec sleep 60", ()))
    except JudgingError as error:
        said = str(error)
    assert "a model answers within 0.5 seconds" in said
    assert is_gone(tmp_path / "pid")


def test_ctrl_c_ends_the_process_and_passes_through(stand: Stand, tmp_path: Path, heeding: None) -> None:
    pid, told = tmp_path / "pid", tmp_path / "told"

    def press() -> None:
        while not (pid.exists() and pid.read_text().endswith("\n")):
            time.sleep(0.01)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=press, daemon=True).start()
    with pytest.raises(KeyboardInterrupt):
        stand.fp32(f"cat >{told}; echo $$ >{pid}; exec sleep 60")
    assert is_gone(pid)
    assert not Path(json.loads(told.read_text())["workspace"]).exists()


def is_gone(pid: Path) -> bool:
    try:
        os.kill(int(pid.read_text()), 0)
    except ProcessLookupError:
        return True
    return False
