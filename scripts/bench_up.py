"""What an annotator gets out of `scripts/up`: python -m scripts.bench_up RESULTS.jsonl

Starts everything as `scripts/up` does, on the bundled example: a real Label Studio, the ML backend and the service. The
simulated annotator then answers the tasks that Label Studio offers, from the gold file, up to each number of answers in
turn. After each number the script waits until the service has pulled, retrained, decided and published. Then it scores
the model in service, the first model and all others, as their INT8 files, on the texts of the pool that nobody has
answered, and on the texts of the holdout. It also asks Label Studio whose pre-labels it shows.

A seed decides which texts are held out, and every training; the models decide the order of the queue. The holdout of
seed 1 is that of `scripts/up`.

Each seed and number adds a line to RESULTS.jsonl, and what stands there is not measured again. The folder of a seed
stands beside the file until the seed is done (--keep: for good), so a stopped script goes on where it was. At the end
the script prints Markdown tables of every seed in the file.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Any

from loop.evaluation.scores import score
from loop.label_studio.client import LabelStudioClient
from loop.promotion.holdout import still_waiting
from loop.settings.settings import Settings
from loop.settings.toml_text import with_values
from loop.up.options import Options
from loop.up.project import API_KEY, EXAMPLE, SALT, make_project
from ner.bundle import load_bundle
from ner.labels import LabelSet
from ner.spans import Span, flat_spans
from ner.tagger import Tagger
from scripts.up_tables import print_tables
from store.counts import project_counts
from store.documents import StoredDocument, open_documents, stored_documents
from store.gold import count_fresh_gold, count_unpublished
from store.predictions import predictions
from store.projects import project_by_name
from store.registry import CANDIDATE, FAILED, INTERRUPTED, models, promotions, trained_on
from store.runs import RUNNING, is_alive
from store.schema import HOLDOUT, POOL, Model, Run
from store.session import open_store
from tests.server.real_label_studio import free_port

ROOT = Path(__file__).resolve().parents[1]
GOLD = EXAMPLE / "gold.jsonl"
STOPS, SEEDS = (50, 100, 150, 250), (1, 2, 3, 4)
READY = "simulate-annotator"
_LIMIT = 3600.0
_SAID = re.compile(r"^\[ *(\d+) s\] (.*)$", re.MULTILINE)

Record = dict[str, Any]


def main(words: Sequence[str] | None = None) -> None:
    """Read the arguments, measure what is not in the file yet, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("results", type=Path)
    parser.add_argument("--stops", nargs="*", type=int, default=STOPS, metavar="ANSWERS", help="numbers of answers")
    parser.add_argument("--seeds", nargs="*", type=int, default=SEEDS)
    parser.add_argument("--threads", type=int, default=0, help="of a training; 0, as in `up`, takes every core")
    parser.add_argument("--keep", action="store_true", help="keep the folder of each seed")
    given = parser.parse_args(words)
    for seed in given.seeds:
        done = {line["answers"] for line in lines(given.results) if line["seed"] == seed}
        if missing := [stop for stop in sorted({0, *given.stops}) if stop not in done]:
            folder = given.results.resolve().with_suffix("") / f"seed-{seed}"
            for line in measured(folder, seed, missing, given.threads):
                with given.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps({"seed": seed, **line}) + "\n")
            if not given.keep:
                shutil.rmtree(folder)
    print_tables(lines(given.results))


def measured(folder: Path, seed: int, stops: Sequence[int], threads: int) -> Iterator[Record]:
    """The lines of a seed, one for each number of answers; 0 is the moment of "ready"."""
    options = Options(free_port(), free_port(), folder)
    make_project(options, salt=SALT if seed == 1 else f"{SALT}-{seed}")
    config = options.project / "loop.toml"
    values = {"train.seed": seed, "train.threads": threads}
    config.write_text(with_values(config.read_text("utf-8"), values), "utf-8")
    with running(options) as output:
        desk = Desk(options)
        for stop in stops:
            began = time.monotonic()
            desk.answer(stop)
            answered = time.monotonic()
            desk.settle(stop)
            seconds = {"answering": answered - began, "settling": time.monotonic() - answered}
            told = {"ready": moments(output.read_text("utf-8"))} if not stop else {}
            yield {"answers": stop, **desk.figures(), "seconds": rounded(seconds), **told}


