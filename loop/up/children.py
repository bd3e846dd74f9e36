"""Child processes that never outlive their parent: own process groups, logs in files, and an end in order.

A child is ended by SIGTERM to its whole group and, after a time, SIGKILL. Should the parent die without a word
(`kill -9`), the kernel sends each child SIGTERM (PR_SET_PDEATHSIG, prctl(2)); what a dead child leaves behind becomes
the parent's own child (PR_SET_CHILD_SUBREAPER) and goes with its group.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ner.errors import RuleError

_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER = 1, 36
_TAIL_LINES = 15


class ChildError(RuleError):
    """A child process ended when it should not have; the message carries the end of its log."""

    exit_code = 1


@dataclass(frozen=True)
class Child:
    """A running process, the leader of its own group; everything it prints goes to `log`."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path

    @property
    def is_alive(self) -> bool:
        """True until the process has ended."""
        return self.process.poll() is None


class Household:
    """The children of this process, ended in the reverse order of their start."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._children: list[Child] = []
        _prctl(_PR_SET_CHILD_SUBREAPER, 1)

    def start(self, name: str, words: Sequence[str], environ: Mapping[str, str]) -> Child:
        """Start a child that is meant to stay; its log is appended to `logs/NAME.log`."""
        child = self._spawn(name, words, environ)
        self._children.append(child)
        return child

    def run(
        self,
        name: str,
        words: Sequence[str],
        environ: Mapping[str, str],
        *,
        hear: Callable[[str], None] = lambda _: None,
        good: Sequence[int] = (0,),
    ) -> int:
        """Run a child to its end while the others live, `hear` each line that it logs; gives its exit code.

        ChildError unless that is one of `good`.
        """
        log = _LogReader(self._logs / f"{name}.log")
        child = self.start(name, words, environ)
        while child.is_alive:
            self.check(but=child)
            log.pass_on(hear)
            time.sleep(0.1)
        log.pass_on(hear)
        self._children.remove(child)
        if child.process.returncode not in good:
            raise _error(child)
        return child.process.returncode

    def check(self, but: Child | None = None) -> None:
        """ChildError for the first child, other than `but`, that has ended by itself."""
        for child in self._children:
            if child is not but and not child.is_alive:
                raise _error(child)

    def wait_until(self, holds: Callable[[], bool], what: str, seconds: float) -> None:
        """Poll `holds` until it is true; ChildError when a child dies, RuleError when `seconds` have passed."""
        end = time.monotonic() + seconds
        while not holds():
            self.check()
            if time.monotonic() > end:
                raise RuleError(
                    f"{what} within {seconds:.0f} s", value="it did not", next_step=f"Read the logs in {self._logs}."
                )
            time.sleep(0.25)

    def stop(self, grace: Callable[[], float] = lambda: 20.0) -> None:
        """End every child and its group: SIGTERM, youngest first, then SIGKILL for what is left after `grace()` s.

        `grace` is asked again and again, so that an impatient user can shorten it.
        """
        for child in reversed(self._children):
            _signal_group(child, signal.SIGTERM)
        begin = time.monotonic()
        while any(child.is_alive for child in self._children) and time.monotonic() < begin + grace():
            time.sleep(0.05)
        for child in self._children:
            _signal_group(child, signal.SIGKILL)
            child.process.wait()
        self._children.clear()
        _reap_orphans()

    def _spawn(self, name: str, words: Sequence[str], environ: Mapping[str, str]) -> Child:
        self._logs.mkdir(parents=True, exist_ok=True)
        log = self._logs / f"{name}.log"
        with log.open("ab") as sink:
            process = subprocess.Popen(
                list(words),
                env=dict(environ),
                cwd=self._logs.parent,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_die_with_parent(os.getpid()),
            )
        return Child(name, process, log)


class _LogReader:
    """The whole lines that are added to a log from now on."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._position = path.stat().st_size if path.is_file() else 0

    def pass_on(self, hear: Callable[[str], None]) -> None:
        """Give what is new to `hear`, line by line."""
        with self._path.open("rb") as stream:
            stream.seek(self._position)
            for line in stream:
                if not line.endswith(b"\n"):
                    return
                self._position += len(line)
                hear(line.decode("utf-8", "replace").rstrip())


def tail(path: Path, lines: int = _TAIL_LINES) -> str:
    """The last lines of a log, as text."""
    if not path.is_file():
        return ""
    with path.open("rb") as stream:
        stream.seek(max(0, path.stat().st_size - 16_384))
        return "\n".join(stream.read().decode("utf-8", "replace").splitlines()[-lines:])


def _error(child: Child) -> ChildError:
    code = child.process.returncode
    ended = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return ChildError(
        f"{child.name} keeps running or ends well",
        value=f"it {ended}",
        next_step=f"The end of {child.log}:\n{tail(child.log)}",
    )


def _signal_group(child: Child, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child.process.pid, number)


def _reap_orphans() -> None:
    """Wait for grandchildren that became ours, so that none is left a zombie."""
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(-1, os.WNOHANG) != (0, 0):
            pass


def _die_with_parent(parent: int) -> Callable[[], None] | None:
    """What runs in the child before exec: ask the kernel for SIGTERM at the parent's death."""
    if sys.platform != "linux":
        return None

    def ask() -> None:
        _prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # it died before the kernel knew
            os._exit(1)

    return ask


def _prctl(option: int, value: int) -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(option, ctypes.c_ulong(value), 0, 0, 0)
