"""The section on what annotators did with the pre-labels."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from loop.quality.prelabels import Prelabels
from loop.report.facts import AttemptReport
from loop.report.files import from_json, page_of, to_json
from loop.report.page.html import render_html
from loop.report.page.markdown import render_markdown
from store.database.session import Store
from store.projects import project_by_name
from tests.loop.report import reported
from tests.store import given
from tests.store.empty import new_store
from tests.store.prelabelled import GNOME, LINUX, show, submit, tasks


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = new_store(tmp_path / "loop.db")
    reported.fill(opened)
    yield opened
    opened.close()


def annotated(store: Store) -> AttemptReport:
    """The report of an attempt after three annotations of two weeks, one from a pre-label that nobody knows."""
    with store.read() as session:
        project = project_by_name(session, "desk")
    documents = tasks(store, project, *(f"Linux Gnome {n}" for n in range(3)), group="in training")
    with store.transaction() as tx:
        given.move(tx, documents, "train")
        tx.commit()
    show(store, "desk-0001", documents[:2], given.at(1), LINUX, GNOME)
    submit(store, documents[0], 2, LINUX, GNOME)
    submit(store, documents[1], 2, LINUX, (6, 11, "OS"), source_created_at=given.at(2) + timedelta(days=7))
    submit(store, documents[2], 2, LINUX)
    return reported.report_of(reported.attempt(), store)


def test_the_report_tells_what_became_of_the_regions_by_version_type_and_week(store: Store) -> None:
    report = annotated(store)
    text = render_markdown(page_of(report))
    told = text.split("What annotators did with the pre-labels\n")[1].split("\n## ")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in told.splitlines() if "|" in line]
    by_name = {row[0]: row for row in rows}
    assert by_name["desk-0001"][1:4] == ["2", "4", "75%"]
    assert by_name["desk-0001"][5:] == ["0", "1", "0", "0", "2026-11-20", "2026-11-27"]
    assert by_name["OS"][1:4] == ["2", "2", "100%"]
    assert [by_name[week][3] for week in ("2026-11-16", "2026-11-23")] == ["100%", "50%"]
    assert "Not counted above: 1 annotation" in told


def test_the_section_is_kept_in_report_json(store: Store) -> None:
    report = annotated(store)
    assert from_json(to_json(report)) == report


def test_a_report_of_before_has_no_pre_labels(store: Store) -> None:
    text = to_json(annotated(store)).replace('"prelabels"', '"unknown key"')
    read = from_json(text)
    assert isinstance(read, AttemptReport)
    assert read.prelabels == Prelabels()
    assert "No submitted annotation began from a pre-label yet." in render_html(page_of(read))
