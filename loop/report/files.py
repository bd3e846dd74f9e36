"""Where reports are kept: `<reports>/<version>-<nn>/report.{json,html,md}`, nn counting the reports on a version."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from loop.report.content import FORMAT
from loop.report.render_html import render_html
from loop.report.render_markdown import render_markdown
from loop.settings.whole_files import write_whole
from ner.errors import InputError
from store.errors import NotFoundError

JSON, HTML, MARKDOWN = "report.json", "report.html", "report.md"
_FOLDER = re.compile(r"(?P<version>.+)-(?P<number>\d{2,})")
_DRAFT = ".building-"


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """The three files of one report."""

    folder: Path

    @property
    def json(self) -> Path:
        """The whole content."""
        return self.folder / JSON

    @property
    def html(self) -> Path:
        """One self-contained page."""
        return self.folder / HTML

    @property
    def markdown(self) -> Path:
        """The same, to be read in a terminal."""
        return self.folder / MARKDOWN


def keep_report(report: dict[str, Any], reports: Path) -> ReportFiles:
    """Write a report into the next folder of its version under `reports`; the folder is there whole or not at all.

    Raises InputError where nothing can be written.
    """
    try:
        reports.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=_DRAFT, dir=reports))
    except OSError as error:
        raise _unwritable(reports, error) from error
    try:
        draft.chmod(0o755)
        write_report(report, draft)
        return ReportFiles(_moved(draft, reports, report["version"]))
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def write_report(report: dict[str, Any], folder: Path) -> ReportFiles:
    """Write the three files into `folder`, each whole: JSON first, then what is made of it."""
    files = ReportFiles(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(folder, error) from error
    write_whole(files.json, json.dumps(report, ensure_ascii=False, allow_nan=False, indent=1) + "\n")
    write_whole(files.markdown, render_markdown(report))
    write_whole(files.html, render_html(report))
    return files


def render_again(files: ReportFiles) -> None:
    """Make HTML and Markdown anew from the JSON, such as with another version of this program."""
    report = read_report(files)
    write_whole(files.markdown, render_markdown(report))
    write_whole(files.html, render_html(report))


def read_report(files: ReportFiles) -> dict[str, Any]:
    """The content of a kept report; raises InputError when it cannot be read or is of another format."""
    try:
        report = json.loads(files.json.read_text("utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise InputError("a report can be read", value=str(error), next_step=f"Look at {files.json}.") from error
    if not isinstance(report, dict) or report.get("format") != FORMAT:
        raise InputError(
            f"a report has format {FORMAT}",
            value=str(files.json),
            next_step="Read it with the version of this program that wrote it.",
        )
    return report


def find_report(reports: Path, version: str | None = None) -> ReportFiles:
    """The latest report on `version`, else the latest of all by the time it was decided; NotFoundError without one.

    A folder's name in place of a version names that very report.
    """
    known = [(number, files) for name, number, files in kept_reports(reports) if version in (None, name)]
    if not known:
        known = [(number, files) for _, number, files in kept_reports(reports) if files.folder.name == version]
    if not known:
        raise NotFoundError(
            "a report is written at every attempt at a promotion, and at every rollback",
            value=f"none on {version}" if version else f"none in {reports}",
            next_step=f"There are reports on: {_versions(reports)}." if version else "Make one: `loop promote`.",
        )
    if version is not None:
        return max(known, key=lambda one: one[0])[1]
    return max((files for _, files in known), key=_decided)


def _decided(files: ReportFiles) -> str:
    """When: ISO 8601 in UTC sorts as text. What cannot be read is older than everything."""
    try:
        return str(read_report(files).get("at", ""))
    except InputError:
        return ""


def kept_reports(reports: Path) -> Iterator[tuple[str, int, ReportFiles]]:
    """(version, number, files) of every report."""
    for folder in sorted(reports.iterdir()) if reports.is_dir() else ():
        found = _FOLDER.fullmatch(folder.name)
        if found and not folder.name.startswith(".") and (folder / JSON).is_file():
            yield found["version"], int(found["number"]), ReportFiles(folder)


def _versions(reports: Path) -> str:
    return ", ".join(dict.fromkeys(version for version, _, _ in kept_reports(reports))) or "none"


def _moved(draft: Path, reports: Path, version: str) -> Path:
    """Renamed to the next free number; another process may take it first."""
    number = max((known for name, known, _ in kept_reports(reports) if name == version), default=0)
    while True:
        number += 1
        folder = reports / f"{version}-{number:02d}"
        if folder.exists():
            continue
        try:
            return draft.rename(folder)
        except OSError as error:
            if not folder.exists():
                raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(f"reports can be written to {folder}", value=str(error), next_step="Check its permissions.")
