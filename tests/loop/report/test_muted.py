"""Sources of weak labels that are muted, in the report of the model that was trained without their votes."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest

from loop.report.facts import AttemptReport
from loop.report.files import from_json, page_of, to_json
from loop.report.page.html import render_html
from loop.report.page.markdown import render_markdown
from loop.weak.worth import Harm
from store.database.session import Store
from store.registry import model
from store.weak.sources import BY_THE_LOOP, enter_source, muted_sources, muting, set_muted, weak_sources
from tests.loop.report import reported
from tests.store.empty import new_store

POISON = Harm(
    "poison",
    documents=40,
    with_f1=0.5,
    without_f1=0.75,
    low=0.125,
    high=0.375,
    p_value=0.001,
    tested=2,
    method="majority",
    method_with_f1=0.5,
    method_without_f1=0.75,
    votes=80,
    right=1,
)
NOTICE = (
    "This training muted poison, a source of weak labels. Without it the majority vote on 40 labelled documents has F1 "
    "0.750 instead of 0.500; 1 of its 80 votes there are right."
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    opened = new_store(tmp_path / "loop.db")
    reported.fill(opened)
    yield opened
    opened.close()


def trained_without(store: Store, version: str) -> AttemptReport:
    """The report of this version, trained after `poison` was muted by the loop, and `spare` by a person."""
    with store.transaction() as tx:
        for name in ("poison", "spare"):
            enter_source(tx, 1, name, "gazetteer", "f" * 64)
        if not muted_sources(tx.session, 1):
            set_muted(tx, 1, "poison", True, BY_THE_LOOP, asdict(POISON))
            set_muted(tx, 1, "spare", True, "anna")
        made = model(tx.session, version)
        made.figures = {**made.figures, "muted": list(map(muting, weak_sources(tx.session, 1)))}
        tx.commit()
    return reported.report_of(reported.attempt(version=version), store)


def test_a_training_that_muted_a_source_says_so_with_the_evidence(store: Store) -> None:
    report = trained_without(store, "desk-0002")
    page = page_of(report)
    markdown, html = render_markdown(page), render_html(page)
    assert f"{NOTICE} `loop weak unmute poison` lets it count again." in markdown
    assert f"{NOTICE} <code>loop weak unmute poison</code> lets it count again." in html
    told = markdown.split("Sources of weak labels that are muted")[1].split("###")[0]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in told.splitlines() if "|" in line]
    by_name = {row[0]: row[1:] for row in rows}
    assert by_name["poison"][:7] == ["0.500", "0.750", "+25.0", "+12.5 to +37.5", "40", "1 of 80", "0.001"]
    assert by_name["poison"][7].startswith("by this training, ")
    assert by_name["spare"][7].startswith("by anna, ")


def test_a_source_that_an_earlier_training_muted_is_no_news(store: Store) -> None:
    trained_without(store, "desk-0001")
    with store.transaction() as tx:
        first, second = model(tx.session, "desk-0001"), model(tx.session, "desk-0002")
        first.created_at = second.created_at = max(one.muted_at for one in weak_sources(tx.session, 1) if one.muted_at)
        tx.commit()
    text = render_markdown(page_of(trained_without(store, "desk-0002")))
    assert "by an earlier training, " in text
    assert "This training muted" not in text


def test_muted_sources_are_kept_in_report_json_and_a_report_of_before_has_none(store: Store) -> None:
    report = trained_without(store, "desk-0002")
    assert from_json(to_json(report)) == report
    assert report.data.trained.muted[0].evidence is not None
    before = from_json(to_json(report).replace('"muted"', '"unknown key"'))
    assert isinstance(before, AttemptReport)
    assert before.data.trained.muted == ()
