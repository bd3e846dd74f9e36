"""`python -m loop.up`: what scripts/up starts once the environment is there."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import FrameType

from rich.markup import escape
from rich.panel import Panel

from loop import console
from loop.up.children import Household
from loop.up.credentials import FILE_NAME, Credentials, credentials_in
from loop.up.options import Options, check_ports, held, read_options
from loop.up.project import EXAMPLE, NAME
from loop.up.sequence import Up
from ner.errors import RuleError

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def main(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run until a signal: 0 when it came after "ready", 128 + its number before, else the error's exit code."""
    options = read_options(words)
    try:
        with held(options.data):
            check_ports(options)
            return _live(options, credentials_in(options.data), environ)
    except RuleError as error:
        console.stderr().print(f"[bold red]up:[/] {escape(str(error))}")
        return error.exit_code


def _live(options: Options, user: Credentials, environ: Mapping[str, str]) -> int:
    """Start everything, watch it, and end it, whatever happens on the way."""
    household = Household(options.logs)
    ready = False
    _raise_on(*_ENDING)
    try:
        up = Up(options, user, household, environ, _say)
        up.reach_ready()
        ready = True
        console.stdout().print(ready_panel(options, user))
        for line in commands(options):
            console.stdout().print(line, highlight=False, markup=False, soft_wrap=True)
        up.watch()
    except Stopped as stopped:
        return 0 if ready else 128 + stopped.number
    finally:
        _end(household)
    return 0


def ready_panel(options: Options, user: Credentials) -> Panel:
    """Where to go, as whom, what to do first, and how to watch the loop learn."""
    lines = [
        f"[bold]Label Studio[/]   {options.url}",
        f"user           {escape(user.user)}",
        f"password       {escape(user.password)}",
        f"               kept in {escape(os.path.relpath(options.data / FILE_NAME))}, which only you can read",
        "",
        f"First          open the project [bold]{NAME}[/], press [bold]Label All Tasks[/],",
        "               mend the pre-labels, Submit: the least certain comes first",
        f"Logs           {os.path.relpath(options.logs)}/",
        "End            Ctrl-C; run it again and it picks up where it was",
    ]
    return Panel("\n".join(lines), title="ready", title_align="left", border_style="green", padding=(1, 2))


def commands(options: Options) -> list[str]:
    """What to type in another shell, each on a line of its own, however long."""
    loop = f"{os.path.relpath(Path(sys.executable).parent / 'loop')} -C {os.path.relpath(options.project)}"
    return [
        "Watch it learn, in another shell:",
        f"  {loop} simulate-annotator {os.path.relpath(EXAMPLE / 'gold.jsonl')} --count 60 --pace 0.5",
        f"  {loop} status",
    ]


def _raise_on(*numbers: signal.Signals) -> None:
    def stop(number: int, _frame: FrameType | None) -> None:
        raise Stopped(number)

    for number in numbers:
        signal.signal(number, stop)


def _end(household: Household) -> None:
    """End the children in order; a further signal meanwhile ends them at once."""
    grace = [20.0]

    def hurry(_number: int, _frame: FrameType | None) -> None:
        grace[0] = 0.0

    for number in _ENDING:
        signal.signal(number, hurry)
    _say("ending ...")
    household.stop(lambda: grace[0])
    _say("ended")


def _say(line: str) -> None:
    console.stderr().print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
