"""Does memory stay flat as texts grow? python -m scripts.bench.weak.memory [--texts N ...] [--retrain]

For each number of texts a project is made in a folder that goes away: the gazetteer, the patterns and the texts of
scripts/bench/weak/throughput.py, and gold for 100 more texts (what the sources say of them). Three commands follow,
each a process of its own: `loop weak apply`; the same again, when nothing is left to ask; and what `loop retrain` does
with votes before it trains: sources that do harm are muted, and votes become weak labels. --retrain also runs the whole
`loop retrain`, which then learns from 100 texts with weak labels, and in a single pass.

Memory is the proportional set size (PSS) of a process and all its workers together, looked at every 50 ms: its peak,
and what the peak of `loop weak apply` is above that of the run that asks nothing. The script ends with exit code 1
where the store holds another number of votes than the sources give without a store.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from loop.settings.settings import Settings
from loop.weak.aggregating import weak_documents
from loop.weak.muting import mute_harmful
from ner.spans import Span, flat_spans
from scripts.bench.weak.throughput import (
    CODE_LABEL,
    PATTERNS,
    TERM_LABEL,
    TERMS,
    read_terms,
    read_texts,
    said,
    this_project,
    write_files,
)
from store.database.session import open_store
from store.projects import project_by_name
from store.weak.votes import count_votes

GOLD, LOOK_S = 100, 0.05
_LOOP_TOML = (
    '[project]\nname = "home"\nlabels = "labels.xml"\n[weak]\ntraining = "always"\ntexts = 100\n[train]\npasses = 1\n'
)
_HEAD = (
    "texts",
    "apply: s",
    "texts/s",
    "peak MB",
    "above the start",
    "votes to weak labels: s",
    "weak labels",
    "peak MB",
    "retrain: s",
    "peak MB",
)


@dataclass(frozen=True)
class Used:
    """What a command took. peak: MB of PSS, with its workers. said: what it wrote to standard output."""

    seconds: float
    peak: float
    said: str


def main() -> None:
    """Measure each size, print a table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--texts", type=int, nargs="+", default=[10_000, 30_000, 100_000])
    parser.add_argument("--entries", type=int, default=100_000)
    parser.add_argument("--retrain", action="store_true", help="run `loop retrain`, too")
    parser.add_argument("--weak-labels-of", type=Path, metavar="HOME", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.weak_labels_of:
        print(make_weak_labels(given.weak_labels_of))
        return
    print(f"| {' | '.join(_HEAD)} |\n|{' ---: |' * len(_HEAD)}")
    for number in given.texts:
        with tempfile.TemporaryDirectory() as folder:
            print(row(Path(folder), number, given.entries, retrain=given.retrain), flush=True)


def row(folder: Path, number: int, entries: int, *, retrain: bool) -> str:
    """One project, measured."""
    home = folder / "home"
    write_files(folder, number + GOLD, entries)
    make_project(folder, home)
    apply, again = (watched(loop(home, "weak", "apply")) for _ in range(2))
    check_votes(folder, home)
    labels = watched([sys.executable, "-m", "scripts.bench.weak.memory", "--weak-labels-of", str(home)])
    cells = [f"{number:,}", f"{apply.seconds:.0f}", f"{(number + GOLD) / apply.seconds:,.0f}", f"{apply.peak:,.0f}"]
    cells += [
        f"{apply.peak - again.peak:,.0f}",
        f"{labels.seconds:.0f}",
        f"{int(labels.said):,}",
        f"{labels.peak:,.0f}",
    ]
    trained = watched(loop(home, "retrain")) if retrain else None
    cells += [f"{trained.seconds:.0f}", f"{trained.peak:,.0f}"] if trained else ["", ""]
    return f"| {' | '.join(cells)} |"


def make_project(folder: Path, home: Path) -> None:
    """A project with the sources in weak.toml and all texts in the store, on which nothing has voted."""
    init = [sys.executable, "-m", "loop.cli", "init", str(home), "--labels", f"{TERM_LABEL},{CODE_LABEL}"]
    subprocess.run(init, check=True, stdout=subprocess.DEVNULL)
    (home / "loop.toml").write_text(_LOOP_TOML, "utf-8")
    (home / "weak.toml").write_text("\n".join(sources(folder / TERMS)), "utf-8")
    with (folder / "texts.jsonl").open("w", encoding="utf-8") as file:
        file.writelines(json.dumps(record) + "\n" for record in records(folder))
    subprocess.run(loop(home, "import", str(folder / "texts.jsonl")), check=True, stdout=subprocess.DEVNULL)


def sources(terms: Path) -> Iterator[str]:
    """The entries of weak.toml."""
    yield f'[[source]]\nname = "terms"\nkind = "gazetteer"\nlabel = "{TERM_LABEL}"\nfile = "{terms}"\ncase = "ignore"'
    for number, pattern in enumerate(PATTERNS):
        yield f'[[source]]\nname = "pattern {number}"\nkind = "pattern"\nlabel = "{CODE_LABEL}"'
        yield f"pattern = '{pattern}'"


def records(folder: Path) -> Iterator[dict[str, Any]]:
    """The texts as `loop import` reads them, the first with gold."""
    asked = this_project(read_terms(folder))
    for key, text in read_texts(folder):
        record = {"id": str(key), "text": text}
        if key < GOLD:
            found = [Span(start, end, CODE_LABEL if n else TERM_LABEL) for n, start, end in said(asked, text)]
            record["spans"] = [{"start": s.start, "end": s.end, "label": s.label} for s in flat_spans(text, found)]
        yield record


def check_votes(folder: Path, home: Path) -> None:
    """Exit with 1 where the store does not hold what the sources say."""
    asked = this_project(read_terms(folder))
    given = sum(sum(1 for _ in said(asked, text)) for _, text in read_texts(folder))
    settings = Settings.load(home, {})
    store = open_store(settings.store_url)
    with store.read() as session:
        stored = sum(count_votes(session, project_by_name(session, settings.project_name).id).values())
    store.close()
    if stored != given:
        sys.exit(f"the store holds {stored:,} votes, and the sources say {given:,} spans")


def make_weak_labels(home: Path) -> int:
    """What a retrain does with votes before it trains; gives the number of texts with weak labels."""
    settings = Settings.load(home, {})
    store = open_store(settings.store_url)
    with store.read() as session:
        project = project_by_name(session, settings.project_name)
    mute_harmful(store, settings, project)
    made = len(weak_documents(store, project))
    store.close()
    return made


def loop(home: Path, *words: str) -> list[str]:
    """One command of the loop on the project."""
    return [sys.executable, "-m", "loop.cli", "-C", str(home), *words]


def watched(command: Sequence[str]) -> Used:
    """Run it. Raises CalledProcessError where it fails."""
    began, peak = time.monotonic(), 0.0
    with tempfile.TemporaryFile("w+", encoding="utf-8") as out:
        process = psutil.Popen(command, stdout=out)
        while process.poll() is None:
            peak = max(peak, pss([process]))
            time.sleep(LOOK_S)
        seconds = time.monotonic() - began
        if process.returncode:
            raise subprocess.CalledProcessError(process.returncode, list(command))
        out.seek(0)
        return Used(seconds, peak, out.read())


def pss(roots: Iterable[psutil.Process]) -> float:
    """MB of these processes and all that come from them, shared pages shared out."""
    total = 0.0
    for root in roots:
        try:
            for process in (root, *root.children(recursive=True)):
                total += process.memory_full_info().pss / 2**20
        except psutil.Error:  # it has just ended
            continue
    return total


if __name__ == "__main__":
    main()
