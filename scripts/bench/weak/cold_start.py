"""From `loop init` to pre-labels without any gold: python -m scripts.bench.weak.cold_start [EXAMPLE ...]

For each example: makes its project, imports its texts, lets the sources of weak labels vote, and takes the seconds
until the agreed votes are there. With --label-studio, a real server of the released package runs beside it, and the
seconds count until the votes are published there as pre-labels; without, until the votes stand in the store. The
server's own start does not count. With --train, a first model is trained from the votes alone.

The votes and the served file of the model are scored by strict micro-F1 against the example's gold file, which nothing
has learned from: on the texts that were read when the sources were written (seen.txt names their files), and on the
others. Prints a Markdown table.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from loop.evaluation.scores import score
from loop.settings.project import open_tagger
from loop.settings.settings import Settings
from loop.up.project import EXAMPLES, SALT, make_from_example
from loop.weak.aggregating import said_together
from ner.labels import LabelSet
from ner.spans import Span, flat_spans
from scripts.build_example import read_messages, seen_sources
from store.database.schema import SPLITS, Project
from store.database.session import Store, open_store
from store.documents import stored_documents
from store.projects import project_by_name
from store.registry import models
from tests.server.real_label_studio import RealLabelStudio, make_template

ROOT = Path(__file__).resolve().parents[3]
_HEAD = ("example", "texts", "seconds to pre-labels", "votes, seen", "votes, others", "first model, seen", "others")
Said = Mapping[str, Sequence[Span]]


@dataclass(frozen=True)
class ColdStart:
    """What one example gave. votes, model: strict micro-F1 on (seen texts, other texts); None: there are none."""

    example: str
    texts: int
    seconds: float
    votes: tuple[float | None, float | None]
    model: tuple[float | None, float | None]


def main() -> None:
    """Read the arguments, measure each example in a folder that goes away, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("examples", nargs="*", default=sorted(path.parent.name for path in EXAMPLES.glob("*/name.txt")))
    parser.add_argument("--label-studio", action="store_true", help="publish to a real server")
    parser.add_argument("--train", action="store_true", help="train a first model, too")
    given = parser.parse_args()
    print(f"| {' | '.join(_HEAD)} |\n| {' | '.join(['---'] * len(_HEAD))} |")
    with tempfile.TemporaryDirectory() as folder, server(Path(folder), given.label_studio) as environ:
        for name in given.examples:
            done = measured(EXAMPLES / name, Path(folder) / name, environ, train=given.train)
            cells = (done.example, str(done.texts), f"{done.seconds:.1f}", *map(shown, (*done.votes, *done.model)))
            print(f"| {' | '.join(cells)} |", flush=True)


@contextmanager
def server(folder: Path, wanted: bool) -> Iterator[dict[str, str]]:
    """The variables under which the loop reaches a Label Studio that runs until the block ends, or none."""
    if not wanted:
        yield {}
        return
    running = RealLabelStudio(make_template(folder / "label-studio"))
    running.start()
    try:
        yield {"LABEL_STUDIO_URL": running.url, "LABEL_STUDIO_API_KEY": running.first.token}
    finally:
        running.stop()


def measured(example: Path, home: Path, environ: dict[str, str], *, train: bool) -> ColdStart:
    """One example, from an empty folder on."""
    began = time.monotonic()
    make_from_example(example, home, {}, environ={}, salt=SALT)
    loop(home, environ, "import", str(example / "tasks.jsonl"))
    loop(home, environ, "weak", "apply")
    if environ:
        loop(home, environ, "connect", "--push", "--no-backend")
        loop(home, environ, "publish")
    seconds = time.monotonic() - began
    settings = Settings.load(home, {})
    store = open_store(settings.store_url)
    with store.read() as session:
        project = project_by_name(session, settings.project_name)
        documents = stored_documents(session, project.id, SPLITS)
    said = zip(documents, said_together(store, project, documents), strict=True)
    votes = scored(example, {one.external_id: together.spans for one, together in said})
    model = scored(example, said_by_model(store, settings, project)) if train else (None, None)
    store.close()
    return ColdStart(example.name, len(documents), seconds, votes, model)


def said_by_model(store: Store, settings: Settings, project: Project) -> Said:
    """Train a first model from the votes alone; what its served file says of every text."""
    loop(settings.home, {}, "retrain")
    with store.read() as session:
        version = models(session, project.id)[-1].version
        documents = stored_documents(session, project.id, SPLITS)
    tagger = open_tagger(store, settings, project, version)
    said = tagger.tag_many([one.text for one in documents])
    tagger.close()
    return {one.external_id: tagging.spans for one, tagging in zip(documents, said, strict=True)}


def scored(example: Path, said: Said) -> tuple[float | None, float | None]:
    """Strict micro-F1 on the texts of seen files, and on the others."""
    messages, seen = read_messages(example), seen_sources(example)
    labels = LabelSet(tuple(sorted({span.label for message in messages for span in message.spans})))
    figures: list[float | None] = []
    for part in (True, False):
        chosen = [one for one in messages if (one.source in seen) == part]
        gold = [one.spans for one in chosen]
        found = [flat_spans(one.text, [span.without_score() for span in said[one.id]]) for one in chosen]
        figures.append(score(gold, found, labels).micro.f1 if chosen else None)
    return figures[0], figures[1]


def loop(home: Path, environ: dict[str, str], *words: str) -> None:
    """One command of the loop on the project."""
    command = [sys.executable, "-m", "loop.cli", "-C", str(home), *words]
    subprocess.run(command, cwd=ROOT, env=dict(os.environ) | environ, check=True, stdout=subprocess.PIPE)


def shown(f1: float | None) -> str:
    """A cell."""
    return "" if f1 is None else f"{f1:.3f}"


if __name__ == "__main__":
    main()
