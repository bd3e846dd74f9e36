"""The simulated annotator's desk: the project that `up` runs, how far its service is, and what its models are worth."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from loop.evaluation.scores import score
from loop.label_studio.client import LabelStudioClient
from loop.promotion.holdout import still_waiting
from loop.settings.settings import Settings
from loop.up.options import Options
from loop.up.project import API_KEY, EXAMPLE
from ner.labels import LabelSet
from ner.models.bundle import load_bundle
from ner.spans import Span, flat_spans
from ner.tagger import Tagger
from store.counts import project_counts
from store.database.schema import HOLDOUT, POOL, Model, Project, Run
from store.database.session import open_store
from store.documents import StoredDocument, open_documents, stored_documents
from store.gold import count_fresh_gold, count_unpublished
from store.predictions import predictions
from store.projects import project_by_name
from store.registry import CANDIDATE, FAILED, INTERRUPTED, models, promotions, trained_on
from store.runs import RUNNING, is_alive

ROOT = Path(__file__).resolve().parents[3]
GOLD = EXAMPLE / "gold.jsonl"
_LIMIT = 3600.0
_CORES = 2

Record = dict[str, Any]


class Desk:
    """The running project as a person with all its keys sees it. It changes nothing except through Label Studio."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.settings = Settings.load(options.project, {})
        self.store = open_store(self.settings.store_url)
        self.client = LabelStudioClient(options.url, (options.data / API_KEY).read_text("utf-8").strip())
        with self.store.read() as session:
            self.ls_id = self._project(session).ls_project_id or 0

    @cached_property
    def gold(self) -> dict[str, tuple[Span, ...]]:
        """The true spans, by the document's id in the example."""
        with GOLD.open(encoding="utf-8") as file:
            found = [json.loads(line) for line in file]
        return {one["id"]: flat_spans(one["text"], [Span(**span) for span in one["spans"]]) for one in found}

    def _project(self, session: Session) -> Project:
        return project_by_name(session, self.settings.project_name)

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
            project = self._project(session)
            finished = _finished(session, project)
            if not finished:
                return ["first model"]
            last = finished[-1]
            fresh = count_fresh_gold(session, project.id, last.created_at)
            busy = session.scalars(select(Run).where(Run.state == RUNNING, Run.kind != "pull"))
            to_do = {
                "pull": sum(project_counts(session, project.id).annotators.values()) < answers,
                "train": fresh >= self.settings.service.retrain_after,
                "decide": self._is_undecided(session, project, last),
                "publish": bool(count_unpublished(session, project.id, project.promoted_version or "")),
                "finish": any(is_alive(run) for run in busy),
            }
        return [name for name, lacks in to_do.items() if lacks]

    def _is_undecided(self, session: Session, project: Project, newest: Model) -> bool:
        waits = still_waiting(session, project, newest.version, self.settings.promotion)
        return newest.state == CANDIDATE and not waits

    def figures(self) -> Record:
        """Who serves, what every model is worth, what was decided, and what Label Studio shows."""
        with self.store.read() as session:
            project = self._project(session)
            known = _finished(session, project)
            learned = {one.version: {item.document_id for item in trained_on(session, one.version)} for one in known}
            untouched = open_documents(session, project.id, [POOL])
            held = stored_documents(session, project.id, [HOLDOUT])
            decisions = promotions(session, project.id)
        scored = {one.version: self._scores(one, {POOL: untouched, HOLDOUT: held}) for one in known}
        return {
            "in_service": project.promoted_version,
            "first": known[0].version,
            "newest": known[-1].version,
            "texts": {POOL: len(untouched), HOLDOUT: len(held)},
            "models": {name: {"learned_from": len(learned[name]), **scored[name]} for name in scored},
            "decisions": [decision_line(one.action, one.version, one.previous, one.figures) for one in decisions],
            "prelabels": self._shown(untouched, known[0].version),
        }

    def _scores(self, model: Model, places: Mapping[str, Sequence[StoredDocument]]) -> dict[str, float]:
        """Strict micro-F1 of the served file, by place."""
        tagger = Tagger(load_bundle(self.settings.model_dir / model.path), threads=_CORES)
        labels = LabelSet(tagger.labels.types)
        scored = {}
        for place, documents in places.items():
            said = [tagging.spans for tagging in tagger.tag_many([one.text for one in documents])]
            scored[place] = score([self.gold[one.external_id] for one in documents], said, labels).micro.f1
        tagger.close()
        return {place: round(f1, 4) for place, f1 in scored.items()}

    def _shown(self, documents: Sequence[StoredDocument], first: str) -> Record:
        """How many of these texts show the served version in Label Studio, how many other spans than at first."""
        version = str(self.client.project(self.ls_id)["model_version"])
        of_task = {one.ls_task_id: one.document_id for one in documents if one.ls_task_id is not None}
        sent = self.client.predictions(self.ls_id, list(of_task))
        with self.store.read() as session:
            before = {key: row.spans for key, row in predictions(session, first).items()}
        shown = {task: one for task, found in sent.items() for one in found if one["model_version"] == version}
        changed = (set(places_in(one["result"])) != _places(before[of_task[task]]) for task, one in shown.items())
        return {"version": version, "texts": len(shown), "changed": sum(changed)}


def _finished(session: Session, project: Project) -> list[Model]:
    """The models, oldest first, without trainings that failed."""
    return [one for one in models(session, project.id) if one.state not in (FAILED, INTERRUPTED)]


def _places(spans: Sequence[Span]) -> set[tuple[int, int, str]]:
    return {(span.start, span.end, span.label) for span in spans}


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
