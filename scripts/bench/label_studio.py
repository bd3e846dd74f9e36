"""Pull and publish against a real Label Studio, in projects of growing size, beside the server's own share.

Starts its own server (a minute for its migrations), measures, prints markdown tables, and stops it:

    python -m scripts.bench.label_studio [--sizes 1000 10000] [--changed 50] [--repeat 3]

"raw call" is the one request that a pull cannot do without, sent with nothing around it; "server" is what the pull or
publish spent waiting for answers; "ours" is the rest. Seconds; the median of the repeats.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TypeVar

from loop.label_studio.client import LabelStudioClient, TaskQuery, parse_time
from loop.sync.publish import publish
from loop.sync.pull import pull
from store.database.session import open_store
from tests.server.linked import Linked, make_linked
from tests.server.real_label_studio import RealLabelStudio, make_template

T = TypeVar("T")
WORDS = {"excel": "SOFTWARE", "windows": "OS"}
TEXT = "Ticket {n}: excel w{k} stopped on windows after the update, and the user cannot print the monthly report"


@dataclass(frozen=True)
class Pulled:
    """Seconds of one pull: in all, waiting for the server, and of the one raw call."""

    total: float
    server: float
    raw: float


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sizes", type=int, nargs="+", default=[1_000, 10_000])
    parser.add_argument("--changed", type=int, default=50)
    parser.add_argument("--repeat", type=int, default=3)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder)) as running:
        client = LabelStudioClient(running.url, running.first.token)
        projects = {size: make_project(client, Path(folder), size) for size in asked.sizes}
        print(pull_table(projects, asked.changed, asked.repeat))
        print(publish_table(projects, Path(folder)))


@contextmanager
def server(folder: Path) -> Iterator[RealLabelStudio]:
    """A Label Studio of its own."""
    running = RealLabelStudio(make_template(folder / "label-studio"))
    running.start()
    try:
        yield running
    finally:
        running.stop()


def make_project(client: LabelStudioClient, folder: Path, size: int) -> Linked:
    """A project of `size` tasks, on both sides, pulled."""
    store = open_store(f"sqlite:///{folder / f'store-{size}.sqlite'}")
    linked = make_linked(store, client, f"bench {size}", holdout_share=0.2)
    linked.add(TEXT.format(n=n, k=n % 1000) for n in range(size))
    seconds, _ = timed(lambda: pull(store, client, linked.project))
    print(f"{size:,} tasks: imported, and first pulled in {seconds:.1f} s", file=sys.stderr)
    return linked


def pull_table(projects: dict[int, Linked], changed: int, repeat: int) -> str:
    """A row for each project: a pull of `changed` tasks, and one of nothing."""
    lines = [
        f"| tasks in the project | pull of {changed} changed, s | server, s | ours, s | raw call, s | idle pull, s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for size, linked in projects.items():
        runs = [pull_changed(linked, changed, begin=turn * changed) for turn in range(repeat)]
        idle = median(timed(lambda linked=linked: pull(linked.store, linked.client, linked.project))[0] for _ in runs)
        total, waiting, raw = (median(getattr(run, name) for run in runs) for name in ("total", "server", "raw"))
        lines.append(f"| {size:,} | {total:.2f} | {waiting:.2f} | {total - waiting:.2f} | {raw:.2f} | {idle:.2f} |")
    return "\n".join(lines) + "\n"


def pull_changed(linked: Linked, changed: int, *, begin: int) -> Pulled:
    """Annotate, wait until the look-back of the last pull no longer counts, and pull."""
    ids = linked.task_ids()[begin : begin + changed]
    first = None
    for task_id in ids:
        stored = linked.annotate(task_id, (0, 6, "SOFTWARE"))
        first = first or parse_time(stored["updated_at"])
    assert isinstance(first, datetime)
    query = TaskQuery(since=first)
    raw, page = timed(lambda: linked.client.tasks_page(linked.ls_id, query, 100))
    total, counts = timed(lambda: pull(linked.store, linked.client, linked.project))
    if counts.versions != changed or len(page.tasks) < changed:
        raise SystemExit(f"{counts.versions} versions stored and {len(page.tasks)} tasks listed, not {changed}")
    return Pulled(total, counts.server_seconds, raw)


def publish_table(projects: dict[int, Linked], folder: Path) -> str:
    """A row for each project: predictions for every open task, then again when nothing is lacking."""
    lines = [
        "| predictions | publish, s | server, s | tagging and ours, s | a second | again, s |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    certainty = {f"w{k}": (k + 1) / 1002 for k in range(1000)}
    for linked in projects.values():
        tagger = linked.promoted_tagger(folder, WORDS, certainty)
        total, counts = timed(lambda: publish(linked.store, linked.client, linked.project, tagger))  # noqa: B023
        again, _ = timed(lambda: publish(linked.store, linked.client, linked.project, tagger))  # noqa: B023
        ours = total - counts.server_seconds
        rate = counts.created / total
        cells = (f"{counts.created:,}", f"{total:.1f}", f"{counts.server_seconds:.1f}", f"{ours:.1f}", f"{rate:.0f}")
        lines.append(f"| {' | '.join(cells)} | {again:.2f} |")
    return "\n".join(lines) + "\n"


def timed(call: Callable[[], T]) -> tuple[float, T]:
    """(seconds, what it gave)."""
    begin = time.perf_counter()
    given = call()
    return time.perf_counter() - begin, given


def median(values: Iterator[float]) -> float:
    """Of at least one."""
    return statistics.median(values)


if __name__ == "__main__":
    main()
