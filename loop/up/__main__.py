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
from loop.up.children import Children
from loop.up.options import Options, check_ports, held, read_options
from loop.up.project import CREDENTIALS, Credentials, credentials_in, example_of, name_of
from loop.up.startup import Startup
from ner.errors import RuleError

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Stopped(BaseException):
    """A signal asked for the end."""

    def __init__(self, number: int) -> None:
        self.number = number
        super().__init__(number)


def main(words: Sequence[str], environ: Mapping[str, str]) -> int:
    """Run until a signal comes. Gives 0 when it came after "ready", 128 + its number before, else the error's code."""
    options = read_options(words)
    try:
        with held(options.data):
            example_of(options)
            check_ports(options)
            return _run(options, credentials_in(options.data), environ)
    except RuleError as error:
        console.stderr().print(f"[bold red]up:[/] {escape(str(error))}")
        return error.exit_code


def _run(options: Options, user: Credentials, environ: Mapping[str, str]) -> int:
    """Start everything, watch it, and end it, whatever happens on the way."""
    children = Children(options.logs)
    ready = False
    _stop_on_signals(children)
    try:
        startup = Startup(options, user, children, environ, _say)
        startup.reach_ready()
        ready = True
        console.stdout().print(ready_panel(options, user))
        for line in commands(options):
            console.stdout().print(line, highlight=False, markup=False, soft_wrap=True)
        startup.watch()
    except Stopped as stopped:
        return 0 if ready else 128 + stopped.number
    finally:
        _say("ending ...")
        children.stop()
        _say("ended")
    return 0


def _stop_on_signals(children: Children) -> None:
    """The first signal raises Stopped, so that the children end in order; a further signal kills them at once."""

    def stop(number: int, _frame: FrameType | None) -> None:
        for each in _ENDING:
            signal.signal(each, lambda *_: children.kill())
        raise Stopped(number)

    for each in _ENDING:
        signal.signal(each, stop)


def ready_panel(options: Options, user: Credentials) -> Panel:
    """Where to go, as whom, what to do first, and how to watch the loop learn."""
    lines = [
        f"[bold]Label Studio[/]   {options.url}",
        f"user           {escape(user.user)}",
        f"password       {escape(user.password)}",
        f"               kept in {escape(os.path.relpath(options.data / CREDENTIALS))}, which only you can read",
        "",
        f"First          open the project [bold]{name_of(example_of(options))}[/], press [bold]Label All Tasks[/],",
        "               mend the pre-labels, Submit: the least certain comes first",
        "Pre-labels     of the sources of weak labels, until a model beats them",
        f"Logs           {os.path.relpath(options.logs)}/",
        "End            Ctrl-C; run it again and it picks up where it was",
    ]
    return Panel("\n".join(lines), title="ready", title_align="left", border_style="green", padding=(1, 2))


def commands(options: Options) -> list[str]:
    """What to type in another shell, each on a line of its own, however long."""
    loop = f"{os.path.relpath(Path(sys.executable).parent / 'loop')} -C {os.path.relpath(options.project)}"
    gold = example_of(options) / "gold.jsonl"
    annotator = [f"  {loop} simulate-annotator {os.path.relpath(gold)} --count 120 --pace 0.5"] if gold.exists() else []
    return ["Watch it learn, in another shell:", *annotator, f"  {loop} status"]


def _say(line: str) -> None:
    console.stderr().print(line, highlight=False, markup=False, soft_wrap=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
