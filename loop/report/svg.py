"""From matplotlib's figures to SVG within a page: colours follow the page's, light or dark, and text stays text.

Figures are drawn in stand-in colours, which are replaced here by the page's custom properties.
"""

from __future__ import annotations

import io
import re
import warnings
from typing import TYPE_CHECKING, Any

from markupsafe import escape

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK, MUTED, LINE, ACCENT, GOOD, BAD, OPEN, PAPER, SOFT = (f"#0{index}0b0c" for index in range(1, 10))
_PROPERTIES = {
    INK: "--ink",
    MUTED: "--muted",
    LINE: "--line",
    ACCENT: "--accent",
    GOOD: "--good",
    BAD: "--bad",
    OPEN: "--open",
    PAPER: "--paper",
    SOFT: "--soft",
}
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "report",
    "font.family": "sans-serif",
    "font.size": 12,
    "axes.unicode_minus": True,
    "path.simplify": True,
}
_PREAMBLE = re.compile(r"^.*?(?=<svg)", re.DOTALL)
_METADATA = re.compile(r"<metadata>.*?</metadata>", re.DOTALL)
_OPENING = re.compile(r"<svg [^>]*?viewBox=\"([^\"]*)\"[^>]*>", re.DOTALL)
_FAMILY = re.compile(r"(font(?:-family)?: [^;\"']*)'DejaVu Sans'[^;\"]*sans-serif")
_STYLE = re.compile(r"<defs>\s*<style.*?</style>\s*</defs>", re.DOTALL)  # its rules would hold for the whole page
_GROUP_ID = re.compile(r'<g id="[^"]*"')  # which nothing refers to
_TAG = re.compile(r"<[^>]*>")  # words of a drawing stay as they are
_LONG_FRACTION = re.compile(r"(\d\.\d{2})\d+")
_SPACE = re.compile(r"\s*\n\s*")
_IDS = re.compile(r"\b(id=\"|href=\"#|url\(#)([^\")]+)")


def as_svg(figure: Figure, name: str, title: str, description: str) -> str:
    """The figure as one element for a page; `name` makes its ids its own, title and description are read aloud."""
    from matplotlib import rc_context

    stream = io.StringIO()
    with warnings.catch_warnings(), rc_context(_SETTINGS):
        warnings.simplefilter("ignore")  # signs that the drawing's own font lacks are left to the page's fonts
        figure.savefig(stream, format="svg", transparent=True, metadata={"Date": None})
    return _adapted(stream.getvalue(), name, title, description)


def new_figure(width: float, height: float) -> Any:
    """(figure, axes) of this size in pixels of the page, without pyplot and with none of its state."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context(_SETTINGS):
        figure = Figure(figsize=(width / 72, height / 72), dpi=72)
        axes = figure.add_axes((0, 0, 1, 1))
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(length=0, colors=MUTED, labelsize=12)
    return figure, axes


def _adapted(svg: str, name: str, title: str, description: str) -> str:
    svg = _STYLE.sub("", _METADATA.sub("", _PREAMBLE.sub("", svg)))
    svg = _FAMILY.sub(r"\1var(--sans)", svg)
    svg = _IDS.sub(rf"\g<1>{name}-\g<2>", _GROUP_ID.sub("<g", svg))
    svg = _SPACE.sub(" ", _TAG.sub(lambda tag: _LONG_FRACTION.sub(r"\1", tag[0]), svg)).replace("> <", "><")
    for colour, prop in _PROPERTIES.items():
        svg = svg.replace(colour, f"var({prop})")
    labels = f'role="img" aria-labelledby="{name}-title {name}-desc"'
    words = f'<title id="{name}-title">{escape(title)}</title><desc id="{name}-desc">{escape(description)}</desc>'
    return _OPENING.sub(lambda found: f'<svg viewBox="{found[1]}" {_size(found[1])} {labels}>{words}', svg, count=1)


def _size(view: str) -> str:
    _, _, width, height = view.split()
    return f'width="{float(width):.0f}" height="{float(height):.0f}"'
