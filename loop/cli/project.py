"""`loop init`, `loop status`, `loop doctor`: a project as a whole."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from loop.cli.invocation import Invocation, command
from loop.console import styled
from ner.errors import InputError

if TYPE_CHECKING:
    from loop.doctor.checks import Check

UNHEALTHY = 10


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "init", "loop init desk --labels SOFTWARE,OS,HARDWARE")(init)
    command(app, "doctor", "loop doctor --json")(doctor)
    command(app, "status", "loop status --json")(status)


def init(
    invocation: Invocation,
    folder: Annotated[Path, typer.Argument(metavar="DIR", help="The folder to make; it may exist and hold data.")],
    labels: Annotated[str | None, typer.Option(help="Entity types, parted by commas.")] = None,
    config: Annotated[
        Path | None, typer.Option(help="Or a Label Studio config in XML: Labels over Text.", metavar="XML")
    ] = None,
    name: Annotated[str | None, typer.Option(help="The project's name; by default the folder's.")] = None,
) -> int | None:
    """Make a project: loop.toml with every setting explained, labels.xml, and the store. No server is needed.

    Inside it, import, retrain, evaluate, promote and predict work offline.
    """
    from loop.settings.template import config_of_labels, scaffold

    if (labels is None) == (config is None):
        raise typer.BadParameter("give either --labels or --config")
    label_config = config_of_labels(labels) if labels is not None else _read(config)
    made = scaffold(folder, name or folder.resolve().name, label_config)
    said = f"Project {made.name!r} with {', '.join(made.labels)}: {made.home}"
    following = f"Next: loop -C {shlex.quote(str(made.home))} import FILE.jsonl --split train"
    store = "The store has this project already, with the same labels and nothing done yet: this folder joins it."
    invocation.answer(made, said, *([store] if made.joined else []), following)
    return 0


def status(invocation: Invocation) -> int | None:
    """What a lead asks first: the model in service, F1 per type, labels per type, open work, what went wrong."""
    from loop.cli.status_view import view
    from loop.service.status import project_status

    settings = invocation.settings
    found = project_status(invocation.store, invocation.project.id, settings.status_minimum, settings.promotion)
    invocation.answer(found, *view(found))
    return 0


def doctor(invocation: Invocation) -> int | None:
    """Check everything that is known to go wrong, here and on Label Studio, and say how to mend it.

    Nothing is changed. Ends with 10 when a check fails; warnings alone end with 0.
    """
    from loop.doctor.diagnosis import diagnose

    checks = []
    for check in diagnose(invocation.settings):
        checks.append(check)
        if not invocation.as_json:
            invocation.say(finding(check))
    states = Counter(check.state for check in checks)
    summary = ", ".join(f"{states[state]} {state}" for state in ("ok", "warn", "fail", "skip") if states[state])
    invocation.answer({"checks": checks, "healthy": not states["fail"]}, f"\n{summary}")
    return UNHEALTHY if states["fail"] else 0


def finding(check: Check) -> Table:
    """A check for people: its sign, and beside it what it found and what to do."""
    sign = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]FAIL[/]", "skip": "[dim]skip[/]"}
    shown = Table.grid(padding=(0, 1, 0, 0))
    shown.add_column(width=4)
    shown.add_column(overflow="fold")
    shown.add_row(sign[check.state], styled(f"[bold]{escape(check.name)}[/]: {escape(check.finding)}"))
    if check.mend:
        shown.add_row("", Text(f"-> {check.mend}"))
    return shown


def _read(config: Path | None) -> str:
    try:
        return "" if config is None else config.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "a label config can be read as UTF-8", value=str(error), next_step="Check the path."
        ) from error
