"""A study as people see it on a terminal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from rich.markup import escape
from rich.table import Table

from loop.cli.views.parts import wrapped
from loop.console import table
from loop.report.files import HTML
from loop.study.results import StudiedVariant, Study
from loop.study.told import millions, sentences
from loop.wording import NOTHING, duration, interval, points, quantity, score, whole


def summary(study: Study, folder: Path) -> Iterator[object]:
    """What the variants are worth, F1 by type, what they cost, the sentences, and where the report is."""
    yield _table(study, study.measured, _scores, "as served", "F1", "P", "R", "points", "95 % interval", "training")
    yield ""
    yield _table(study, study.measured, _sizes, "parameters and files", "trained", "in all", "adapter", "FP32", "INT8")
    yield ""
    timed = [one for one in study.measured if one.speeds]
    if timed:
        runtimes = [speed.runtime for speed in timed[0].speeds[:-1]]
        yield _table(study, timed, _speeds, "median of a text", *runtimes, "as served", "texts/s")
        yield ""
    for encoder in dict.fromkeys(one.encoder for one in study.measured):
        yield _types(study, [one for one in study.measured if one.encoder == encoder])
        yield ""
    yield from map(wrapped, sentences(study))
    yield f"Report: {folder / HTML}"


def _table(
    study: Study, variants: Iterable[StudiedVariant], cells: Callable[[StudiedVariant], Iterable[str]], *columns: str
) -> Table:
    return table("", columns, [(study.name_of(one), *cells(one)) for one in variants])


def _scores(one: StudiedVariant) -> Iterator[str]:
    yield from map(score, (one.micro.f1, one.micro.precision, one.micro.recall))
    found = one.differences[0] if one.differences else None
    yield points(found.delta) if found else NOTHING
    yield interval(found.low, found.high) if found else NOTHING
    yield duration(sum(run.seconds for run in one.runs))


def _sizes(one: StudiedVariant) -> Iterator[str]:
    if one.costs:
        yield from map(millions, (one.costs.trainable, one.costs.parameters))
        yield from (quantity(size, "MB") for size in (one.costs.adapter_mb, one.costs.fp32_mb, one.costs.int8_mb))


def _speeds(one: StudiedVariant) -> Iterator[str]:
    yield from (quantity(speed.latency_ms, "ms") for speed in one.speeds)
    yield quantity(one.speeds[-1].documents_per_second)


def _types(study: Study, variants: Sequence[StudiedVariant]) -> Table:
    """Of one encoder; it is named where there are several."""
    several = len({one.encoder for one in study.measured}) > 1
    rows = [
        (kind.name, whole(kind.dev), *(score(one.of(kind.name).f1) for one in variants)) for kind in study.data.types
    ]
    title = escape(variants[0].encoder) if several else ""
    return table(title, ("F1 by type", "gold", *(one.variant for one in variants)), rows)
