"""The page and its Markdown: complete, self-contained, accessible, and closed to whatever the texts try."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from html.parser import HTMLParser
from itertools import pairwise

import pytest

from loop.judging.measured import HeldOutText
from loop.promotion.attempt import Attempt, Gate
from loop.report.facts import AttemptReport, Report, ResultRow, SystemScores
from loop.report.files import page_of
from loop.report.page.figures import axis_reach, forest, history_line
from loop.report.page.html import render_html
from loop.report.page.markdown import escaped, line, render_markdown
from loop.report.rollback import report_of_rollback
from ner.spans import Span
from store.database.session import Store
from tests.loop.report import reported
from tests.loop.report.reported import report_of, rolled_back, scored
from tests.store.empty import new_store

KINDS: dict[str, Callable[[], Attempt]] = {
    name: getattr(reported, name)
    for name in ("attempt", "rejected", "forced", "spent", "deferred", "refused", "first", "hostile")
}
BROKEN = Gate("the last gate", "cost", "at least 1", "0", "fail")
LIMIT = 400_000  # bytes
VOID = {"meta", "br", "img", "path", "line", "circle", "link", "input"}


class Page(HTMLParser):
    """The elements of a page, its text, and what stays open."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data

    def all(self, *tags: str) -> list[dict[str, str | None]]:
        return [attrs for tag, attrs in self.elements if tag in tags]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = new_store(tmp_path_factory.mktemp("rendered") / "loop.db")
    reported.fill(opened)
    yield opened
    opened.close()


@pytest.fixture(scope="module")
def content(store: Store) -> Callable[[str], Report]:
    @cache
    def of(name: str) -> Report:
        if name == "rollback":
            return report_of_rollback("desk", rolled_back(exact=False, publish_problem="<b>no</b>"), store)
        return report_of(KINDS[name](), store)

    return of


@pytest.fixture(scope="module")
def page(content: Callable[[str], Report]) -> Callable[[str], str]:
    return cache(lambda name: render_html(page_of(content(name))))


@pytest.mark.parametrize("name", [*KINDS, "rollback"])
def test_a_page_is_whole_and_needs_nothing_from_outside(name: str, page: Callable[[str], str]):
    parsed = Page(page(name))
    assert parsed.open == []
    assert not parsed.all("script", "link", "img", "iframe", "object", "embed", "base", "form", "image")
    places = [value for _, attrs in parsed.elements for key, value in attrs.items() if key.endswith(("href", "src"))]
    assert all(str(value).startswith("#") for value in places)
    assert not [key for _, attrs in parsed.elements for key in attrs if key.startswith("on")]
    assert "url(http" not in page(name)
    assert "@import" not in page(name)
    assert len(page(name).encode("utf-8")) < LIMIT


@pytest.mark.parametrize("name", [*KINDS, "rollback"])
def test_a_page_can_be_heard_and_not_only_seen(name: str, page: Callable[[str], str]):
    parsed = Page(page(name))
    levels = [int(tag[1]) for tag, _ in parsed.elements if re.fullmatch(r"h[1-6]", tag)]
    assert levels[0] == 1
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in pairwise(levels))
    assert len(parsed.all("table")) == len(parsed.all("caption"))
    assert all(attrs.get("scope") for attrs in parsed.all("th"))
    pictures = [attrs for _, attrs in parsed.elements if attrs.get("role") == "img"]
    assert len(pictures) == len(parsed.all("figure"))
    assert all(attrs["aria-label"] for attrs in pictures)
    assert all(attrs.get("aria-hidden") == "true" for attrs in parsed.all("svg"))
    ids = Counter(attrs["id"] for _, attrs in parsed.elements if attrs.get("id"))
    assert [one for one, number in ids.items() if number > 1] == []
    targets = {str(attrs["href"])[1:] for attrs in parsed.all("a", "use") if "href" in attrs}
    assert targets <= set(ids)


def test_texts_that_try_to_be_markup_are_shown_as_they_are(page: Callable[[str], str]):
    parsed = Page(page("hostile"))
    assert not parsed.all("b", "i", "u", "script", "img")
    assert '<script>alert("x")</script><img src=x onerror=alert(1)>' in parsed.words.replace("\n", "")
    assert "{{ 7 * 7 }} {% raw %} $\\frac{1}{2}$" in parsed.words
    assert "<b>SOFTWARE</b>" in parsed.words


def test_control_characters_and_marks_of_direction_are_written_out(page: Callable[[str], str]):
    assert not re.search("[\0-\x08\x0b-\x1f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", page("hostile"))
    assert "\\u202e" in page("hostile")
    assert "nul\\x00bell\\x07 lone �" in "".join(Page(page("hostile")).words)


def test_a_status_is_a_word_with_a_sign_and_not_a_colour_alone(page: Callable[[str], str]):
    assert re.search(r'class="status good"><span aria-hidden="true">✓</span> pass<', page("attempt"))
    assert re.search(r'class="status open"><span aria-hidden="true">◇</span> insufficient<', page("attempt"))
    assert re.search(r'class="status bad"><span aria-hidden="true">✕</span> fail<', page("rejected"))


