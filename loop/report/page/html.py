"""A report as one self-contained HTML file: a pure function of its page. The file needs no network and no script."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from loop.report.page.blocks import GateStatus, Page, Shaded
from loop.wording import visible

if TYPE_CHECKING:
    from jinja2 import Environment

_TEMPLATE = "report.html.j2"
_LONGEST = 2000  # characters of any text
_SIGNS = {
    "pass": ("good", "✓"),
    "fail": ("bad", "✕"),
    "insufficient": ("open", "◇"),
    "not measured": ("none", "–"),
    "enough": ("good", "✓"),
    "below recommended": ("open", "◇"),
    "short of minimum": ("bad", "✕"),
}


def render_html(page: Page) -> str:
    """The whole file."""
    return _environment().get_template(_TEMPLATE).render(page=page)


@cache
def _environment() -> Environment:
    """Everything that is put into the page is escaped, on one line, and of a bounded length."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    made = Environment(
        loader=PackageLoader("loop.report.page"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        finalize=_shown,
    )
    made.filters["sign"] = lambda status: _SIGNS.get(status.word, ("none", "·"))
    made.filters["commands"] = _commands
    made.filters["kind"] = lambda block: type(block).__name__.lower()
    made.tests["status"] = lambda cell: isinstance(cell, GateStatus)
    made.tests["shaded"] = lambda cell: isinstance(cell, Shaded)
    return made


def _commands(sentence: str) -> Any:
    """The sentence with what stands between backticks as code."""
    from markupsafe import Markup, escape

    parts = str(_shown(sentence)).split("`")
    if len(parts) % 2 == 0:
        return _shown(sentence)
    code = Markup("<code>{}</code>")
    return Markup("").join(code.format(part) if at % 2 else escape(part) for at, part in enumerate(parts))


def _shown(value: Any) -> Any:
    from markupsafe import Markup

    if not isinstance(value, str) or isinstance(value, Markup):
        return value
    return visible(value if len(value) <= _LONGEST else f"{value[: _LONGEST - 1]}…")