@contextmanager
def running(options: Options) -> Iterator[Path]:
    """`scripts/up` at work and ready; gives the file of what it says. Ends it as Ctrl-C does."""
    options.logs.mkdir(parents=True, exist_ok=True)
    output = options.logs / "up.log"
    words = ["--port", str(options.port), "--backend-port", str(options.backend_port), "--data", str(options.data)]
    with output.open("wb") as sink:
        up = subprocess.Popen(
            [sys.executable, "-m", "loop.up", *words],
            cwd=ROOT,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        while READY not in output.read_text("utf-8", "replace"):
            if up.poll() is not None:
                sys.exit(f"up ended with {up.returncode}: {output.read_text('utf-8', 'replace')}")
            time.sleep(0.5)
        yield output
    finally:
        if up.poll() is None:
            up.send_signal(signal.SIGINT)
        up.wait(120)


def moments(said: str) -> dict[str, int]:
    """The seconds from the start of `up` to each of its messages that matters; of a message told twice the first."""
    wanted = {
        "Label Studio answers": "label_studio",
        "the first model is in service": "first_model",
        "the loop is running": "ready",
    }
    told: dict[str, int] = {}
    for seconds, message in _SAID.findall(said):
        for beginning, name in wanted.items():
            if message.startswith(beginning):
                told.setdefault(name, int(seconds))
    return told


class Desk:
    """The running project as a person with all its keys sees it. It changes nothing except through Label Studio."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.settings = Settings.load(options.project, {})
        self.store = open_store(self.settings.store_url)
        self.client = LabelStudioClient(options.url, (options.data / API_KEY).read_text("utf-8").strip())
        with self.store.read() as session:
            self.project_id = project_by_name(session, self.settings.project_name).id

    @cached_property
    def gold(self) -> dict[str, tuple[Span, ...]]:
        """The true spans, by the document's id in the example."""
        with GOLD.open(encoding="utf-8") as file:
            found = [json.loads(line) for line in file]
        return {one["id"]: flat_spans(one["text"], [Span(**span) for span in one["spans"]]) for one in found}

    @property
    def ls_id(self) -> int:
        """The project's id in Label Studio."""
        with self.store.read() as session:
            return int(project_by_name(session, self.settings.project_name).ls_project_id or 0)

    def answer(self, number: int) -> None:
        """Let the simulated annotator submit what lacks to this number of answers."""
        lacking = number - self._submitted()
        if lacking > 0:
            words = ["simulate-annotator", str(GOLD), "--count", str(lacking), "--json"]
            command = [sys.executable, "-m", "loop.cli", "-C", str(self.options.project), *words]
            subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE)

    def _submitted(self) -> int:
        return int(self.client.project(self.ls_id)["total_annotations_number"])

    def settle(self, answers: int) -> None:
        """Wait until the service has nothing to do, two times running."""
        end, quiet = time.monotonic() + _LIMIT, 0
        while quiet < 2:
            if time.monotonic() > end:
                sys.exit(f"the service is at work for an hour: {self._to_do(answers)}; see {self.options.logs}")
            time.sleep(3)
            quiet = 0 if self._to_do(answers) else quiet + 1

    def _to_do(self, answers: int) -> list[str]:
        """What the service still has to do."""
        with self.store.read() as session:
            project = project_by_name(session, self.settings.project_name)
            known = models(session, project.id)
            trained = [one for one in known if one.state not in (FAILED, INTERRUPTED)]
            fresh = count_fresh_gold(session, project.id, trained[-1].created_at if trained else None)
            promotion = self.settings.promotion
            candidates = [one for one in known if one.state == CANDIDATE]
            undecided = [one for one in candidates if not still_waiting(session, project, one.version, promotion)]
            busy = [run for run in session.query(Run).filter(Run.state == RUNNING) if is_alive(run)]
            to_do = {
                "pull": sum(project_counts(session, project.id).annotators.values()) < answers,
                "train": fresh >= self.settings.service.retrain_after,
                "decide": bool(undecided),
                "publish": bool(count_unpublished(session, project.id, project.promoted_version or "")),
                "finish": any(run.kind != "pull" for run in busy),
            }
        return [name for name, lacks in to_do.items() if lacks]

    def figures(self) -> Record:
        """Who serves, what every model is worth, what was decided, and what Label Studio shows."""
        with self.store.read() as session:
            project = project_by_name(session, self.settings.project_name)
            known = [one for one in models(session, project.id) if one.state not in (FAILED, INTERRUPTED)]
            learned = {one.version: {item.document_id for item in trained_on(session, one.version)} for one in known}
            untouched = open_documents(session, project.id, [POOL])
            held = stored_documents(session, project.id, [HOLDOUT])
            decisions = promotions(session, project.id)
        names = [one.version for one in known]
        return {
            "in_service": project.promoted_version,
            "first": names[0],
            "newest": names[-1],
            "texts": {POOL: len(untouched), HOLDOUT: len(held)},
            "models": {
                one.version: {
                    "state": one.state,
                    "learned_from": len(learned[one.version]),
                    **self._scores(one, {POOL: untouched, HOLDOUT: held}),
                }
                for one in known
            },
            "decisions": [decision_line(one.action, one.version, one.previous, one.figures) for one in decisions],
            "prelabels": self._shown(untouched, names[0]),
        }

    def _scores(self, model: Model, places: Mapping[str, Sequence[StoredDocument]]) -> dict[str, float]:
        """Strict micro-F1 of the served file, by place."""
        tagger = Tagger(load_bundle(self.settings.model_dir / model.path), threads=2)
        labels = LabelSet(tagger.labels.types)
        scored = {}
        for place, documents in places.items():
            said = [tagging.spans for tagging in tagger.tag_many([one.text for one in documents])]
            scored[place] = score([self.gold[one.external_id] for one in documents], said, labels).micro.f1
        tagger.close()
        return rounded(scored, 4)

    def _shown(self, documents: Sequence[StoredDocument], first: str) -> Record:
        """Of these texts: how many show each version in Label Studio, and how many show other spans than at first."""
        version = str(self.client.project(self.ls_id)["model_version"])
        sent = self.client.predictions(self.ls_id, [one.ls_task_id for one in documents if one.ls_task_id is not None])
        with self.store.read() as session:
            before = predictions(session, first)
        shown = {task: [one for one in found if one["model_version"] == version] for task, found in sent.items()}
        other = 0
        for one in documents:
            now = {region for found in shown.get(one.ls_task_id or 0, ())[:1] for region in places_in(found["result"])}
            other += now != {(span.start, span.end, span.label) for span in before[one.document_id].spans}
        return {"version": version, "texts": sum(map(bool, shown.values())), "changed": other}


