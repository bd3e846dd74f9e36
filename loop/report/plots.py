"""The pictures of a report, drawn by matplotlib as SVG: each once for a wide page and once for a narrow one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from loop.report.drawing import NARROW, WIDE
from loop.report.forest import draw_forest
from loop.report.heat_map import draw_matrix
from loop.report.series import draw_bars, draw_history
from loop.report.svg import as_svg
from loop.report.wording import points, score, visible

MOST_TYPES = 12  # rows of a picture; the tables have them all
_MOST_VERSIONS = 24


@dataclass(frozen=True, slots=True)
class Plot:
    """One picture. wide and narrow: SVG of the same figures, one of which a page shows."""

    name: str
    title: str
    wide: str
    narrow: str


def f1_over_promotions(history: Sequence[dict[str, Any]]) -> Plot | None:
    """Micro-F1 of each version that went into service, in order, and of this attempt; None for fewer than two."""
    rows = [row for row in history if row["f1"] is not None][-_MOST_VERSIONS:]
    if len(rows) < 2:
        return None
    said = "; ".join(f"{row['version']} {score(row['f1'])}" for row in rows)
    return _both("history", "Micro-F1 over all promotions so far", said, lambda width: draw_history(rows, width))


def differences(results: dict[str, Any]) -> Plot | None:
    """A forest plot: each difference with its interval, against 0 and -delta; None where nothing was compared."""
    rows = [row for row in results["rows"] if row["low"] is not None]
    if not rows:
        return None
    rows.sort(key=lambda row: (row["name"] != "micro", -row["support"]))
    rows = rows[: MOST_TYPES + 1]
    said = "; ".join(
        f"{row['name']} {points(row['delta'])}, from {points(row['low'])} to {points(row['high'])}" for row in rows
    )
    return _both(
        "forest",
        "Differences in F1 with their intervals",
        said,
        lambda width: draw_forest(rows, results["delta"], width),
    )


def confusion(matrix: dict[str, Any]) -> Plot | None:
    """Gold types against predicted ones, with missed and spurious; None without a single span."""
    table = matrix["counts"]
    if not any(map(any, table)):
        return None
    shown = largest(table, MOST_TYPES)
    said = "; ".join(
        f"{matrix['rows'][i]} as {matrix['columns'][j]} {table[i][j]}"
        for i in shown
        for j in shown
        if table[i][j] and i != j
    )
    described = f"Off the diagonal: {said or 'nothing'}."
    return _both(
        "confusion", "What gold of each type was taken for", described, lambda width: draw_matrix(matrix, shown, width)
    )


def robustness(rows: Sequence[dict[str, Any]]) -> Plot | None:
    """Micro-F1 under each perturbation; None where none was measured."""
    if len(rows) < 2:
        return None
    said = "; ".join(f"{row['name']} {score(row['micro_f1'])}" for row in rows)
    return _both("robustness", "Micro-F1 under perturbation", said, lambda width: draw_bars(rows, width))


def largest(table: Sequence[Sequence[int]], most: int) -> list[int]:
    """The indices of the types with most spans, in their own order, and the last index: missed and spurious."""
    types = range(len(table) - 1)
    ranked = sorted(types, key=lambda index: -sum(table[index]) - sum(row[index] for row in table))
    return [*sorted(ranked[:most]), len(table) - 1]


def _both(name: str, title: str, description: str, draw: Callable[[int], Any]) -> Plot:
    wide, narrow = (as_svg(draw(width), f"{name}-{width}", title, visible(description)) for width in (WIDE, NARROW))
    return Plot(name, title, wide, narrow)
