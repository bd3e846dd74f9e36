"""Answers of prompted models, kept by the question that they answer: the same question is asked and paid once."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

_QUESTION_DIGITS = 24


@dataclass(frozen=True, slots=True)
class PromptAnswer:
    """What a model said to a question.

    content: its words. finish: the server's word for why the model stopped, "length" where it was cut. tokens: None
    where the server told none. cost: in the currency of the prices, None without prices.
    """

    content: str
    finish: str = "stop"
    seconds: float = 0.0
    tokens_in: int | None = None
    tokens_out: int | None = None
    cost: float | None = None

    def to_json(self) -> str:
        """The part of the answer that decides the votes, as it is kept."""
        return json.dumps({"content": self.content, "finish": self.finish}, ensure_ascii=False)

    @staticmethod
    def from_json(written: str) -> PromptAnswer:
        """An answer that was kept. Its cost is none: it was paid before."""
        kept = json.loads(written)
        return PromptAnswer(kept["content"], kept["finish"])


@dataclass(frozen=True, slots=True)
class Spent:
    """How many answers were given to a question, over all texts, and what they cost."""

    answers: int = 0
    cost: float = 0.0


class AnswerCache(Protocol):
    """Where answers are kept. A key is made by `answer_key`, and begins with the key of its question."""

    def known(self, keys: Sequence[str], /) -> Mapping[str, PromptAnswer]:
        """The answers that are kept, by key."""

    def keep(self, answers: Mapping[str, PromptAnswer], /) -> None:
        """Keep these answers under their keys; an answer that is there stays."""

    def spent(self, question: str, /) -> Spent:
        """What was spent on all texts for this question (`question_key`)."""


class AnswersInMemory:
    """A cache that lasts as long as the process."""

    def __init__(self) -> None:
        self._answers: dict[str, PromptAnswer] = {}

    def known(self, keys: Sequence[str], /) -> Mapping[str, PromptAnswer]:
        """As the protocol says."""
        return {key: self._answers[key] for key in keys if key in self._answers}

    def keep(self, answers: Mapping[str, PromptAnswer], /) -> None:
        """As the protocol says."""
        self._answers = {**answers, **self._answers}

    def spent(self, question: str, /) -> Spent:
        """As the protocol says."""
        given = [answer for key, answer in self._answers.items() if key.startswith(question)]
        return Spent(len(given), sum(answer.cost or 0.0 for answer in given))


def question_key(question: str) -> str:
    """The first 24 hex digits of the SHA-256 of the server, and of all that is sent beside the text."""
    return hashlib.sha256(question.encode("utf-8", "surrogatepass")).hexdigest()[:_QUESTION_DIGITS]


def answer_key(question: str, text: str) -> str:
    """64 hex digits: those of the question (`question_key`), and the first of the SHA-256 of the text."""
    return question + hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[: 64 - len(question)]
