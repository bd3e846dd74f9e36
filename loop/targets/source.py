"""The model that is exported: its verified bundle, its answers as it serves, and its FP32 weights on demand."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from ner.arrays import Logits
from ner.models.bundle import Bundle
from ner.models.network import FunctionNetwork, Network
from ner.spans import Span
from ner.tagger import Tagger
from ner.windows import windows

if TYPE_CHECKING:
    from loop.judging.fp32_process import Rebuilt
    from loop.training.encoder import BaseModel

Answers = tuple[tuple[Span, ...], ...]
LogitsOf = Callable[[Sequence[int]], Logits]
FP32, INT8 = "fp32", "int8"


@dataclass(frozen=True, slots=True)
class Choices:
    """What a person may choose. precision: of Triton's model. ensemble: Triton's steps from a text to its spans.

    licence: an identifier as the Hugging Face Hub has them; language: an ISO 639 code. None is what nobody told.
    """

    precision: str = FP32
    ensemble: bool = False
    licence: str | None = None
    language: str | None = None


@dataclass(frozen=True, slots=True)
class SampledText:
    """A text of the project by which an export is proven. name: its id, where the text has one."""

    name: str
    text: str


class ModelSource:
    """One model, on its way to other programs.

    encoder: name or folder of the base encoder. name: what a server calls the model. workspace: a folder for drafts.
    texts: those by which an export is proven. threads: of torch; 0 takes every core.
    """

    def __init__(
        self,
        bundle: Bundle,
        encoder: str,
        name: str,
        texts: Sequence[SampledText],
        workspace: Path,
        choices: Choices | None = None,
        threads: int = 0,
    ) -> None:
        self.bundle, self.encoder, self.name = bundle, encoder, name
        self.texts, self.workspace, self.choices, self.threads = tuple(texts), workspace, choices or Choices(), threads

    @property
    def tags(self) -> tuple[str, ...]:
        """The tag of each logit: "O", "B-X", "I-X", ..."""
        return self.bundle.labels.tags

    @cached_property
    def served(self) -> Answers:
        """What `loop predict` says of each text."""
        return self._answers(self.bundle)

    @cached_property
    def reference(self) -> Answers:
        """What the FP32 weights say of each text, decoded as `loop predict` decodes."""
        return self._answers(replace(self.bundle, network=Network(self.rebuilt.fp32)))

    @cached_property
    def base(self) -> BaseModel:
        """The base encoder, proven to be the one that the model was trained from. Raises BundleError, ConfigError."""
        from loop.judging.fp32_process import check_base
        from loop.training.encoder import load_base

        loaded = load_base(self.encoder, self.bundle.labels, self.bundle.manifest.max_length)
        check_base(self.bundle, loaded, self._room())
        return loaded

    @cached_property
    def rebuilt(self) -> Rebuilt:
        """The model in torch, its adapter merged, and its plain FP32 file. `base` is used up. Errors as `base`."""
        from loop.judging.fp32_process import rebuild, recorded_settings

        return rebuild(self.bundle, self.base, recorded_settings(self.bundle.manifest), self._room())

    def decoded(self, logits: LogitsOf) -> Answers:
        """The spans of each text by the logits of its windows; windows and decoding are those of `loop predict`."""
        return self._answers(replace(self.bundle, network=FunctionNetwork(logits)))

    def windows(self) -> list[list[int]]:
        """The framed ids of every window of the texts, in order."""
        encoder, length = self.bundle.encoder, self.bundle.manifest.max_length
        framed = []
        for one in self.texts:
            ids = encoder.encode(one.text).ids
            parts = windows(len(ids), length, encoder.num_special)
            framed += [encoder.frame(ids[part.start : part.end]) for part in parts]
        return framed

    def _answers(self, bundle: Bundle) -> Answers:
        return tuple(tagging.spans for tagging in Tagger(bundle).tag_many([one.text for one in self.texts]))

    def _room(self) -> Path:
        folder = self.workspace / FP32
        folder.mkdir(exist_ok=True)
        return folder
