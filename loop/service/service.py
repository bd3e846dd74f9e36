"""`loop run`: one cycle after another, until a signal ends the service.

A step that fails is logged and tried again later, with growing pauses; the other steps go on. Between cycles the
service waits for the poll interval, or until a webhook's hint says that something changed.
"""

from __future__ import annotations

import logging
import signal
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from loop.label_studio.client import LabelStudioError
from loop.service.cycle import STEPS, Cycle, Skip
from loop.service.starting import interrupted_by
from loop.training.recovery import recover_project
from ner.errors import ConfigError, RuleError
from store.errors import RunHeldError, StoreBusyError, StoreOpenError
from store.runs import MEND, tracked

logger = logging.getLogger(__name__)

DONE, SKIPPED, FAILED = "done", "skipped", "failed"
_FIRST_PAUSE = 5.0
_LONGEST_PAUSE = 900.0
# What people or their servers mend from outside is mended at any moment: it is looked at once a minute.
_MENDED_OUTSIDE = (LabelStudioError, ConfigError, StoreOpenError, StoreBusyError)
_LONGEST_PAUSE_OUTSIDE = 60.0
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
class _Failures:
    """How often a step failed in a row, and when it may be tried again (seconds of the service's clock)."""

    number: int = 0
    not_before: float = 0.0

    def add(self, error: Exception, now: float) -> None:
        """One more failure; a pause follows, twice as long as the last one up to a limit."""
        self.number += 1
        longest = _LONGEST_PAUSE_OUTSIDE if isinstance(error, _MENDED_OUTSIDE) else _LONGEST_PAUSE
        self.not_before = now + min(_FIRST_PAUSE * 2 ** (self.number - 1), longest)


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
        self._failures = {name: _Failures() for name, _ in steps}
        self._hints_unread = False
        self._untouched = False

    def run_cycle(self) -> CycleReport:
        """Every step once, in order. An error of a step stands in its report; KeyboardInterrupt and SystemExit pass."""
        return CycleReport(tuple(self._run_step(name, step) for name, step in self.steps))

    def run_forever(self, *, cycles: int | None = None, reported: Callable[[CycleReport], None] | None = None) -> int:
        """Cycles until SIGTERM or SIGINT comes (or `cycles` of them); gives how many were finished.

        A step at work is then interrupted. What the step had not committed is as if it had not begun.
        """
        done = 0
        try:
            with interrupted_by(signal.SIGINT, signal.SIGTERM):
                poll = self.cycle.settings.service.poll_seconds
                logger.info("started: a cycle every %g s, or when Label Studio tells of a change", poll)
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
        self._touch()
        begin, failures = self._clock(), self._failures[name]
        if begin < failures.not_before:
            wait = f"failed {failures.number} times, tried again in {failures.not_before - begin:.0f} s"
            return StepReport(name, SKIPPED, 0.0, detail=wait)
        counts: Mapping[str, Any] = {}
        outcome, detail = DONE, ""
        try:
            counts = step(self.cycle)
        except Skip as skip:
            outcome, detail = SKIPPED, str(skip)
        except Exception as error:  # the service outlives whatever a step meets
            outcome, detail = FAILED, str(error)
            if not isinstance(error, RuleError):
                detail = f"{type(error).__name__}: {error}"
                logger.exception("%s met something unexpected", name)
            failures.add(error, self._clock())
        if outcome != FAILED:
            self._failures[name] = _Failures()
        report = StepReport(name, outcome, self._clock() - begin, counts, detail)
        _log(report)
        return report

    def _recover(self) -> None:
        """Mend what a process that died left behind, unless another process is at work on the project now."""
        settings, project = self.cycle.settings, self.cycle.project()
        try:
            with tracked(self.cycle.store, project.id, MEND, exclusive=True) as run:
                for finding in recover_project(run, settings.library, project):
                    logger.warning("%s", finding)
        except RunHeldError as error:
            logger.info("%s", error)

    def _wait(self) -> None:
        """Until the poll interval is over, or a hint is there."""
        end = self._clock() + self.cycle.settings.service.poll_seconds
        while (left := end - self._clock()) > 0:
            self._sleep(min(left, _HINT_POLL))
            self._touch()
            if self._hinted():
                return

    def _touch(self) -> None:
        """Show a health check that the service is at work. That this fails is said once, and not with every try."""
        alive = self.cycle.settings.service.alive_file
        if alive:
            try:
                Path(alive).touch()
                self._untouched = False
            except OSError as error:
                if not self._untouched:
                    logger.warning("service.alive_file cannot be touched: %s", error)
                self._untouched = True

    def _hinted(self) -> bool:
        """Whether a new hint is there. That hints cannot be read is said once, and not with every look."""
        try:
            is_new = any(hint > self.cycle.hints_seen for hint in self.cycle.hints())
        except RuleError as error:
            if not self._hints_unread:
                logger.warning("hints cannot be read: %s", error)
            self._hints_unread, is_new = True, False
        else:
            self._hints_unread = False
        return is_new


def _log(report: StepReport) -> None:
    counts = ", ".join(f"{name} {value}" for name, value in report.counts.items() if value not in (0, None, (), {}, ""))
    idle = report.outcome == SKIPPED or report.counts.get("changed") is False
    level = logging.ERROR if report.outcome == FAILED else logging.DEBUG if idle else logging.INFO
    logger.log(level, "%s: %s in %.1f s; %s", report.name, report.outcome, report.seconds, report.detail or counts)
