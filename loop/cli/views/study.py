"""A study as people see it on a terminal."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rich.table import Table

from loop.cli.views.parts import wrapped
from loop.console import table
from loop.report.files import HTML
from loop.study.results import StudiedVariant, Study
from loop.study.told import millions, sentences, served_speed
from loop.wording import NOTHING, quantity, score, whole


def summary(study: Study, folder: Path) -> Iterator[object]:
    """What the variants are worth and what they cost, F1 by type, the sentences, and where the report is."""
    yield _costs(study)
    yield ""
    yield _types(study)
    yield ""
    yield from map(wrapped, sentences(study))
    yield f"Report: {folder / HTML}"


def _costs(study: Study) -> Table:
    columns = ("as served", "F1", "P", "R", "trained", "adapter", "INT8", "a text", "texts/s")
    return table("", columns, [(study.name_of(one), *_figures(one)) for one in study.measured])


def _figures(one: StudiedVariant) -> Iterator[str]:
    found, costs, speed = one.micro, one.costs, served_speed(one)
    yield from map(score, (found.f1, found.precision, found.recall))
    yield millions(costs.trainable) if costs else NOTHING
    yield quantity(costs.adapter_mb, "MB") if costs else NOTHING
    yield quantity(costs.int8_mb, "MB") if costs else NOTHING
    yield quantity(speed.latency_ms, "ms") if speed else NOTHING
    yield quantity(speed.documents_per_second) if speed else NOTHING


def _types(study: Study) -> Table:
    names = [study.name_of(one) for one in study.measured]
    rows = [
        (one.name, whole(one.dev), *(score(variant.of(one.name).f1) for variant in study.measured))
        for one in study.data.types
    ]
    return table("", ("F1 by type", "gold", *names), rows)
