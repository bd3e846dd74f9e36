"""A forest plot: differences in F1 with their intervals, a row each, against none and against the margin."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loop.promotion.attempt import FAIL, INSUFFICIENT, PASS
from loop.report.drawing import ROW, WIDE, beside, dot, named, over
from loop.report.svg import ACCENT, BAD, GOOD, MUTED, OPEN, new_figure
from loop.report.wording import points

_FARTHEST = 0.3
_MARKS = {PASS: ("o", GOOD), FAIL: ("X", BAD), INSUFFICIENT: ("D", OPEN)}


def draw_forest(rows: Sequence[dict[str, Any]], delta: float, width: int) -> Any:
    """The figure, `width` pixels wide, of rows as `loop.report.scoring.results` has them."""
    names, figures = (190, 170) if width == WIDE else (104, 0)
    height = ROW * len(rows) + 54
    figure, axes = new_figure(width, height)
    axes.set_position((names / width, 34 / height, 1 - (names + figures + 12) / width, 1 - 48 / height))
    farthest = reach(rows, delta)
    axes.set_xlim(-farthest, farthest)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    axes.axvline(0, color=MUTED, linewidth=1.1, zorder=1)
    axes.axvline(-delta, color=BAD, linewidth=1.1, linestyle=(0, (4, 3)), zorder=1)
    for place, row in enumerate(rows):
        marker, colour = _MARKS.get(row["status"] or "", ("s", ACCENT))
        _interval(axes, place, row, farthest, colour)
        if abs(row["delta"]) <= farthest:
            axes.plot(row["delta"], place, **dot(colour, marker == "D", 8, marker))
        bold = "bold" if row["name"] == "micro" else "normal"
        beside(axes, -14, place, named(row["name"], width), ha="right", fontweight=bold)
        if figures:
            written = f"{points(row['delta'])}  ({points(row['low'])} to {points(row['high'])})"
            beside(axes, 10, place, written, ha="left", at=1, fontweight=bold)
    axes.set_yticks([])
    axes.xaxis.set_major_formatter(lambda value, _: points(value).removesuffix(".0"))
    axes.xaxis.set_major_locator(_locator(5))
    axes.tick_params(axis="x", pad=6)
    over(axes, -delta, f"−{100 * delta:g} ", BAD, "right")
    over(axes, 0, " equal", MUTED, "left")
    return figure


def _interval(axes: Any, place: int, row: dict[str, Any], reach: float, colour: str) -> None:
    """The interval; an end that lies outside the picture is an arrow. The small stroke is the one-sided bound."""
    low, high = max(-reach, row["low"]), min(reach, row["high"])
    axes.plot([low, high], [place, place], color=colour, linewidth=2.2, solid_capstyle="round", zorder=2)
    if row["low"] < -reach:
        axes.plot(-reach, place, marker="<", color=colour, markersize=7, clip_on=False, zorder=3)
    if row["high"] > reach:
        axes.plot(reach, place, marker=">", color=colour, markersize=7, clip_on=False, zorder=3)
    if row["name"] != "micro" and row["lower"] is not None and abs(row["lower"]) < reach:
        axes.plot([row["lower"]] * 2, [place - 0.17, place + 0.17], color=colour, linewidth=1.8, zorder=2)


def reach(rows: Sequence[dict[str, Any]], delta: float) -> float:
    """Half the width of the axis: as wide as the intervals on which something was decided, and twice the margin.

    Every difference and every bound that is held against the margin lies on it, unless it is larger than 30 points.
    """
    told = [row for row in rows if row["status"] != INSUFFICIENT] or rows
    ends = [abs(row[key]) for row in told for key in ("low", "high")]
    ends += [abs(row[key]) for row in rows for key in ("delta", "lower") if row[key] is not None]
    return float(min(_FARTHEST, max(*ends, 2 * delta / 1.1) * 1.1))


def _locator(ticks: int) -> Any:
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(ticks, steps=[1, 2, 5, 10])
