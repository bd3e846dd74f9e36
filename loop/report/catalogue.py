"""Which kept report is about which decision."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from loop.report.content import ROLLBACK
from loop.report.files import ReportFiles, kept_reports, read_report
from loop.report.history import PastDecision
from ner.errors import InputError

_LATE = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class _Kept:
    name: str
    version: str
    at: datetime
    rollback: bool


def reports_on(decisions: Sequence[PastDecision], reports: Path) -> list[str | None]:
    """For each decision the name of its report's folder, None where there is none.

    An attempt begins before its decision is recorded, so that its report is the last one between two decisions on the
    same version.
    """
    kept = _read(reports)
    named: list[str | None] = []
    last: dict[str, datetime] = {}
    for one in decisions:
        since = last.get(one.version)
        found = [
            report.name
            for report in kept
            if report.version == one.version
            and report.rollback == (one.action == ROLLBACK)
            and report.at <= one.at + _LATE
            and (since is None or report.at > since)
        ]
        named.append(found[-1] if found else None)
        last[one.version] = one.at
    return named


def earlier_reports(files: ReportFiles, reports: Path) -> int:
    """How many older reports there are on the same version."""
    numbers = {kept.folder.name: (version, number) for version, number, kept in kept_reports(reports)}
    if files.folder.name not in numbers:
        return 0
    version, number = numbers[files.folder.name]
    return sum(other == version and before < number for other, before in numbers.values())


def _read(reports: Path) -> list[_Kept]:
    """In the order of their numbers; what cannot be read is left out."""
    found = []
    for version, _, files in sorted(kept_reports(reports), key=lambda one: one[:2]):
        try:
            report = read_report(files)
            at = datetime.fromisoformat(report["at"])
        except (InputError, KeyError, TypeError, ValueError):
            continue
        found.append(_Kept(files.folder.name, version, at, report.get("kind") == ROLLBACK))
    return found
