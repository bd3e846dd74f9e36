"""The answers of prompted models in the store, and what else sources that are models get from the loop."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from ner.documents import LabelledText
from store.gold import training_gold
from store.schema import Project
from store.session import Store
from store.weak_answers import NewAnswer, keep_answers, known_answers, spent_on
from weak_labeling.sources.answers import PromptAnswer, Spent
from weak_labeling.sources.entry import SourceTools, TokenClassifier

_MOST_EXAMPLES = 50


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
