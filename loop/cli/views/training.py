"""A retraining as people see it: on a terminal a bar with loss and time left, elsewhere a line for each epoch."""

from __future__ import annotations

from types import TracebackType

from rich.markup import escape
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from loop import console
from loop.training.progress import Epoch, TrainingProgress, TrainingStep


class TrainingView(TrainingProgress):
    """Shows a retraining on standard error."""

    def __init__(self, quiet: bool) -> None:
        self._console = console.stderr()
        self._quiet = quiet
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[note]}"),
            console=self._console,
            transient=True,
            disable=quiet or not self._console.is_terminal,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> TrainingView:
        self._bar.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._bar.stop()

    def stage(self, name: str) -> None:
        """Begin a new bar, or print a line."""
        if self._task is not None:
            self._bar.remove_task(self._task)
        self._task = self._bar.add_task(name, total=None, note="")
        if not self._console.is_terminal:
            self._say(f"{name} ...")

    def notice(self, message: str) -> None:
        """Print the message above the bar."""
        self._say(escape(message))

    def step(self, step: TrainingStep) -> None:
        """Move the bar."""
        if self._task is not None:
            note = f"epoch {step.epoch}/{step.epochs}  loss {step.loss:.4f}  {_clock(step.seconds_left)} left"
            self._bar.update(self._task, completed=step.step, total=step.steps, note=note)

    def epoch(self, epoch: Epoch) -> None:
        """Print the loss of the epoch."""
        self._say(f"epoch {epoch.epoch}/{epoch.epochs}: loss {epoch.loss:.4f}")

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._bar.console.print(line, highlight=False)


def _clock(seconds: float) -> str:
    """`1:05`, `1:02:03`."""
    minutes, rest = divmod(round(max(0.0, seconds)), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
