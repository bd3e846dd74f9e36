"""Where reports are kept: `<reports>/<version>-<nn>/report.{json,html,md}`, nn counting the reports on a version.

report.json is the whole of a report; it is read back into the dataclasses of `facts`, and the pages are made of it."""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from loop.console import plain
from loop.report.facts import ATTEMPT, FORMAT, ROLLBACK, AttemptReport, Report, RollbackReport
from loop.report.history import PastDecision
from loop.report.page import attempt, rollback
from loop.report.page.blocks import Page
from loop.report.page.html import render_html
from loop.report.page.markdown import render_markdown
from loop.settings.whole_files import write_whole
from ner.errors import InputError
from store import registry
from store.errors import NotFoundError

JSON, HTML, MARKDOWN = "report.json", "report.html", "report.md"
_FOLDER = re.compile(r"(?P<version>.+)-(?P<number>\d{2,})")
_DRAFT = ".building-"
_LATE = timedelta(seconds=1)
_KINDS: Mapping[str, type[Report]] = {ATTEMPT: AttemptReport, ROLLBACK: RollbackReport}


@dataclass(frozen=True, slots=True)
class ReportFiles:
    """The three files of one report. number: the number of the report among those on `version`."""

    folder: Path
    version: str = ""
    number: int = 0

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
        """The same, for a terminal."""
        return self.folder / MARKDOWN


def page_of(report: Report) -> Page:
    """The page of either kind of report."""
    return rollback.page(report) if isinstance(report, RollbackReport) else attempt.page(report)


def keep_report(report: Report, reports: Path) -> ReportFiles:
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
        files = ReportFiles(draft)
        write_whole(files.json, to_json(report))
        render_again(files)
        return _moved(draft, reports, report.version)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def render_again(files: ReportFiles) -> None:
    """Make HTML and Markdown from the JSON alone, so that any version of this program makes them anew."""
    page = page_of(read_report(files))
    write_whole(files.markdown, render_markdown(page))
    write_whole(files.html, render_html(page))


def read_report(files: ReportFiles) -> Report:
    """The content of a kept report; raises InputError when it cannot be read or is of another format."""
    try:
        return from_json(files.json.read_text("utf-8"))
    except (OSError, ValueError) as error:
        next_step = f"Look at {files.json}, or read it with the version of this program that wrote it."
        raise InputError("a report can be read", value=str(error), next_step=next_step) from error


def to_json(report: Report) -> str:
    """The whole report as one JSON document."""
    return json.dumps(plain(report), ensure_ascii=False, allow_nan=False, indent=1) + "\n"


def from_json(text: str) -> Report:
    """The report of a document. Unknown keys are passed over. Raises ValueError where the document is no report."""
    try:
        read = json.loads(text)
    except RecursionError as error:
        raise ValueError("the JSON is nested too deeply") from error
    if not isinstance(read, dict) or read.get("format") != FORMAT or read.get("kind") not in _KINDS:
        raise ValueError(f"a report has format {FORMAT} and is of the kind {' or '.join(_KINDS)}")
    try:
        return _reader(read["kind"]).validate_python(read)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        raise ValueError(f"{'.'.join(map(str, first['loc']))}: {first['msg']}") from error


@cache
def _reader(kind: str) -> TypeAdapter[Report]:
    return TypeAdapter(_KINDS[kind])


def find_report(reports: Path, version: str | None = None) -> ReportFiles:
    """The latest report on `version`, else the latest of all by the time of its decision; NotFoundError without one.

    A folder's name in place of a version names this very report.
    """
    known = kept_reports(reports)
    named = [one for one in known if version in (None, one.version)]
    named = named or [one for one in known if one.folder.name == version]
    if named:
        return named[-1] if version else max(named, key=_decided)
    versions = ", ".join(dict.fromkeys(one.version for one in known))
    raise NotFoundError(
        "a report is written at every attempt at a promotion, and at every rollback",
        value=f"none on {version}" if version else f"none in {reports}",
        next_step=f"There are reports on: {versions}." if versions else "Make one: `loop promote`.",
    )


def kept_reports(reports: Path) -> list[ReportFiles]:
    """Every report, by version and number."""
    found = []
    for folder in reports.iterdir() if reports.is_dir() else ():
        match = _FOLDER.fullmatch(folder.name)
        if match and not folder.name.startswith(".") and (folder / JSON).is_file():
            found.append(ReportFiles(folder, match["version"], int(match["number"])))
    return sorted(found, key=lambda one: (one.version, one.number))


def earlier_reports(files: ReportFiles, reports: Path) -> int:
    """How many older reports there are on the same version."""
    return sum(one.version == files.version and one.number < files.number for one in kept_reports(reports))


def reports_on(decisions: Sequence[PastDecision], reports: Path) -> list[str | None]:
    """For each decision the name of its report's folder, None where there is none.

    An attempt begins before its decision is recorded. Its report is therefore the last one that began between this
    decision and the decision before it on the same version.
    """
    kept = list(_readable(reports))
    named: list[str | None] = []
    last: dict[str, datetime] = {}
    for one in decisions:
        since = last.get(one.version)
        found = [
            name
            for name, report in kept
            if report.version == one.version
            and (report.kind == ROLLBACK) == (one.action == registry.ROLLBACK)
            and report.at <= one.at + _LATE
            and (since is None or report.at > since)
        ]
        named.append(found[-1] if found else None)
        last[one.version] = one.at
    return named


def _readable(reports: Path) -> Iterator[tuple[str, Report]]:
    """(name of the folder, report); a report that cannot be read is left out."""
    for files in kept_reports(reports):
        try:
            yield files.folder.name, read_report(files)
        except InputError:
            continue


def _decided(files: ReportFiles) -> datetime:
    """The time of the decision; a report that cannot be read is older than all others."""
    try:
        return read_report(files).at
    except InputError:
        return datetime.min.replace(tzinfo=UTC)


def _moved(draft: Path, reports: Path, version: str) -> ReportFiles:
    """Rename the draft to the next free number; another process may take a number first."""
    number = max((one.number for one in kept_reports(reports) if one.version == version), default=0)
    while True:
        number += 1
        folder = reports / f"{version}-{number:02d}"
        if folder.exists():
            continue
        try:
            return ReportFiles(draft.rename(folder), version, number)
        except OSError as error:
            if not folder.exists():
                raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: OSError) -> InputError:
    return InputError(f"reports can be written to {folder}", value=str(error), next_step="Check its permissions.")
