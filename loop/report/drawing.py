"""What the pictures have in common: their widths, and words and marks at places on and beside the axes."""

from __future__ import annotations

from typing import Any

from loop.report.svg import INK, PAPER
from loop.report.wording import visible

WIDE, NARROW = 860, 350
ROW = 30
_NAME = {WIDE: 22, NARROW: 13}  # characters of a name that fit


def beside(axes: Any, offset: float, y: float, text: str, *, at: float = 0, **options: Any) -> None:
    """Text left (or, at=1, right) of the axes, `offset` pixels from them, at the height of `y`."""
    made = axes.annotate(
        text,
        (at, y),
        (offset, 0),
        xycoords=axes.get_yaxis_transform(),
        textcoords="offset points",
        annotation_clip=False,
        **({"va": "center", "fontsize": 12, "color": INK} | options),
    )
    made.set_parse_math(False)


def over(axes: Any, x: float, text: str, colour: str, side: str) -> None:
    """Text above the axes, its left, right or middle at `x`."""
    axes.annotate(
        text,
        (x, 1),
        (0, 3),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha=side,
        va="bottom",
        fontsize=11,
        color=colour,
        annotation_clip=False,
    )


def under(axes: Any, x: float, offset: float, text: str, colour: str) -> None:
    """Text below the axes, `offset` pixels from them, its middle at `x`."""
    made = axes.annotate(
        text,
        (x, 0),
        (0, -offset),
        xycoords=axes.get_xaxis_transform(),
        textcoords="offset points",
        ha="center",
        va="top",
        fontsize=12,
        color=colour,
        annotation_clip=False,
    )
    made.set_parse_math(False)


def dot(colour: str, hollow: bool, size: float, marker: str = "o") -> dict[str, Any]:
    """How a point is drawn: filled, or hollow."""
    return {
        "color": colour,
        "marker": marker,
        "markersize": size,
        "markerfacecolor": PAPER if hollow else colour,
        "markeredgecolor": colour,
        "markeredgewidth": 1.6,
        "zorder": 4,
        "clip_on": False,
    }


def named(name: str, width: int) -> str:
    """As much of a name as fits beside a picture of this width."""
    most = _NAME[width]
    shown = visible(name)
    return shown if len(shown) <= most else f"{shown[: most - 1]}…"
