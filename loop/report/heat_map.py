"""The confusion matrix as a heat map with its numbers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from loop.report.drawing import NARROW, WIDE, beside, named
from loop.report.svg import ACCENT, BAD, INK, MUTED, PAPER, SOFT, new_figure

_LETTER = 8.2  # pixels of a capital, about
_TILTED = 50  # pixels that a tilted head reaches beyond its column


def draw_matrix(matrix: dict[str, Any], shown: Sequence[int], width: int) -> Any:
    """The figure, at most `width` pixels wide, of the types at these indices; the last is missed and spurious."""
    heads = [named(matrix["columns"][j], NARROW) for j in shown]
    left = 178 if width == WIDE else 100
    cell = max(26.0, min(88.0, (width - left - _TILTED) / len(shown)))
    tilted = max(map(len, heads)) * _LETTER > cell
    tall, top, right = min(cell, 42.0), 84 if tilted else 34, _TILTED if tilted else 8
    full, height = left + cell * len(shown) + right, top + tall * len(shown) + 6
    figure, axes = new_figure(full, height)
    axes.set_position((left / full, 6 / height, cell * len(shown) / full, tall * len(shown) / height))
    axes.set_xlim(0, len(shown))
    axes.set_ylim(len(shown), 0)
    axes.set_xticks([])
    axes.set_yticks([])
    last = len(matrix["rows"]) - 1
    for row, i in enumerate(shown):
        beside(axes, -8, row + 0.5, named(matrix["rows"][i], width), ha="right", color=MUTED if i == last else INK)
        for column, j in enumerate(shown):
            if (i, j) != (last, last):
                part = _part(matrix["counts"], i, j)
                _cell(axes, column, row, matrix["counts"][i][j], part, right=i == j, small=cell < 34)
    for column, (j, head) in enumerate(zip(shown, heads, strict=True)):
        _header(axes, column, head, tilted=tilted, muted=j == last)
    return figure


def _part(table: Sequence[Sequence[int]], i: int, j: int) -> float:
    """The share of the row's gold; of what is spurious, of all that was predicted as the column's type."""
    whole = sum(table[i]) if i < len(table) - 1 else sum(row[j] for row in table)
    return table[i][j] / whole if whole else 0.0


def _cell(axes: Any, column: int, row: int, number: int, part: float, *, right: bool, small: bool) -> None:
    from matplotlib.patches import Rectangle

    colour = ACCENT if right else BAD
    fill, strength = (colour, 0.12 + 0.88 * part) if number else (SOFT, 1.0)
    at = (column + 0.03, row + 0.03)
    axes.add_patch(Rectangle(at, 0.94, 0.94, facecolor=fill, alpha=strength, edgecolor="none", clip_on=False))
    ink = PAPER if number and part > 0.5 else INK if number else MUTED
    size = 10 if small else 12
    axes.text(
        column + 0.5,
        row + 0.5,
        f"{number:,}" if number else "·",
        ha="center",
        va="center",
        color=ink,
        fontsize=size,
        fontweight="bold" if right and number else "normal",
    )


def _header(axes: Any, column: int, name: str, *, tilted: bool, muted: bool) -> None:
    options = {"rotation": 45, "ha": "left", "va": "bottom"} if tilted else {"ha": "center", "va": "bottom"}
    made = axes.annotate(
        name,
        (column + 0.5, 0),
        (0, 7),
        textcoords="offset points",
        fontsize=12,
        color=MUTED if muted else INK,
        annotation_clip=False,
        **options,
    )
    made.set_parse_math(False)
