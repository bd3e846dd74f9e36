"""`loop run`: one cycle after another, for as long as nobody stops it.

A step that fails is logged and tried again later, with growing pauses; the other steps go on. Between cycles it waits
for the poll interval, or until a webhook's hint says that something changed.
"""

from __future__ import annotations

import logging
import signal
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from loop.label_studio.client import LabelStudioError
from loop.service.cycle import STEPS, Cycle, Skip
from loop.training.recovery import recover_project
from ner.errors import ConfigError, RuleError
from store.errors import RunHeldError
from store.runs import MEND, tracked

logger = logging.getLogger(__name__)

DONE, SKIPPED, FAILED = "done", "skipped", "failed"
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 900.0
_LONGEST_PAUSE_FOR_SERVER = 60.0
_HINT_POLL = 1.0

CycleStep = tuple[str, Callable[[Cycle], Mapping[str, Any]]]


@dataclass(frozen=True)
class StepReport:
    """One step of one cycle: `outcome` is done, skipped or failed; `detail` says why it was skipped or failed."""

    name: str
    outcome: str
    seconds: float
    counts: Mapping[str, Any] = field(default_factory=dict)
    detail: str = ""


@dataclass(frozen=True)
class CycleReport:
    """The steps of one cycle, in order."""

    steps: tuple[StepReport, ...]

    def step(self, name: str) -> StepReport:
        """The report of the step of that name."""
        return next(step for step in self.steps if step.name == name)

    @property
    def failed(self) -> tuple[StepReport, ...]:
        """The steps that failed."""
        return tuple(step for step in self.steps if step.outcome == FAILED)


@dataclass
class _Patience:
    """How often a step failed in a row, and when it may be tried again (seconds of the service's clock)."""

    failures: int = 0
    not_before: float = 0.0


class Service:
    """Cycles over one project. `clock` and `sleep` count seconds."""

    def __init__(
        self,
        cycle: Cycle,
        steps: Sequence[CycleStep] = STEPS,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.cycle = cycle
        self.steps = steps
        self._clock, self._sleep = clock, sleep
        self._patience = {name: _Patience() for name, _ in steps}

    def run_cycle(self) -> CycleReport:
        """Every step once, in order; what a step raises is its report, but for KeyboardInterrupt and SystemExit."""
        return CycleReport(tuple(self._run_step(name, step) for name, step in self.steps))

    def run_forever(self, *, cycles: int | None = None, reported: Callable[[CycleReport], None] | None = None) -> int:
        """Cycles until SIGTERM or SIGINT (or `cycles` of them); gives how many ended. Both end it cleanly.

        A step at work is interrupted: whatever it had not committed is as if it had not begun.
        """
        done = 0
        try:
            with _interrupted_by(signal.SIGINT, signal.SIGTERM):
                self._recover()
                while cycles is None or done < cycles:
                    report = self.run_cycle()
                    done += 1
                    if reported is not None:
                        reported(report)
                    if cycles is None or done < cycles:
                        self._wait()
        except KeyboardInterrupt:
            logger.info("stopped after %d cycles", done)
        finally:
            if self.cycle.tagger is not None:
                self.cycle.tagger.close()
        return done

    def _run_step(self, name: str, step: Callable[[Cycle], Mapping[str, Any]]) -> StepReport:
        begin, patience = self._clock(), self._patience[name]
        if begin < patience.not_before:
            wait = f"failed {patience.failures} times, tried again in {patience.not_before - begin:.0f} s"
            return StepReport(name, SKIPPED, 0.0, detail=wait)
        try:
            counts = step(self.cycle)
        except Skip as skip:
            report = StepReport(name, SKIPPED, self._clock() - begin, detail=str(skip))
        except RuleError as error:
            report = StepReport(name, FAILED, self._clock() - begin, detail=str(error))
            self._postpone(patience, error)
        except Exception as error:
            # The service outlives whatever a step meets.
            report = StepReport(name, FAILED, self._clock() - begin, detail=f"{type(error).__name__}: {error}")
            self._postpone(patience, error)
            logger.exception("%s met something unexpected", name)
        else:
            report = StepReport(name, DONE, self._clock() - begin, counts)
        if report.outcome != FAILED:
            self._patience[name] = _Patience()
        _log(report)
        return report

    def _postpone(self, patience: _Patience, error: Exception) -> None:
        patience.failures += 1
        from_outside = isinstance(error, LabelStudioError | ConfigError)
        longest = _LONGEST_PAUSE_FOR_SERVER if from_outside else _LONGEST_PAUSE
        pause = min(_FIRST_PAUSE * 2 ** (patience.failures - 1), longest)
        patience.not_before = self._clock() + pause

    def _recover(self) -> None:
        """Mend what a process that died left behind, unless somebody is at work there now."""
        settings, project = self.cycle.settings, self.cycle.project()
        try:
            with tracked(self.cycle.store, project.id, MEND, exclusive=True) as run:
                for finding in recover_project(run, settings.model_dir, project):
                    logger.warning("%s", finding)
        except RunHeldError as error:
            logger.info("%s", error)

    def _wait(self) -> None:
        """Until the poll interval is over, or a hint is there."""
        end = self._clock() + self.cycle.settings.service.poll_seconds
        while (left := end - self._clock()) > 0:
            self._sleep(min(left, _HINT_POLL))
            if self._hinted():
                return

    def _hinted(self) -> bool:
        try:
            return any(hint > self.cycle.hints_seen for hint in self.cycle.hints())
        except RuleError as error:
            logger.warning("hints cannot be read: %s", error)
            return False


def _log(report: StepReport) -> None:
    counts = ", ".join(f"{name} {value}" for name, value in report.counts.items() if value not in (0, None, (), {}, ""))
    idle = report.outcome == SKIPPED or report.counts.get("changed") is False
    level = logging.ERROR if report.outcome == FAILED else logging.DEBUG if idle else logging.INFO
    logger.log(level, "%s: %s in %.1f s; %s", report.name, report.outcome, report.seconds, report.detail or counts)


@contextmanager
def _interrupted_by(*numbers: signal.Signals) -> Iterator[None]:
    """Each of these signals raises KeyboardInterrupt, whatever the process inherited; only a main thread can do this.

    A shell starts a job in the background with SIGINT ignored, and Python then leaves SIGINT ignored.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.signal(number, signal.default_int_handler) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
