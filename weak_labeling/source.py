"""What every source of weak labels is: a name, a digest that changes when its votes may, and a way to ask it.

A source votes by naming spans, and abstains everywhere else: where it says nothing about a word, it does not vote that
the word is outside every entity. Spans are half-open code-point offsets into the text.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from ner.errors import InputError
from ner.spans import Span

DocumentId = TypeVar("DocumentId", bound=Hashable)


@dataclass(frozen=True, order=True, slots=True)
class Vote:
    """The span that the source of this name voted for."""

    span: Span
    source: str


@dataclass(frozen=True, slots=True)
class Fault:
    """A source could not say what it thinks of a text; `reason` is a sentence for people.

    later: the reason may pass, so that the text may be asked about another time: a server is away, say.
    """

    reason: str
    later: bool = False


class SourceError(InputError):
    """A source was left out. `file` and `line` (from 1; 0 if none is at fault) say where; `name` is the source's name,
    "" where it has none. The message names file and line first.
    """

    def __init__(self, error: InputError, file: Path, line: int = 0, name: str = "") -> None:
        self.file, self.line, self.name = file, line, name
        super().__init__(error.rule, value=error.value, next_step=error.next_step)

    def _message(self) -> str:
        place = f"{self.file}, line {self.line}" if self.line else str(self.file)
        return f"{place}: {super()._message()}"


class WeakSource(Protocol):
    """What all kinds share. kind: as `weak.toml` writes it, "function" for Python functions."""

    @property
    def name(self) -> str:
        """The name that its votes are stored by."""

    @property
    def kind(self) -> str:
        """Such as "pattern"."""

    @property
    def digest(self) -> str:
        """SHA-256 (hex) of everything that decides its votes: what is stored under another digest is out of date."""


class TextSource(WeakSource, Protocol):
    """A source that reads a text by itself and needs no memory to speak of; it is asked in several processes."""

    def __call__(self, text: str, /) -> Iterable[Span] | None:
        """Its spans, unchecked; `weak_labeling.apply` checks them. None to abstain on the whole text."""


class BatchSource(WeakSource, Protocol):
    """A source that is asked about many texts at once, in one process: a model, or a service."""

    def find_all(self, texts: Sequence[str], /) -> Sequence[Sequence[Span] | Fault]:
        """One answer for each text, in order. A text that cannot be answered gets a Fault; the others are answered."""


@runtime_checkable
class TellingSource(Protocol):
    """A source that tells what asking it was like, such as tokens and cost."""

    def told(self) -> tuple[str, ...]:
        """Sentences for people."""


class NeighbourSource(WeakSource, Protocol):
    """A source that goes by what the other sources say about the texts of the same group."""

    def find_beside(self, texts: Sequence[str], votes: Sequence[Sequence[Vote]], /) -> Sequence[Sequence[Span]]:
        """One answer for each text of one group, in order; `votes` are the other sources' votes on each."""
