"""What an accepted suggestion writes into weak.toml: a term of a gazetteer, or a pattern."""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from weak_labeling.source import TextSource
from weak_labeling.sources.context import Context
from weak_labeling.sources.entry import SourceContext
from weak_labeling.sources.gazetteer import GazetteerEntry
from weak_labeling.sources.pattern import PatternEntry, PatternSource

_NUMBERS = 90_000
Case = Literal["smart", "exact"]


@dataclass(frozen=True)
class Draft(ABC):
    """label: what its spans are."""

    label: str
    kind: ClassVar[str]

    @property
    def number(self) -> int:
        """Five digits that hang on the content alone: the same entry has the same number in every list."""
        digest = hashlib.sha256(repr(self).encode("utf-8", "surrogatepass")).digest()
        return 10_000 + int.from_bytes(digest[:8], "big") % _NUMBERS

    @abstractmethod
    def keys(self) -> Mapping[str, str | tuple[str, ...]]:
        """The keys of its `[[source]]`, without the name. Keys that are not there have their defaults."""

    @abstractmethod
    def build(self, name: str) -> TextSource:
        """The source that weak.toml would give, alone. Raises EntryError where weak.toml would be refused."""


@dataclass(frozen=True)
class TermDraft(Draft):
    """A line of a gazetteer. case: as in weak.toml."""

    term: str
    case: Case = "smart"
    kind: ClassVar[str] = "gazetteer"

    def keys(self) -> Mapping[str, str | tuple[str, ...]]:
        """With the one term."""
        case = {} if self.case == "smart" else {"case": self.case}
        return {"kind": self.kind, "label": self.label, "terms": (self.term,), **case}

    def build(self, name: str) -> TextSource:
        """A gazetteer of one term."""
        return GazetteerEntry.model_validate({"name": name, **self.keys()}).build(_PLACE)


@dataclass(frozen=True)
class PatternDraft(Draft):
    """A regular expression, and what stands right before or behind the span ("" for anything)."""

    pattern: str
    before: str = ""
    after: str = ""
    kind: ClassVar[str] = "pattern"

    def keys(self) -> Mapping[str, str | tuple[str, ...]]:
        """Without a context that may be anything."""
        context = {key: value for key, value in (("before", self.before), ("after", self.after)) if value}
        return {"kind": self.kind, "label": self.label, "pattern": self.pattern, **context}

    def build(self, name: str) -> TextSource:
        """The pattern, tried on hostile texts first."""
        return PatternEntry.model_validate({"name": name, **self.keys()}).build(_PLACE)

    def untried(self, name: str) -> PatternSource:
        """The same source, made in no time, for patterns that may be given up at once."""
        return PatternSource(name, self.label, self.pattern, context=Context(self.before, self.after))


_PLACE = SourceContext(Path(), ())