def places_in(result: Sequence[Mapping[str, Any]]) -> Iterator[tuple[int, int, str]]:
    """(start, end, label) of each region of a Label Studio result."""
    for region in result:
        yield region["value"]["start"], region["value"]["end"], region["value"]["labels"][0]


def decision_line(action: str, version: str, previous: str | None, figures: Mapping[str, Any]) -> Record:
    """What of a decision the tables show."""
    ruling = figures.get("ruling") or {}
    served = ruling.get("served") or {}
    return {
        "action": action,
        "version": version,
        "previous": previous,
        "word": ruling.get("word"),
        "difference": served.get("difference"),
        "error": served.get("error"),
        "needed": ruling.get("needed"),
        "documents": ruling.get("documents"),
        "reasons": ruling.get("reasons"),
    }


def rounded(figures: Mapping[str, float], digits: int = 1) -> dict[str, float]:
    """The same, rounded."""
    return {name: round(value, digits) for name, value in figures.items()}


def lines(results: Path) -> list[Record]:
    """What was measured so far."""
    return [json.loads(line) for line in results.read_text("utf-8").splitlines()] if results.exists() else []


if __name__ == "__main__":
    for ending in (signal.SIGINT, signal.SIGTERM):  # a shell lets what it starts in the background ignore SIGINT
        signal.signal(ending, lambda number, _: sys.exit(128 + number))
    main()
