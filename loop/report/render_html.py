"""A report as one self-contained HTML file: a pure function of its content. It needs no network and no script."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

from loop.report.blocks import Block, Cases, Command, Facts, GateStatus, Items, Picture, Table, Words
from loop.report.page import page_of
from loop.report.plots import Plot, confusion, differences, f1_over_promotions, robustness
from loop.report.wording import visible

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATE = "report.html.j2"
_LONGEST = 2000  # characters of any one text
_SIGNS = {
    "pass": ("good", "✓"),
    "fail": ("bad", "✕"),
    "insufficient": ("open", "◇"),
    "not measured": ("none", "–"),
    "enough": ("good", "✓"),
    "below recommended": ("open", "◇"),
    "short of minimum": ("bad", "✕"),
}
_KINDS: dict[type[Block], str] = {
    Words: "words",
    Facts: "facts",
    Table: "table",
    Picture: "picture",
    Cases: "cases",
    Items: "items",
    Command: "command",
}


def render_html(report: dict[str, Any]) -> str:
    """The whole page."""
    return _environment().get_template(_TEMPLATE).render(page=page_of(report), plots=_plots(report))


def _plots(report: dict[str, Any]) -> dict[str, Plot]:
    if "results" not in report:
        return {}
    drawn: Iterable[Plot | None] = (
        f1_over_promotions(report["history"]),
        differences(report["results"]),
        confusion(report["errors"]["matrix"]),
        robustness(report["robustness"]),
    )
    return {plot.name: plot for plot in drawn if plot is not None}


@cache
def _environment() -> Environment:
    """Everything that is put into the page is escaped, on one line, and of a bounded length; SVG was made here."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    made = Environment(
        loader=PackageLoader("loop.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters["sign"] = lambda status: _SIGNS.get(status.word, ("none", "·"))
    made.filters["svg"] = Markup
    made.tests["status"] = lambda cell: isinstance(cell, GateStatus)
    made.filters["kind"] = lambda block: _KINDS[type(block)]
    return made


def _shown(value: Any) -> Any:
    from markupsafe import Markup

    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return visible(value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…")
