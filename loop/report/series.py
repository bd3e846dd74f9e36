"""F1 over promotions as a line, and F1 under perturbations as bars."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from loop.report.drawing import ROW, WIDE, beside, dot, named, under
from loop.report.svg import ACCENT, INK, LINE, MUTED, SOFT, new_figure
from loop.report.wording import moment, points, score, shortened, visible


def draw_history(rows: Sequence[dict[str, Any]], width: int) -> Any:
    """The figure, `width` pixels wide; what was not promoted is a hollow point off the line."""
    height = 250
    figure, axes = new_figure(width, height)
    left, right = 46 / width, 1 - 24 / width
    axes.set_position((left, 0.2, right - left, 0.68))
    values, places = [row["f1"] for row in rows], list(range(len(rows)))
    low, high = min(values), max(values)
    margin = max(0.02, (high - low) * 0.35)
    axes.set_ylim(max(0.0, low - margin), min(1.0, high + margin) + 1e-9)
    axes.set_xlim(-0.5, len(rows) - 0.5)
    axes.grid(axis="y", color=LINE, linewidth=0.8)
    axes.set_axisbelow(True)
    served = [place for place in places if rows[place]["action"] != "reject"]
    axes.plot(served, [values[place] for place in served], color=ACCENT, linewidth=1.8, zorder=2)
    for place, row in enumerate(rows):
        hollow = row["action"] == "reject"
        axes.plot(place, row["f1"], **dot(ACCENT, hollow, 8 if row["this"] else 6))
        if row["this"] or len(rows) <= _room(width):
            # Beside the line, not on it: under a point from which it rises.
            rises = place + 1 < len(rows) and values[place + 1] > row["f1"]
            axes.annotate(
                score(row["f1"]),
                (place, row["f1"]),
                (0, -18 if rises else 9),
                textcoords="offset points",
                ha="center",
                fontsize=12,
                color=INK,
                fontweight="bold" if row["this"] else "normal",
            )
    _changes_of_holdout(axes, rows)
    every = max(1, -(-len(rows) // _room(width)))
    ticks = [place for place in places if (places[-1] - place) % every == 0]
    axes.set_xticks([])
    for place in ticks:
        under(axes, place, 10, _number(rows[place]["version"]), INK)
        under(axes, place, 25, moment(rows[place]["at"])[5:10], MUTED)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.2f}")
    return figure


def _changes_of_holdout(axes: Any, rows: Sequence[dict[str, Any]]) -> None:
    """A dashed line where the holdout changed: figures on either side of it are of other documents."""
    for place, (before, after) in enumerate(pairwise(rows)):
        if None not in (before["epoch"], after["epoch"]) and before["epoch"] != after["epoch"]:
            axes.axvline(place + 0.5, color=MUTED, linewidth=0.9, linestyle=(0, (3, 3)))


def draw_bars(rows: Sequence[dict[str, Any]], width: int) -> Any:
    """The figure, `width` pixels wide; the first row is the texts as they are."""
    names = 170 if width == WIDE else 104
    height = ROW * len(rows) + 34
    figure, axes = new_figure(width, height)
    axes.set_position((names / width, 26 / height, 1 - (names + 92) / width, 1 - 32 / height))
    axes.set_xlim(0, 1)
    axes.set_ylim(len(rows) - 0.5, -0.5)
    base = rows[0]["micro_f1"]
    for place, row in enumerate(rows):
        axes.barh(place, 1, height=0.56, color=SOFT, zorder=0)
        axes.barh(place, row["micro_f1"], height=0.56, color=ACCENT, alpha=1.0 if place == 0 else 0.7, zorder=1)
        change = "" if place == 0 else f"  {points(row['micro_f1'] - base)}"
        beside(axes, -10, place, named(row["name"], width), ha="right")
        beside(axes, 8, place, f"{score(row['micro_f1'])}{change}", ha="left", at=1)
    axes.axvline(base, color=INK, linewidth=1, linestyle=(0, (3, 3)), zorder=3)
    axes.set_yticks([])
    axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", ".25", ".5", ".75", "1"])
    return figure


def _room(width: int) -> int:
    """How many labels stand beside each other."""
    return 10 if width == WIDE else 5


def _number(version: str) -> str:
    """`0007` of `desk-0007`: the project's name stands in the title."""
    return visible(shortened(version.rpartition("-")[2] or version, 12))
