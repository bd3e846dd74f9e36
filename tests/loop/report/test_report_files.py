"""Reports are kept whole, numbered by version, and made again from their JSON alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from loop.report import files
from loop.report.facts import Report
from loop.report.files import ReportFiles, find_report, from_json, keep_report, read_report, render_again, to_json
from loop.report.page.blocks import Page
from ner.errors import InputError
from store.errors import NotFoundError

KEPT = Path(__file__).parent / "kept_before"
EXAMPLE = KEPT / "rollback" / "report.json"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is in the page is another test's matter."""
    monkeypatch.setattr(files, "render_html", lambda page: f"page: {page.title}")
    monkeypatch.setattr(files, "render_markdown", lambda page: f"text: {page.title}")


pytestmark = pytest.mark.usefixtures("quick")


def made(version: str = "desk-0001", at: str = "2026-11-20T10:00:00+00:00") -> Report:
    return from_json(json.dumps(json.loads(EXAMPLE.read_text("utf-8")) | {"version": version, "at": at}))


def test_reports_on_a_version_are_numbered_from_one(tmp_path: Path):
    kept = [keep_report(made(version), tmp_path).folder.name for version in ("desk-0001", "desk-0001", "desk-0002")]
    assert kept == ["desk-0001-01", "desk-0001-02", "desk-0002-01"]


def test_a_report_is_three_files_that_say_the_same(tmp_path: Path):
    kept = keep_report(made(), tmp_path)
    assert from_json(kept.json.read_text("utf-8")) == made()
    title = "ex-home-0002: rolled back to ex-home-0001"
    assert (kept.html.read_text("utf-8"), kept.markdown.read_text("utf-8")) == (f"page: {title}", f"text: {title}")
    assert [path.name for path in tmp_path.iterdir()] == ["desk-0001-01"]


def test_a_report_that_cannot_be_made_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def broken(page: Page) -> str:
        raise RuntimeError("no plot")

    monkeypatch.setattr(files, "render_html", broken)
    with pytest.raises(RuntimeError):
        keep_report(made(), tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_folder_that_another_process_took_meanwhile_is_not_written_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    taken = tmp_path / "desk-0001-01"

    def meanwhile(page: Page) -> str:
        taken.mkdir()
        (taken / "report.json").write_text("theirs")
        return ""

    monkeypatch.setattr(files, "render_html", meanwhile)
    assert keep_report(made(), tmp_path).folder.name == "desk-0001-02"
    assert (taken / "report.json").read_text() == "theirs"


def test_html_and_markdown_come_again_from_the_json(tmp_path: Path):
    kept = keep_report(made(), tmp_path)
    kept.html.unlink()
    kept.markdown.write_text("old")
    render_again(kept)
    assert kept.html.read_text("utf-8").startswith("page: ")
    assert kept.markdown.read_text("utf-8").startswith("text: ")


def test_the_latest_report_is_the_one_decided_last_whatever_its_version(tmp_path: Path):
    keep_report(made("desk-0009", "2026-11-20T10:00:00+00:00"), tmp_path)
    last = keep_report(made("desk-0001", "2026-11-21T10:00:00+00:00"), tmp_path)
    assert find_report(tmp_path).folder == last.folder


def test_the_latest_report_on_a_version_is_the_one_with_the_highest_number(tmp_path: Path):
    for _ in range(11):
        last = keep_report(made(), tmp_path)
    keep_report(made("desk-0001-b"), tmp_path)
    assert find_report(tmp_path, "desk-0001").folder == last.folder == tmp_path / "desk-0001-11"


def test_an_unknown_version_names_those_that_have_reports(tmp_path: Path):
    keep_report(made("desk-0002"), tmp_path)
    with pytest.raises(NotFoundError, match="There are reports on: desk-0002"):
        find_report(tmp_path, "desk-0001")


def test_without_any_report_the_next_step_is_to_make_one(tmp_path: Path):
    with pytest.raises(NotFoundError, match="loop promote"):
        find_report(tmp_path / "reports")
    with pytest.raises(NotFoundError, match=r"none on desk-0001.*loop promote"):
        find_report(tmp_path / "reports", "desk-0001")


@pytest.mark.parametrize("content", ["", "[]", '{"format": 2}', '{"format": 1, "kind": "attempt"}', "[" * 100_000])
def test_a_file_that_is_no_report_is_refused(tmp_path: Path, content: str):
    kept = keep_report(made(), tmp_path)
    kept.json.write_text(content)
    with pytest.raises(InputError):
        read_report(kept)


def test_a_damaged_report_does_not_hide_the_others(tmp_path: Path):
    good = keep_report(made(), tmp_path)
    keep_report(made("desk-0002"), tmp_path).json.write_text("{")
    assert find_report(tmp_path).folder == good.folder


def test_a_folder_that_cannot_be_written_is_an_error_with_a_next_step(tmp_path: Path):
    (tmp_path / "reports").write_text("a file")
    with pytest.raises(InputError, match="permissions"):
        keep_report(made(), tmp_path / "reports")


# Reports that the version before wrote


@pytest.fixture(params=["promotion", "rejection", "rollback", "spent-holdout"])
def older(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A folder of reports with one real report in it, as format 1 had it before this version."""
    content = json.loads((KEPT / request.param / "report.json").read_text("utf-8"))
    folder = tmp_path / f"{content['version']}-01"
    folder.mkdir()
    (folder / "report.json").write_text(json.dumps(content), "utf-8")
    return tmp_path


def test_a_report_of_the_version_before_is_found_and_rendered(older: Path):
    found = find_report(older)
    render_again(found)
    assert found.html.read_text("utf-8").startswith(f"page: {files.page_of(read_report(found)).title}")


def test_a_report_of_the_version_before_keeps_every_figure(older: Path):
    (folder,) = older.iterdir()
    before = json.loads((folder / "report.json").read_text("utf-8"))
    after = json.loads(to_json(read_report(ReportFiles(folder))))
    assert known(after, before) == before


def known(value: Any, before: Any) -> Any:
    """`value` without the keys that were added since."""
    if isinstance(before, dict):
        return {key: known(value[key], before[key]) for key in before}
    if isinstance(before, list):
        return [known(one, other) for one, other in zip(value, before, strict=True)]
    return value