def test_both_spans_of_an_example_are_marked_each_in_its_way(store: Store):
    documents = (HeldOutText("d", "use Excel 2016 now", (Span(4, 14, "OS"),), (Span(4, 9, "OS"),)),)
    made = page_of(report_of(scored(replace(reported.first(), documents=documents)), store))
    both, gold_alone = '<mark class="gold"><mark class="found">Excel</mark></mark>', '<mark class="gold"> 2016</mark>'
    assert f"use {both}{gold_alone} now" in render_html(made)
    assert "use ⟦⟪Excel⟫ 2016⟧ now" in render_markdown(made)


def test_the_page_says_what_the_content_says(page: Callable[[str], str], content: Callable[[str], Report]):
    words = " ".join(Page(page("attempt")).words.split())
    made = content("attempt")
    assert isinstance(made, AttemptReport)
    for sentence in made.verdict.sentences:
        assert sentence in words
    for gate in made.gates:
        assert gate.name in words
        assert gate.target in words
        assert gate.value in words
    for entry in (*made.findings, *made.risks, *made.limits, *made.next_steps):
        assert entry.text in words
    assert "loop promote desk-0002" in words


def test_the_result_stands_before_what_it_rests_on_in_html_and_markdown(
    page: Callable[[str], str], content: Callable[[str], Report]
):
    order = ["gates", "results", "errors", "outlook", "prelabels", "data", "efficiency", "robustness", "ledger"]
    order += ["lineage", "undo"]
    sections = [str(attrs["id"]) for attrs in Page(page("attempt")).all("section")]
    assert sections == order
    titles = [section.title for section in page_of(content("attempt")).sections]
    written = render_markdown(page_of(content("attempt")))
    assert re.findall(r"^## \d+ (.*)", written, re.MULTILINE) == titles
    hashes = re.search(r"SHA-256", written)
    assert hashes is not None
    assert written.index("## 9 ") < hashes.start()  # no hash before models, settings and machine


def test_force_and_a_spent_holdout_cannot_be_overlooked(page: Callable[[str], str]):
    assert "by force" in Page(page("forced")).words
    assert "holdout 2 was drawn, 135 documents" in " ".join(Page(page("spent")).words.split())


def test_a_rollbacks_page_lists_what_was_made_on_top_and_what_is_left_to_do(page: Callable[[str], str]):
    words = " ".join(Page(page("rollback")).words.split())
    assert "1 annotation took the withdrawn pre-labels unchanged" in words
    assert all(name in words for name in ("ticket-0", "ticket-1", "ticket-2", "misses versions", "an estimate"))


def test_every_plot_is_drawn_once(page: Callable[[str], str]):
    parsed = Page(page("attempt"))
    assert [attrs["id"] for attrs in parsed.all("figure")] == ["plot-forest", "plot-history"]
    shaded = [attrs for attrs in parsed.all("td") if "shaded" in str(attrs.get("class"))]
    assert len(shaded) == 5 * 5 - 1 + len(reported.ROBUSTNESS)  # the confusion matrix, and bars of robustness


def test_plots_take_the_colours_of_the_page(page: Callable[[str], str]):
    drawn = "".join(re.findall(r"<figure.*?</figure>", page("attempt"), re.DOTALL))
    assert not re.findall(r"#[0-9a-f]{6}|rgb", drawn)
    used = set(re.findall(r"var\((--[a-z-]+)\)", page("attempt")))
    known = set(re.findall(r"(--[a-z-]+):", page("attempt")))
    assert used <= known


def test_plots_are_labelled_with_the_figures_of_the_content(
    content: Callable[[str], Report], page: Callable[[str], str]
):
    made = content("attempt")
    assert isinstance(made, AttemptReport)
    micro = made.results.micro
    assert micro is not None
    assert micro.delta is not None
    assert f">{micro.candidate.f1:.3f}</text>" in page("attempt")
    drawn = forest(made.results)
    assert drawn is not None
    assert drawn.rows[0].name == "micro"
    assert drawn.rows[0].figures.startswith(f"{100 * micro.delta:+.1f} (")


def test_a_difference_lies_on_its_axis_by_its_size(content: Callable[[str], Report]):
    made = content("attempt")
    assert isinstance(made, AttemptReport)
    drawn = forest(made.results)
    assert drawn is not None
    first = drawn.rows[0]
    assert first.at is not None
    assert 0 <= first.low < first.at < first.high <= 100
    assert drawn.zero.at == 50
    assert drawn.margin.at < 50 < first.at  # the candidate is better
    half = axis_reach([row for row in made.results.rows if row.low is not None], 0.03)
    assert drawn.margin.at == pytest.approx(50 - 50 * 0.03 / half, abs=0.01)


def test_a_version_that_was_not_promoted_is_a_hollow_point_off_the_line(content: Callable[[str], Report]):
    made = content("rejected")
    assert isinstance(made, AttemptReport)
    drawn = history_line(made.history)
    assert drawn is not None
    assert [mark.hollow for mark in drawn.marks] == [False, True]
    assert drawn.segments == ()


