"""`loop report`: what was decided, on which figures, and what to do next."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from loop.cli.invocation import Invocation, command

if TYPE_CHECKING:
    from loop.report.files import ReportFiles

VersionOrReport = Annotated[
    str | None,
    typer.Argument(metavar="VERSION", help="A model's version, or the name of a report's folder.", show_default=False),
]


def register(app: typer.Typer) -> None:
    """Add this command to `app`."""
    command(app, "report", "loop report --open")(report)


def report(
    invocation: Invocation,
    version: VersionOrReport = None,
    latest: Annotated[bool, typer.Option("--latest", help="The latest report of all; this is the default.")] = False,
    show: Annotated[bool, typer.Option("--open", help="Open the page in the browser.")] = False,
    history: Annotated[bool, typer.Option("--history", help="Every decision so far, instead of one report.")] = False,
) -> int | None:
    """Show the report of the latest attempt at a promotion or rollback, or the latest report about VERSION.

    Each attempt, promoted or not, and each rollback leaves a report under reports/ in the project folder: a page
    (report.html), the same for a terminal (report.md), and every figure (report.json, which --json prints).
    """
    if latest and version is not None:
        raise typer.BadParameter("give either VERSION or --latest")
    if history:
        if show or latest:
            raise typer.BadParameter("--history goes with neither --open nor --latest")
        return _history(invocation, version)
    from loop.report.files import earlier_reports, find_report, page_of, read_report

    files = find_report(invocation.settings.reports, version)
    found = read_report(files)
    if show:
        _open(invocation, files)
    if invocation.as_json:
        invocation.answer(found)
        return 0
    from loop.cli.views.report import view

    earlier = earlier_reports(files, invocation.settings.reports)
    more = [f"{earlier:,} earlier report{'s' if earlier > 1 else ''} on this version."] if earlier else []
    invocation.say(*view(found, page_of(found)), "", f"Page:     {files.html}", f"Markdown: {files.markdown}", *more)
    return 0


def _history(invocation: Invocation, version: str | None) -> int:
    from loop.cli.views.report import history_view
    from loop.report.files import reports_on
    from loop.report.history import decisions

    with invocation.store.read() as session:
        known = [
            one for one in decisions(session, invocation.project.id) if version in (None, one.version, one.previous)
        ]
    named = reports_on(known, invocation.settings.reports)
    if invocation.as_json:
        rows = [asdict(one) | {"report": name} for one, name in zip(known, named, strict=True)]
        invocation.answer({"decisions": rows})
    elif known:
        invocation.say(*history_view(known, named))
    else:
        invocation.say("Nothing was decided yet: `loop promote` judges the newest candidate.")
    return 0


def _open(invocation: Invocation, files: ReportFiles) -> None:
    """Open the page in the browser; where there is no browser, say where the page is."""
    import webbrowser

    from loop import console

    if not webbrowser.open(files.html.resolve().as_uri()) and not invocation.as_json:
        console.stderr().print(f"No browser could be opened; the page is {files.html}", soft_wrap=True, markup=False)
