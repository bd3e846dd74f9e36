"""`loop init`, `loop status` and `loop doctor`: a project as a whole."""

from __future__ import annotations

import shlex
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from loop.cli.invocation import Invocation, command
from ner.errors import InputError

UNHEALTHY = 10


def register(app: typer.Typer) -> None:
    """Add these commands to `app`."""
    command(app, "init", "loop init desk --labels SOFTWARE,OS,HARDWARE")(init)
    command(app, "doctor", "loop doctor --json")(doctor)
    command(app, "status", "loop status --json")(status)


def init(
    invocation: Invocation,
    folder: Annotated[
        Path, typer.Argument(metavar="DIR", help="The project's folder. It may exist already and hold data.")
    ],
    labels: Annotated[str | None, typer.Option(metavar="A,B", help="The entity types, separated by commas.")] = None,
    config: Annotated[
        Path | None,
        typer.Option(help="A label config of Label Studio (Labels over Text), in place of --labels.", metavar="XML"),
    ] = None,
    from_export: Annotated[
        Path | None,
        typer.Option(
            "--from-export",
            help="A labelled file of any format that import reads; the label config is made of what stands in it.",
            metavar="FILE",
        ),
    ] = None,
    name: Annotated[str | None, typer.Option(help="The project's name; by default the name of the folder.")] = None,
) -> int | None:
    """Make a project: loop.toml with every setting explained, labels.xml, and the store.

    No server is needed. In the project, import, retrain, evaluate, promote and predict work offline. A folder that is a
    project already is refused, and no file is overwritten.

    With --from-export the labels are those of the file. Of a file of Label Studio, the names of the controls and the
    data field are taken, too. Nothing of the file is imported yet.
    """
    from loop.cli.views.files import proposal_view
    from loop.files.proposing import propose
    from loop.settings.template import config_of_labels, scaffold, xml_of

    if [labels, config, from_export].count(None) != 2:
        raise typer.BadParameter("give one of --labels, --config and --from-export")
    found = None if from_export is None else propose(from_export)
    if found is not None:
        label_config = xml_of(found.config)
    else:
        label_config = config_of_labels(labels) if labels is not None else _read(config)
    made = scaffold(folder, name or folder.resolve().name, label_config)
    said = [f"Project {made.name!r} with {', '.join(made.labels)}: {made.home}"]
    said += [f"Not learned from: {control}." for control in made.left_out]
    if made.joined:
        joins = "The store has this project already, with the same labels and no data: this folder joins it."
        said.append(joins)
    files = (
        "FILE.jsonl --split train" if from_export is None else f"{shlex.quote(str(from_export.resolve()))} --dry-run"
    )
    following = f"Next: loop -C {shlex.quote(str(made.home))} import {files}"
    answer = made if found is None else {**vars(made), "from_export": found}
    invocation.answer(answer, *said, *(proposal_view(found) if found is not None else ()), following)
    return 0


def status(invocation: Invocation) -> int | None:
    """Show the project: the model in service, F1 and labels for each entity type, open work, and what went wrong."""
    from loop.cli.views.status import view
    from loop.service.status import project_status
    from loop.settings.settings import without_password

    settings = invocation.settings
    found = project_status(
        invocation.store,
        invocation.project.id,
        settings.status,
        settings.promotion,
        annotations=settings.service.retrain_after,
        engine=without_password(settings.backend.engine),
    )
    invocation.answer(found, *view(found))
    return 0


def doctor(
    invocation: Invocation,
    data: Annotated[
        bool, typer.Option("--data", help="Look through the labelled texts of the store instead, and show a table.")
    ] = False,
) -> int | None:
    """Check what is known to go wrong, here and in Label Studio, and say how to mend it.

    Nothing is changed. The exit code is 10 when a check fails; with warnings alone it is 0. What --data finds in the
    texts is advice.
    """
    if data:
        return _audit_data(invocation)
    from loop.cli.views.doctor import finding
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


def _audit_data(invocation: Invocation) -> int:
    from loop.cli.views.doctor import audited
    from loop.doctor.data import audit
    from store.database.session import open_store

    invocation.store = open_store(invocation.settings.store_url, migrate=False)
    found = audit(invocation.store, invocation.project)
    invocation.answer(found, *audited(found))
    return 0


def _read(config: Path | None) -> str:
    try:
        return "" if config is None else config.read_text("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            "a label config can be read as UTF-8", value=str(error), next_step="Check the path."
        ) from error
