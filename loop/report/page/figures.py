"""The plots of a report as plain geometry, in percent of the plot's width and height.

The macros of `templates/figures.html.j2` draw them as SVG: places are percentages and letters have their own size, so
that one drawing fits a wide page and a narrow one, and takes the colours of the page.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

from loop.promotion.attempt import FAIL, INSUFFICIENT, PASS
from loop.report.facts import MICRO, HistoryPoint, ResultRow, Results
from loop.wording import moment, points, score, shortened, visible
from store.registry import HOLD, REJECT

MOST_TYPES = 12  # rows of a plot; the tables have more
_MOST_VERSIONS = 24
_LEAST_REACH = 0.01  # F1: two systems that say the same have no difference to show
_FARTHEST = 0.3  # F1: half of the widest axis of differences
_TONES = {PASS: "good", FAIL: "bad", INSUFFICIENT: "open"}
_WIDE_LABELS, _NARROW_LABELS = 10, 5
_SHAPES = ("plain", "open", "good")
_LINE = 9.0  # of a label, in percent of the height of a plot
_STEPS = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2)


@dataclass(frozen=True, slots=True)
class Tick:
    """A word at a place on an axis."""

    at: float
    text: str


@dataclass(frozen=True, slots=True)
class Interval:
    """A row of a forest plot. tone: "good", "bad", "open" or "plain". at: place of the difference; bound: place of the
    one-sided bound; None where they are off the axis. cut_low, cut_high: whether an end is off the axis.
    """

    name: str
    tone: str
    at: float | None
    low: float
    high: float
    cut_low: bool
    cut_high: bool
    bound: float | None
    figures: str
    strong: bool


@dataclass(frozen=True, slots=True)
class Forest:
    """Differences in F1 with their intervals, one row each, against 0 and against the margin."""

    description: str
    rows: tuple[Interval, ...]
    zero: Tick
    margin: Tick | None
    ticks: tuple[Tick, ...]
    name: str = "forest"


@dataclass(frozen=True, slots=True)
class HistoryMark:
    """A version in the plot of F1. hollow: not promoted. below: the figure is written under the point.

    label: "always", "wide" (only on a wide page) or "never".
    """

    x: float
    y: float
    value: str
    version: str
    day: str
    hollow: bool
    this: bool
    below: bool
    label: str


@dataclass(frozen=True, slots=True)
class HistoryLine:
    """Micro-F1 of the versions in order. segments: (x1, y1, x2, y2). breaks: places where the holdout changed."""

    description: str
    marks: tuple[HistoryMark, ...]
    segments: tuple[tuple[float, float, float, float], ...]
    breaks: tuple[float, ...]
    ticks: tuple[Tick, ...]
    name: str = "history"


@dataclass(frozen=True, slots=True)
class ScatterMark:
    """A way to run a system. shape: of the mark, as in `Interval.tone`. label: beside the mark, at `label_y`, or ""."""

    x: float
    y: float
    shape: str
    label: str = ""
    label_y: float = 0.0


@dataclass(frozen=True, slots=True)
class Scatter:
    """F1 against the time of a text, which is a logarithmic axis. segments: (x1, y1, x2, y2), between marks of one
    system. shapes: (shape, what it stands for)."""

    description: str
    marks: tuple[ScatterMark, ...]
    segments: tuple[tuple[float, float, float, float], ...]
    x_ticks: tuple[Tick, ...]
    ticks: tuple[Tick, ...]
    shapes: tuple[tuple[str, str], ...]
    name: str = "scatter"


@dataclass(frozen=True, slots=True)
class TimedF1:
    """A system in one runtime: its F1 (0..1) and the milliseconds of a text."""

    system: str
    runtime: str
    f1: float
    ms: float


def forest(results: Results) -> Forest | None:
    """Micro first, then the types with most gold; None where nothing was compared."""
    rows = sorted(
        (row for row in results.rows if row.low is not None and row.high is not None),
        key=lambda row: (row.name != MICRO, -row.support),
    )[: MOST_TYPES + 1]
    if not rows:
        return None
    reach = axis_reach(rows, results.delta)
    step = next((step for step in _STEPS if reach / step <= 3.5), _STEPS[-1])
    numbers = range(-math.floor(reach / step), math.floor(reach / step) + 1)
    described = "; ".join(
        f"{row.name} {points(row.delta)}, from {points(row.low)} to {points(row.high)}" for row in rows
    )
    return Forest(
        description=f"Differences in F1 points with their intervals. {described}.",
        rows=tuple(_interval(row, reach, bounded=results.delta > 0) for row in rows),
        zero=Tick(50.0, "equal"),
        margin=Tick(_place(-results.delta, reach), f"−{100 * results.delta:g}") if results.delta else None,
        ticks=tuple(Tick(_place(number * step, reach), points(number * step).removesuffix(".0")) for number in numbers),
    )


def axis_reach(rows: Sequence[ResultRow], delta: float) -> float:
    """Half the width of the axis, in F1.

    Every difference and every bound that is compared with the margin lies on the axis, and so do the intervals on which
    something was decided, unless they are larger than 30 points.
    """
    told = [row for row in rows if row.status != INSUFFICIENT] or rows
    ends = [abs(end) for row in told for end in (row.low, row.high) if end is not None]
    ends += [abs(end) for row in rows for end in (row.delta, row.lower) if end is not None]
    return min(_FARTHEST, max(*ends, 2 * delta / 1.1, _LEAST_REACH) * 1.1)


def _interval(row: ResultRow, reach: float, *, bounded: bool) -> Interval:
    delta, low, high = row.delta or 0.0, row.low or 0.0, row.high or 0.0
    bound = row.lower if bounded and row.name != MICRO else None
    return Interval(
        name=row.name,
        tone=_TONES.get(row.status or "", "plain"),
        at=_place(delta, reach) if abs(delta) <= reach else None,
        low=_place(max(-reach, low), reach),
        high=_place(min(reach, high), reach),
        cut_low=low < -reach,
        cut_high=high > reach,
        bound=_place(bound, reach) if bound is not None and abs(bound) < reach else None,
        figures=f"{points(delta)} ({points(low)} to {points(high)})",
        strong=row.name == MICRO,
    )


def _place(value: float, reach: float) -> float:
    return round(50 + 50 * value / reach, 2)


def scatter(points: Sequence[TimedF1]) -> Scatter | None:
    """F1 against time. The points of a system follow each other, the last of them is labelled; None without points."""
    if not points:
        return None
    low, high = _f1_range([point.f1 for point in points])
    left, right = math.log10(min(one.ms for one in points)), math.log10(max(one.ms for one in points))
    left, right = left - 0.35 * max(right - left, 0.3), right + 0.1 * max(right - left, 0.3)  # labels stand at the left
    runtimes = list(dict.fromkeys(point.runtime for point in points))
    shapes = dict(zip(runtimes, _SHAPES, strict=False))
    marks = [
        ScatterMark(
            x=round(100 * (math.log10(one.ms) - left) / (right - left), 2),
            y=round(100 * (high - one.f1) / (high - low), 2),
            shape=shapes.get(one.runtime, _SHAPES[-1]),
            label=visible(shortened(one.system, 24)) if last else "",
        )
        for one, last in zip(points, _last_of_each(points), strict=True)
    ]
    told = "; ".join(f"{one.system}, {one.runtime}: {score(one.f1)} in {one.ms:.3g} ms" for one in points)
    return Scatter(
        description=f"Micro-F1 against the time of a text. {told}.",
        marks=tuple(_apart(marks)),
        segments=tuple(
            (a.x, a.y, b.x, b.y)
            for (a, b), (one, other) in zip(pairwise(marks), pairwise(points), strict=True)
            if one.system == other.system
        ),
        x_ticks=tuple(_log_ticks(left, right)),
        ticks=tuple(_ticks(low, high)),
        shapes=tuple((shape, runtime) for runtime, shape in shapes.items()),
    )


def _last_of_each(points: Sequence[TimedF1]) -> list[bool]:
    return [here.system != after.system for here, after in pairwise(points)] + [True]


def _apart(marks: Sequence[ScatterMark]) -> list[ScatterMark]:
    """The marks with their labels far enough apart to be read, from the top down."""
    placed, free = list(marks), -math.inf
    for index in sorted(range(len(marks)), key=lambda place: marks[place].y):
        if marks[index].label:
            free = max(marks[index].y, free)
            placed[index] = replace(marks[index], label_y=round(free, 2))
            free += _LINE
    return placed


def _log_ticks(left: float, right: float) -> Iterator[Tick]:
    """1, 2 and 5 in each power of ten between two logarithms."""
    for power in range(math.floor(left), math.ceil(right) + 1):
        for digit in (1, 2, 5):
            at = power + math.log10(digit)
            if left <= at <= right:
                yield Tick(round(100 * (at - left) / (right - left), 2), f"{digit * 10.0**power:g} ms")


def _f1_range(values: Sequence[float]) -> tuple[float, float]:
    """The lowest and the highest F1 of an axis that shows these values."""
    margin = max(0.02, (max(values) - min(values)) * 0.35)
    return max(0.0, min(values) - margin), min(1.0, max(values) + margin)


def history_line(history: Sequence[HistoryPoint]) -> HistoryLine | None:
    """The latest versions; None for fewer than two that were measured."""
    rows = [row for row in history if row.f1 is not None][-_MOST_VERSIONS:]
    if len(rows) < 2:
        return None
    values = [row.f1 or 0.0 for row in rows]
    low, high = _f1_range(values)
    xs = [round(100 * (index + 0.5) / len(rows), 2) for index in range(len(rows))]
    ys = [round(100 * (high - value) / (high - low), 2) for value in values]
    served = [index for index, row in enumerate(rows) if row.action not in (REJECT, HOLD)]
    told = "; ".join(f"{row.version} {score(row.f1)}" for row in rows)
    return HistoryLine(
        description=f"Micro-F1 over all promotions so far. {told}.",
        marks=tuple(_mark(rows, index, xs[index], ys[index]) for index in range(len(rows))),
        segments=tuple((xs[a], ys[a], xs[b], ys[b]) for a, b in pairwise(served)),
        breaks=tuple(_breaks(rows, xs)),
        ticks=tuple(_ticks(low, high)),
    )


def _mark(rows: Sequence[HistoryPoint], index: int, x: float, y: float) -> HistoryMark:
    row, after = rows[index], rows[index + 1 : index + 2]
    from_end = len(rows) - 1 - index
    every_wide, every_narrow = (math.ceil(len(rows) / most) for most in (_WIDE_LABELS, _NARROW_LABELS))
    label = "always" if from_end % every_narrow == 0 else "wide" if from_end % every_wide == 0 else "never"
    return HistoryMark(
        x=x,
        y=y,
        value=score(row.f1),
        # The project's name, which versions begin with, stands in the title of the page.
        version=visible(shortened(row.version.rpartition("-")[2] or row.version, 12)),
        day=moment(row.at)[5:10],
        hollow=row.action in (REJECT, HOLD),
        this=row.this,
        below=bool(after) and (after[0].f1 or 0) > (row.f1 or 0),  # a line that rises would cross the figure
        label=label,
    )


def _breaks(rows: Sequence[HistoryPoint], xs: Sequence[float]) -> Iterator[float]:
    for (before, x1), (after, x2) in pairwise(zip(rows, xs, strict=True)):
        if None not in (before.epoch, after.epoch) and before.epoch != after.epoch:
            yield round((x1 + x2) / 2, 2)


def _ticks(low: float, high: float) -> Iterator[Tick]:
    step = next((step for step in _STEPS if (high - low) / step <= 5), _STEPS[-1])
    for number in range(math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9) + 1):
        yield Tick(
            round(100 * (high - number * step) / (high - low), 2), f"{number * step:.3f}".rstrip("0").ljust(4, "0")
        )
