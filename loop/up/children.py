"""Child processes that never outlive their parent. Each has its own process group and writes to its own log file.

To end a child, its whole group gets SIGTERM and, after a time, SIGKILL. If the parent is killed (`kill -9`), the
kernel sends SIGTERM to each child (PR_SET_PDEATHSIG, prctl(2)).
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from ner.errors import RuleError

Child = subprocess.Popen[bytes]
_PR_SET_PDEATHSIG = 1
_LINES_OF_LOG = 15


class ChildError(RuleError):
    """A child process ended when it should not have; the message carries the end of its log."""


class Children:
    """The children of this process by name. What a child prints is appended to `logs/NAME.log`."""

    def __init__(self, logs: Path) -> None:
        self._logs = logs
        self._running: dict[str, Child] = {}

    def start(self, name: str, words: Sequence[str], environ: Mapping[str, str]) -> Child:
        """Start a child that is meant to stay, the leader of its own process group."""
        self._logs.mkdir(parents=True, exist_ok=True)
        with self.log(name).open("ab") as sink:
            child = subprocess.Popen(
                list(words),
                env=dict(environ),
                cwd=self._logs.parent,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=_end_with(os.getpid()) if sys.platform == "linux" else None,
            )
        self._running[name] = child
        return child

    def run(
        self,
        name: str,
        words: Sequence[str],
        environ: Mapping[str, str],
        *,
        hear: Callable[[str], None] = lambda _: None,
        allowed: Sequence[int] = (0,),
    ) -> int:
        """Run a child to its end while the others live, and give its exit code; `hear` gets each line that it logs.

        Raises ChildError when the exit code is not `allowed`, or when another child ends meanwhile.
        """
        before = self.log(name).stat().st_size if self.log(name).exists() else 0
        child = self.start(name, words, environ)
        with self.log(name).open("rb") as log:
            log.seek(before)
            is_over = False
            while not is_over:
                is_over = child.poll() is not None
                for line in _whole_lines(log):
                    hear(line)
                self.check(but=name)
                time.sleep(0 if is_over else 0.1)
        ended = self._ended(name)
        del self._running[name]
        if child.returncode not in allowed:
            raise ended
        return child.returncode

    def check(self, but: str | None = None) -> None:
        """Raise ChildError for the first child, other than `but`, that has ended by itself."""
        for name, child in self._running.items():
            if name != but and child.poll() is not None:
                raise self._ended(name)

    def wait_until(
        self,
        holds: Callable[[], bool],
        what: str,
        seconds: float,
        *,
        remind: Callable[[], None] = lambda: None,
        every: float = 60.0,
    ) -> None:
        """Ask `holds` again and again until it is true, and call `remind` each `every` seconds meanwhile.

        Raises ChildError when a child ends meanwhile, RuleError when `seconds` have passed.
        """
        reminded = time.monotonic()
        end = reminded + seconds
        while not holds():
            self.check()
            if time.monotonic() > reminded + every:
                reminded = time.monotonic()
                remind()
            if time.monotonic() > end:
                advice = f"Read the logs in {self._logs}."
                raise RuleError(f"{what} within {seconds:.0f} s", value="it did not", next_step=advice)
            time.sleep(0.25)

    def stop(self, seconds: float = 20.0) -> None:
        """End every child and its group: SIGTERM, the youngest child first, then SIGKILL after `seconds`."""
        self._signal(signal.SIGTERM)
        end = time.monotonic() + seconds
        while any(child.poll() is None for child in self._running.values()) and time.monotonic() < end:
            time.sleep(0.05)
        self.kill()
        for child in self._running.values():
            child.wait()
        self._running.clear()

    def kill(self) -> None:
        """SIGKILL to every child and its group, also to what an ended child has left behind."""
        self._signal(signal.SIGKILL)

    def log(self, name: str) -> Path:
        """The file that holds what the child prints."""
        return self._logs / f"{name}.log"

    def _signal(self, number: signal.Signals) -> None:
        for child in reversed(self._running.values()):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, number)

    def _ended(self, name: str) -> ChildError:
        code = self._running[name].returncode
        how = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        with self.log(name).open(encoding="utf-8", errors="replace") as log:
            last_lines = "".join(deque(log, maxlen=_LINES_OF_LOG))
        advice = f"The end of {self.log(name)}:\n{last_lines}"
        return ChildError(f"{name} keeps running or ends well", value=f"it {how}", next_step=advice)


def _whole_lines(log: BinaryIO) -> Iterator[str]:
    """The lines from here on that are complete; an incomplete line is read the next time."""
    while (line := log.readline()).endswith(b"\n"):
        yield line.decode("utf-8", "replace").rstrip()
    log.seek(-len(line), os.SEEK_CUR)


def _end_with(parent: int) -> Callable[[], None]:
    """What runs in the child before exec: ask the kernel for SIGTERM at the parent's death."""

    def ask() -> None:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
        if os.getppid() != parent:  # the parent died before the kernel was asked
            os._exit(1)

    return ask
