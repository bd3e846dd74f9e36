"""What every `[[source]]` of weak.toml has, and what its kind needs to build the source."""

from __future__ import annotations

import hashlib
import unicodedata
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Protocol

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from ner.arrays import FloatArray, IntArray
from ner.documents import LabelledText
from ner.errors import InputError
from weak_labeling.source import WeakSource
from weak_labeling.sources.answers import AnswerCache, AnswersInMemory


class EntryError(InputError):
    """A `[[source]]` breaks a rule; `key` is the key at fault, if it is one of them."""

    def __init__(self, rule: str, *, key: str = "", value: object = None, next_step: str = "") -> None:
        super().__init__(rule, value=value, next_step=next_step)
        self.key = key


class TokenClassifier(Protocol):
    """A model that has a probability for each of its tags at each token."""

    def probabilities(self, texts: Sequence[str], /) -> Sequence[tuple[FloatArray, IntArray] | InputError]:
        """One answer for each text, in order, which does not depend on the other texts.

        ((n, t), (n, 2) half-open code points) of the tokens that carry text; InputError for a text that it cannot read.
        """


OpenClassifier = Callable[[Path, int | None], TokenClassifier]


@dataclass(frozen=True)
class SourceTools:
    """What sources use that are models.

    environ: the environment, in which an API key may stand. answers: where answers of prompted models are kept.
    examples: gives texts with gold that may be shown to a model; none is of the holdout. open_classifier: opens a
    folder of transformers for windows of so many tokens (None: as many as the model reads); None without the library.
    """

    environ: Mapping[str, str] = field(default_factory=dict)
    answers: AnswerCache = field(default_factory=AnswersInMemory)
    examples: Callable[[], tuple[LabelledText, ...]] = tuple
    open_classifier: OpenClassifier | None = None


@dataclass(frozen=True)
class SourceContext:
    """Where a source is built: `home`, the folder that its files are relative to, the project's labels, what each label
    means, where anybody has written it down, and what models need.
    """

    home: Path
    labels: tuple[str, ...]
    definitions: Mapping[str, str] = field(default_factory=dict)
    tools: SourceTools = field(default_factory=lambda: SourceTools())

    def file(self, name: str) -> Path:
        """The file of this name: below `home` unless it is absolute or begins with `~`."""
        return self.home / Path(name).expanduser()

    def check_label(self, label: str, key: str) -> None:
        """Raise EntryError unless the label is one of the project's."""
        if label not in self.labels:
            raise EntryError(
                f"a source votes for a label of the label config: {', '.join(self.labels)}",
                key=key,
                value=label,
                next_step="Correct the label, or add it to the label config.",
            )


def _name(name: str) -> str:
    shows = all(unicodedata.category(character) not in ("Cc", "Cs", "Zl", "Zp") for character in name)
    if not name.strip() or not shows:
        raise ValueError("a name is not blank and has no control characters")
    return name


Text = Annotated[str, Field(min_length=1)]


class SourceEntry(BaseModel, ABC):
    """The keys of a `[[source]]`. Each kind is a subclass: its fields are the keys that the kind knows."""

    model_config = ConfigDict(frozen=True, strict=True, extra="forbid", allow_inf_nan=False)

    name: Annotated[str, AfterValidator(_name)]
    kind: str

    def used_labels(self) -> Iterator[tuple[str, str]]:
        """(key, label) of every label that the entry names; each must be in the label config."""
        if isinstance(label := getattr(self, "label", None), str):
            yield "label", label

    @abstractmethod
    def build(self, place: SourceContext, /) -> WeakSource:
        """The source. Raises EntryError (or another InputError) for what only the place can tell to be wrong."""


def digest_of(*parts: object) -> str:
    """SHA-256 (hex) of the `repr` of what decides a source's votes: strings, numbers, and frozen data of them."""
    return hashlib.sha256("\n".join(map(repr, parts)).encode("utf-8", "surrogatepass")).hexdigest()
