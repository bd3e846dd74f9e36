"""The sources of weak labels that a project's files declare, and what sources that are models get from the loop."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from loop.settings.settings import Settings
from ner.documents import LabelledText
from ner.errors import ConfigError
from ner.label_studio.label_config import label_hints
from store.database.schema import Project
from store.database.session import Store
from store.gold import training_gold
from store.weak.answers import NewAnswer, keep_answers, known_answers, spent_on
from weak_labeling.loading import LoadedSources, load_sources
from weak_labeling.sources.answers import PromptAnswer, Spent
from weak_labeling.sources.entry import SourceTools, TokenClassifier

_MOST_EXAMPLES = 50


def has_sources(settings: Settings) -> bool:
    """Whether the project has a file that declares sources."""
    return settings.weak_functions is not None or settings.weak_file is not None


def declared_sources(settings: Settings, project: Project, store: Store) -> LoadedSources:
    """Load them. A source that breaks a rule is among the problems; the others go on.

    Raises the first problem where no source could be read at all.
    """
    loaded = load_sources(
        settings.home,
        functions=settings.weak_functions,
        weak_file=settings.weak_file,
        labels=project.labels,
        definitions=label_hints(project.label_config),
        tools=source_tools(store, project),
    )
    if loaded.problems and not loaded.sources:
        raise loaded.problems[0]
    return loaded


def require_sources(settings: Settings) -> None:
    """Raise ConfigError where the project has no file that declares sources."""
    if not has_sources(settings):
        raise ConfigError(
            "sources of weak labels stand in files",
            value=f"no {settings.weak.file}, and weak.functions is not set",
            next_step='Write a weak.toml, or [weak] functions = "functions.py" into loop.toml.',
        )


@dataclass(frozen=True)
class StoredAnswers:
    """A cache of answers that lasts as long as the store, for one project."""

    store: Store
    project_id: int

    def known(self, keys: Sequence[str], /) -> Mapping[str, PromptAnswer]:
        """The answers that are kept, by key."""
        with self.store.read() as session:
            rows = known_answers(session, self.project_id, keys)
        return {key: PromptAnswer.from_json(row.answer) for key, row in rows.items()}

    def keep(self, answers: Mapping[str, PromptAnswer], /) -> None:
        """Keep these answers; an answer that is there stays."""
        if not answers:
            return
        new = [
            NewAnswer(key, one.to_json(), one.seconds, one.tokens_in, one.tokens_out, one.cost)
            for key, one in answers.items()
        ]
        with self.store.transaction() as tx:
            keep_answers(tx, self.project_id, new)
            tx.commit()

    def spent(self, question: str, /) -> Spent:
        """What was spent on all texts for this question."""
        with self.store.read() as session:
            return Spent(*spent_on(session, self.project_id, question))


def source_tools(store: Store, project: Project) -> SourceTools:
    """What the sources of a project use: the environment, the store's answers, gold to show, and transformers.

    The examples are the oldest gold texts that models learn from; none of them is of the holdout.
    """

    def examples() -> tuple[LabelledText, ...]:
        with store.read() as session:
            gold = training_gold(session, project.id).documents
        shown = sorted(gold, key=lambda one: one.document_id)[:_MOST_EXAMPLES]
        return tuple(LabelledText(one.external_id, one.text, one.spans) for one in shown)

    return SourceTools(os.environ, StoredAnswers(store, project.id), examples, _open_classifier)


def _open_classifier(folder: Path, max_length: int | None) -> TokenClassifier:
    from loop.weak.token_classifier import LocalClassifier

    return LocalClassifier(folder, max_length)
