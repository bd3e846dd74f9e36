"""Whether a training with gold learns from weak labels first: decided on gold that both ways have not seen.

With some gold, fine-tuning on the gold alone often wins over weak labels (Zhu et al. 2023). So the training is tried
both ways, each time on a part of the gold, and the rest of the gold judges both. The weak labels of such a try are made
without the gold that judges; only the muting of sources has looked at it, and `loop.weak.muting` says why that does no
harm. Weak labels are used where the rule "choose them from t standard errors on" loses at most LOSS of F1 on average,
whatever their true worth is (`loop.evaluation.regret`). With little gold, the gain of a training is seldom that clear.
Then it is enough that the training gains at all, and that the weak labels themselves are far better, and better by that
rule, than what gold alone teaches. With an unclear gain, weak labels are not used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from loop.evaluation.regret import Estimate, estimate, needed_difference
from loop.evaluation.scores import Counts, count, grouped, judgeable
from loop.settings.model import TrainSettings, WeakSettings
from loop.training.dataset import Dataset, TrainingDocument, WeakDocument, WeakLabels, split, with_weak
from loop.training.dev_split import torch_reader
from loop.training.encoded import encode_data
from loop.training.encoder import load_base
from loop.training.progress import TrainingProgress
from loop.training.start import start_from_encoder
from loop.training.trainer import reproducible
from loop.training.weak_first import StageLimits, learn
from ner.labels import LabelSet
from ner.spans import Span

# F1 that a choice may lose on average.
LOSS = 0.005
# With fewer gold documents than FEW, a comparison tells nothing. Weak labels then help if they are any good.
FEW, ANY_GOOD = 30, 0.3
# Below HALVES documents, each half of the gold judges the trainings on the other half; from there on, each third judges
# those on the other two. From PLENTY documents on, one third is enough.
HALVES, PLENTY = 200, 300
# There, weak labels that are so much worse than what gold alone teaches are not tried. Below HALVES documents, weak
# labels that are so much better need no clear gain.
FAR = 0.2
# The trainings that are compared are short.
SHORT = StageLimits(windows=1600, steps=120)


@dataclass(frozen=True, slots=True)
class WeakChoice:
    """Whether weak labels are learned from before the gold, and why (a sentence).

    texts: with weak labels. judged: gold texts that judged. f1_without, f1_with: micro-F1 of gold alone and of weak
    labels before gold, on the judged texts, each text by a training that has not seen it. votes_f1: of the weak labels
    themselves there. error: the standard error of the difference. None is not measured.
    """

    used: bool
    reason: str
    texts: int
    judged: int = 0
    f1_without: float | None = None
    f1_with: float | None = None
    votes_f1: float | None = None
    error: float | None = None

    def __str__(self) -> str:
        """One sentence for people."""
        texts = f"weak labels on {self.texts:,} texts"
        told = f"learned first from {texts}" if self.used else f"learned from gold alone, without {texts}"
        if self.f1_with is None or self.f1_without is None:
            return f"{told}: {self.reason}"
        figures = f"F1 {self.f1_with:.3f} with them against {self.f1_without:.3f} without"
        return f"{told}: {self.reason} ({figures}, on {self.judged:,} texts; standard error {self.error or 0:.3f})"

    def as_dict(self) -> dict[str, Any]:
        """For the manifest and the store; "told" is the sentence."""
        return {**asdict(self), "told": str(self)}


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """One part of the gold that judges: what each way, and the weak labels themselves, make of it."""

    without: Counts
    with_weak: Counts | None
    votes: Counts


def choose(
    dataset: Dataset,
    weak: WeakLabels,
    labels: LabelSet,
    train: TrainSettings,
    settings: WeakSettings,
    progress: TrainingProgress,
) -> tuple[Dataset, WeakChoice | None]:
    """The gold with the weak documents to be learned from first, if they help; None where there was no choice.

    dataset: gold. Its development split judges, where there is one; else folds of the gold do. Deterministic. Raises
    as a training does.
    """
    if settings.training == "never":
        return dataset, None
    salt = f"weak:{train.seed}"
    judging = frozenset(one.document_id for one in dataset.dev)
    both = with_weak(dataset, weak(judging), settings.texts, salt)
    if not both.weak or not any(one.spans for one in both.weak):
        return dataset, None
    chosen = _Chooser(dataset, weak, labels, train, settings, progress, salt).choice(len(both.weak))
    return (both if chosen.used else dataset), chosen


@dataclass(frozen=True, eq=False)
class _Chooser:
    dataset: Dataset
    weak: WeakLabels
    labels: LabelSet
    train: TrainSettings
    settings: WeakSettings
    progress: TrainingProgress
    salt: str

    def choice(self, texts: int) -> WeakChoice:
        if self.settings.training == "always":
            return WeakChoice(True, 'weak.training is "always"', texts)
        gold = (*self.dataset.train, *self.dataset.dev)
        if len(gold) < FEW:
            votes_f1 = self._votes(gold, self.weak(frozenset(one.document_id for one in gold))).micro_f1()
            if votes_f1 >= ANY_GOOD:
                why = f"{len(gold)} gold texts are too few to compare by; the weak labels reach F1 {votes_f1:.2f} there"
                return WeakChoice(True, why, texts, votes_f1=votes_f1)
        return self._compared(texts, list(self._trials()))

    def _compared(self, texts: int, trials: Sequence[_Trial]) -> WeakChoice:
        judged = sum(len(trial.votes.gold) for trial in trials)
        votes = _joined([trial.votes for trial in trials])
        without = _joined([trial.without for trial in trials])
        tried = [trial.with_weak for trial in trials if trial.with_weak is not None]
        found = (texts, judged, without.micro_f1())
        if len(tried) < len(trials):
            far = f"weak labels (F1 {votes.micro_f1():.2f}) are far below what gold alone teaches"
            return WeakChoice(False, f"there is enough gold, and {far}", *found, None, votes.micro_f1())
        together = _joined(tried)
        groups = [one.group_key for fold in self._folds() for one in fold[1]]
        gain, ahead = (estimate(*(grouped(side, groups) for side in (one, without))) for one in (together, votes))
        if _pays(gain):
            used, why = True, "they help on gold that was held back"
        elif self._gold < HALVES and gain.difference > 0 and ahead.difference >= FAR and _pays(ahead):
            used, why = True, f"they are far better (F1 {votes.micro_f1():.2f}) than what gold alone teaches here"
        else:
            used, why = False, "no clear gain on gold that was held back"
        return WeakChoice(used, why, *found, together.micro_f1(), votes.micro_f1(), _finite(gain.error))

    @property
    def _gold(self) -> int:
        return len(self.dataset.train) + len(self.dataset.dev)

    def _folds(self) -> Iterator[tuple[Sequence[TrainingDocument], Sequence[TrainingDocument]]]:
        """(learned, judging) for each trial."""
        if self.dataset.dev:
            yield self.dataset.train, self.dataset.dev
            return
        gold = self.dataset.train
        parts = list(_parts(gold, 2 if len(gold) < HALVES else 3, self.salt))
        for judging in parts if len(gold) < PLENTY else parts[:1]:
            held_back = {one.document_id for one in judging}
            learned = [one for one in gold if one.document_id not in held_back]
            if any(one.spans for one in learned):
                yield learned, judging

    def _trials(self) -> Iterator[_Trial]:
        for number, (learned, judging) in enumerate(self._folds(), start=1):
            self.progress.stage(f"trying without weak labels ({number})")
            cut = Dataset(tuple(learned), tuple(judging), self.dataset.kind)
            documents = self.weak(frozenset(one.document_id for one in judging))
            votes, without = self._votes(judging, documents), self._f1_of(cut)
            if self._gold >= PLENTY and votes.micro_f1() + FAR < without.micro_f1():
                yield _Trial(without, None, votes)
                return
            self.progress.stage(f"trying with weak labels ({number})")
            together = self._f1_of(with_weak(cut, documents, self.settings.texts, self.salt))
            yield _Trial(without, together, votes)

    def _f1_of(self, cut: Dataset) -> Counts:
        """What a short training on the dataset makes of its development split."""
        base = load_base(self.train.encoder, self.labels, self.train.max_length, self.train.encoder_dropout)
        data = encode_data(cut, base, self.labels, self.train, self.settings)
        padding_id = base.tokenizer.pad_token_id or 0
        with reproducible(self.train.seed, self.train.threads):
            start = start_from_encoder(base, self.train, len(self.labels.tags), data.lesson.last)
            learn(start.model, data.lesson, start.settings, padding_id, _Steps(self.progress), limits=SHORT)
            return data.dev.evaluate(torch_reader(start.model, padding_id)).counts

    def _votes(self, judging: Sequence[TrainingDocument], weak: Sequence[WeakDocument]) -> Counts:
        """What the weak labels themselves make of these documents; a document without votes has no entity."""
        said: dict[int, tuple[Span, ...]] = {one.document_id: one.spans for one in weak}
        voted = [judgeable(said.get(one.document_id, ()), one.unannotated) for one in judging]
        return count([one.spans for one in judging], voted, self.labels)


class _Steps(TrainingProgress):
    """Passes on the steps of a trial, and not its stages and epochs."""

    def __init__(self, told: TrainingProgress) -> None:
        self.step = told.step  # type: ignore[method-assign]


def _parts(gold: Sequence[TrainingDocument], number: int, salt: str) -> Iterator[Sequence[TrainingDocument]]:
    """The documents in so many parts of about the same size, in fewer where there are fewer groups.

    A group of documents stays together, unless there is no other.
    """
    if number == 1:
        yield gold
        return
    rest, part = split(gold, 1 / number, salt)
    yield part
    alone = len({one.group_key for one in rest}) == 1
    yield from _parts(rest, 1 if alone else number - 1, f"{salt}:rest")


def _joined(counts: Sequence[Counts]) -> Counts:
    arrays = [(one.true_positives, one.predicted, one.gold) for one in counts]
    return Counts(counts[0].types, *(np.concatenate(side) for side in zip(*arrays, strict=True)))


def _pays(gain: Estimate) -> bool:
    return gain.difference > 0 and gain.difference >= needed_difference(gain.error, LOSS)


def _finite(value: float) -> float | None:
    return value if np.isfinite(value) else None