def test_plots_have_nothing_to_show_where_nothing_was_measured(content: Callable[[str], Report]):
    made = content("deferred")
    assert isinstance(made, AttemptReport)
    assert history_line(made.history) is None
    assert forest(made.results) is None
    assert "<figure" not in render_html(page_of(made))


def test_the_same_content_makes_the_same_page(content: Callable[[str], Report], page: Callable[[str], str]):
    assert render_html(page_of(content("attempt"))) == page("attempt")


def many_types(number: int) -> Attempt:
    types = tuple(f"TYPE_{index:03d}" for index in range(number))
    documents = tuple(
        HeldOutText(f"d{index}", "some words here", (Span(0, 4, name),), (Span(5, 10, name),), (Span(0, 4, name),))
        for index, name in enumerate(types)
    )
    gates = tuple(
        Gate(f"{name} is not worse", "non-inferiority", "above -3", "+1.0", "pass", "", name) for name in types
    )
    made = replace(reported.first(), types=types, documents=documents, gates=gates, against="desk-0001")
    return scored(made)


def test_hundreds_of_types_make_a_page_of_a_bounded_size_that_says_what_it_left_out(store: Store):
    given = many_types(250)
    made = report_of(replace(given, gates=(*given.gates, BROKEN)), store)
    written = render_html(page_of(made))
    left_out = written.count("150 more types are in report.json.")
    assert left_out == 3  # tables of types: the data, the results, the errors
    assert len(written.encode("utf-8")) < LIMIT
    assert len(made.results.rows) == 252
    assert '<th scope="row"><bdi>the last gate</bdi>' in written  # what did not pass is not left out


@pytest.mark.parametrize("name", [*KINDS, "rollback"])
def test_markdown_tables_have_as_many_cells_in_every_row(name: str, content: Callable[[str], Report]):
    made = render_markdown(page_of(content(name)))
    tables = re.findall(r"(?:^\|.*\|\n?)+", made, re.MULTILINE)
    assert tables or name in ("deferred", "refused")
    for table in tables:
        rows = table.strip().split("\n")
        assert len({len(re.findall(r"(?<!\\)\|", row)) for row in rows}) == 1


def test_markdown_holds_no_html_no_picture_and_no_heading_from_the_texts(content: Callable[[str], Report]):
    made = render_markdown(page_of(content("hostile")))
    with_signs = [row for row in made.splitlines() if "<" in row]
    assert with_signs == ["    loop promote <script>alert(2)</script>"]  # a block of code
    assert not re.search(r"(?<!\\)!?\[", made)
    assert not re.search(r"(?<!\\)`", made)
    headings = re.findall(r"^(#+) (.*)", made, re.MULTILINE)
    assert len([one for one in headings if one[0] == "#"]) == 1
    assert "no heading" not in "".join(text for _, text in headings)


def test_markdown_is_complete(content: Callable[[str], Report]):
    made = render_markdown(page_of(content("attempt")))
    assert "| desk-0001 | 2026-11-17 | promoted" in made
    assert "    loop promote desk-0002\n" in made


@pytest.mark.parametrize(
    ("text", "inline", "first"),
    [
        ("a|b", "a\\|b", "a\\|b"),
        ("# no", "# no", "\\# no"),
        ("1. no", "1. no", "\\1. no"),
        ("0.906", "0.906", "0.906"),
        ("snake_case _em_", "snake_case \\_em\\_", "snake_case \\_em\\_"),
        ("a\n\n# b", "a ⏎  ⏎ # b", "a ⏎  ⏎ # b"),
    ],
)
def test_foreign_text_in_markdown_is_text(text: str, inline: str, first: str):
    assert escaped(text) == inline
    assert line(text) == first


def test_the_axis_of_differences_reaches_every_estimate_and_every_bound_up_to_thirty_points():
    side = SystemScores(0.5, 0.5, 0.5, 4, 2)
    row = ResultRow("A", 4, side, side, 0.02, -0.5, 0.5, -0.11, 0.1, "insufficient")
    told = ResultRow("B", 4, side, side, 0.005, -0.01, 0.02, -0.008, 0.1, "pass")
    assert axis_reach([row, told], 0.03) == pytest.approx(0.11 * 1.1)
    assert axis_reach([replace(row, lower=-0.9), told], 0.03) == 0.3


def test_a_report_says_how_to_undo_and_how_to_check(page: Callable[[str], str]):
    assert "desk-0001 served before." in page("attempt")
    assert "loop rollback --reason" in page("attempt")
    assert "nothing to undo: desk-0001 stays in service" in page("rejected")


def test_commands_in_the_next_step_are_code_and_nothing_else_is_markup(store: Store):
    page = replace(page_of(report_of(reported.attempt(), store)), next_step="Run `loop run <x>`; `half")
    assert "Run `loop run &lt;x&gt;`; `half" in render_html(page)
    assert "Run <code>loop run &lt;x&gt;</code>." in render_html(replace(page, next_step="Run `loop run <x>`."))
    assert "Run `loop run <x>`; \\`half" in render_markdown(page)
