"""What a study tells, as frozen dataclasses: a field is a key of report.json.

F1, precision, recall and differences are 0..1, sizes are MB of 10^6 bytes. None is what was not measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from loop.evaluation.robustness import Perturbed
from loop.evaluation.significance import Difference
from loop.judging.measured import Speed
from loop.report.facts import ErrorFacts, QuantisationLoss, SystemScores

FORMAT, STUDY = 1, "study"


@dataclass(frozen=True, slots=True)
class StudiedType:
    """An entity type: how many entities of it are learned from, and how many are judged by."""

    name: str
    train: int
    dev: int


@dataclass(frozen=True, slots=True)
class StudiedData:
    """data, dev: names of the files; dev is None where a share of the data was held back.

    groups: the documents that the texts to judge by belong to. unlabelled: texts that only a student reads. said: what
    was left out, and why.
    """

    data: str
    dev: str | None
    train_texts: int
    dev_texts: int
    groups: int
    unlabelled: int
    types: tuple[StudiedType, ...]
    said: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class VariantRun:
    """One training from one seed. f1: micro, as served; fp32_f1: of the FP32 file. precision: what the served file
    computes in. seconds: of the training steps. teacher: the variant that taught it."""

    seed: int
    f1: float
    fp32_f1: float
    precision: str
    epochs: int
    steps: int
    batch_size: int
    learning_rate: float
    head_learning_rate: float | None
    loss: float
    seconds: float
    teacher: str | None = None


@dataclass(frozen=True, slots=True)
class VariantScore:
    """An entity type, `micro` or `macro`, as served, over the texts of all seeds together. support: gold entities."""

    name: str
    support: int
    served: SystemScores


@dataclass(frozen=True, slots=True)
class VariantCosts:
    """trainable, parameters: how many parameters learn, and how many serve. adapter_mb: of the saved adapter, where
    there is one. layers: of the encoder that serves."""

    layers: int | None
    trainable: int
    parameters: int
    adapter_mb: float | None
    fp32_mb: float
    int8_mb: float


@dataclass(frozen=True, slots=True)
class StudiedVariant:
    """A variant of one encoder, and all that was measured of it.

    errors, quantisation, robustness and costs are those of the first seed. differences: to the variant that all are
    compared with, micro first; empty for that variant itself. error: why there are no figures; all else is then empty.
    """

    encoder: str
    variant: str
    runs: tuple[VariantRun, ...] = ()
    scores: tuple[VariantScore, ...] = ()
    costs: VariantCosts | None = None
    speeds: tuple[Speed, ...] = ()
    errors: ErrorFacts | None = None
    quantisation: tuple[QuantisationLoss, ...] = ()
    robustness: tuple[Perturbed, ...] = ()
    differences: tuple[Difference, ...] = ()
    notices: tuple[str, ...] = ()
    error: str | None = None

    @property
    def micro(self) -> SystemScores:
        """All types together."""
        return self.of("micro")

    def of(self, name: str) -> SystemScores:
        """The scores of a type, of `micro` or of `macro`."""
        return next(row.served for row in self.scores if row.name == name)


@dataclass(frozen=True, slots=True)
class Study:
    """A whole study. against: the name of the variant that all others are compared with."""

    at: datetime
    command: str
    data: StudiedData
    seeds: tuple[int, ...]
    settings: Mapping[str, object]
    machine: Mapping[str, object]
    variants: tuple[StudiedVariant, ...]
    against: str | None
    seconds: float
    kind: str = STUDY
    format: int = FORMAT

    def name_of(self, variant: StudiedVariant) -> str:
        """What people call a variant: with its encoder where there are several, by the last part of its path."""
        encoders = {one.encoder for one in self.variants}
        if len(encoders) == 1:
            return variant.variant
        short = len({_last_part(one) for one in encoders}) == len(encoders)
        return f"{_last_part(variant.encoder) if short else variant.encoder} {variant.variant}"

    @property
    def measured(self) -> tuple[StudiedVariant, ...]:
        """The variants that have figures."""
        return tuple(one for one in self.variants if one.error is None)

    @property
    def best(self) -> StudiedVariant | None:
        """The measured variant with the highest micro-F1."""
        return max(self.measured, key=lambda one: one.micro.f1, default=None)


def _last_part(encoder: str) -> str:
    return encoder.rstrip("/").rpartition("/")[2]
