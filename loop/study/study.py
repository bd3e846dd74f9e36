"""`loop study`: every variant is trained on the same texts and judged on the same other texts."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from loop.evaluation.scores import Counts, grouped, score
from loop.evaluation.significance import Comparison, compare_counts
from loop.judging.evidence import available_cores, machine
from loop.judging.fp32_process import runtimes_of
from loop.judging.measured import Speed
from loop.judging.speeds import measure_speeds
from loop.report import facts
from loop.report.scoring import losses, system_scores
from loop.settings.model import TrainSettings
from loop.study.data import StudyTexts
from loop.study.measuring import SeedAnswers, ServedVariant, serve
from loop.study.results import StudiedData, StudiedType, StudiedVariant, Study, VariantScore
from loop.study.student import check_halves
from loop.study.variants import DISTILLED, LORA, VARIANTS, Teacher, train_variant
from loop.training.encoder import classifier_name, load_base, lora_targets
from loop.training.progress import Epoch, TrainingError, TrainingProgress, TrainingStep
from loop.training.trainer import reproducible
from ner.errors import BundleError, ConfigError

_TRY = "Label more, give --full-rate another value, study another encoder, or change [train] of the project of -C."


@dataclass(frozen=True, slots=True)
class StudyPlan:
    """What is studied. encoders: names or folders. threads: of training and timing. full_rate: the learning rate of
    whole encoders, None for the usual one. timed, perturbed: how many texts are timed and perturbed, at most."""

    encoders: tuple[str, ...]
    variants: tuple[str, ...]
    seeds: tuple[int, ...]
    threads: int
    full_rate: float | None = None
    timed: int = 100
    perturbed: int = 300


@dataclass(frozen=True, slots=True, eq=False)
class _Found:
    """A variant, and its counts over all seeds by document; None where it could not be trained."""

    variant: StudiedVariant
    counts: Counts | None = None


def check_plan(plan: StudyPlan, texts: StudyTexts, settings: TrainSettings) -> None:
    """Raise ConfigError for a plan that cannot be carried out: for its variants, or for one of its encoders."""
    unknown = [name for name in plan.variants if name not in VARIANTS]
    if unknown or not plan.variants:
        value, step = ", ".join(unknown) or "none", "Separate several by commas: --variants full,lora."
        raise ConfigError(f"a variant is one of {', '.join(VARIANTS)}", value=value, next_step=step)
    if set(plan.variants) == {DISTILLED}:
        raise ConfigError("a student learns from another variant", value=DISTILLED, next_step="Name full or lora, too.")
    for encoder in plan.encoders:
        base = load_base(encoder, texts.labels, settings.max_length)
        classifier_name(base.model, len(texts.labels.tags))
        if LORA in plan.variants:
            lora_targets(base.model)
        if DISTILLED in plan.variants:
            check_halves(base.model)


def run_study(
    texts: StudyTexts,
    names: tuple[str, str | None],
    plan: StudyPlan,
    settings: TrainSettings,
    command: str,
    progress: TrainingProgress,
) -> Study:
    """Train, serve and measure every variant of every encoder.

    names: of the file to learn from, and of the one to judge by, None where a share was held back. settings: the
    recipe; encoder, seed and threads are those of the plan. A variant that cannot be trained is told with its reason,
    and the others go on. Raises ConfigError for the plan before anything is trained, and TrainingError where no
    variant could be trained.
    """
    began = time.monotonic()
    progress.stage("checking the encoders")
    check_plan(plan, texts, settings)
    found: list[_Found] = []
    with TemporaryDirectory(prefix="study-", ignore_cleanup_errors=True) as scratch:
        for place, encoder in enumerate(plan.encoders):
            own = settings.changed(encoder=encoder, threads=plan.threads)
            found += _EncoderStudy(texts, plan, own, Path(scratch) / str(place), progress).run()
    against = _against(found)
    if against is None:
        first = str(found[0].variant.error)  # what the others lack may follow from this
        raise TrainingError("a study ends with a variant that could be trained", value="none", next_step=first)
    progress.stage("comparing the variants")
    variants = tuple(_compared(one, against, plan.seeds[0]) for one in found)
    study = Study(
        at=datetime.now(UTC),
        command=command,
        data=_data(texts, *names),
        seeds=plan.seeds,
        settings=settings.model_dump(exclude={"encoder", "seed", "threads"}),
        machine=machine(plan.threads),
        variants=variants,
        against="",
        seconds=time.monotonic() - began,
    )
    return replace(study, against=study.name_of(against.variant))


def every_core(threads: int) -> int:
    """`threads`, or for 0 every core that this process may use."""
    return threads or available_cores()


@dataclass(frozen=True, slots=True, eq=False)
class _EncoderStudy:
    """The variants of one encoder. folder: what is written on the way."""

    texts: StudyTexts
    plan: StudyPlan
    settings: TrainSettings
    folder: Path
    progress: TrainingProgress

    def run(self) -> list[_Found]:
        """The variants, in the order of the plan. The models of the first seed alone are kept: these are measured."""
        answers: dict[str, list[SeedAnswers]] = {name: [] for name in self.plan.variants}
        kept: dict[str, ServedVariant] = {}
        failed: dict[str, str] = {}
        for seed in self.plan.seeds:
            for name, served in self._of_seed(seed, failed).items():
                answers[name].append(served.answers())
                kept.setdefault(name, served)
        good = [name for name in self.plan.variants if name not in failed]
        speeds = dict(zip(good, self._speeds([kept[name] for name in good]), strict=True))
        return [
            self._measured(name, kept[name], answers[name], speeds[name])
            if name in speeds
            else _Found(StudiedVariant(self.settings.encoder, name, error=failed[name]))
            for name in self.plan.variants
        ]

    def _of_seed(self, seed: int, failed: dict[str, str]) -> dict[str, ServedVariant]:
        """Every variant that can be trained from this seed; why another one cannot is added to `failed`."""
        at_hand: dict[str, ServedVariant] = {}
        for name in self._order:
            if name in failed:
                continue
            try:
                at_hand[name] = self._served(name, seed, at_hand)
            except (TrainingError, BundleError) as error:
                # The next step of the error is that of `loop retrain`.
                failed[name] = str(TrainingError(error.rule, value=error.value, next_step=_TRY))
                self.progress.notice(f"{self.settings.encoder} {name} is left out: {failed[name]}")
        return at_hand

    @property
    def _order(self) -> list[str]:
        """The variants as they are trained: a student comes after its teachers."""
        return sorted(self.plan.variants, key=lambda name: name == DISTILLED)

    def _served(self, name: str, seed: int, others: dict[str, ServedVariant]) -> ServedVariant:
        """A variant, trained from a seed and written as files. others: what was trained from this seed before."""
        progress = _Named(self.progress, self._title(name, seed))
        settings, folder = self.settings.changed(seed=seed), self.folder / f"{name}-{seed}"
        folder.mkdir(parents=True)
        teacher = _teacher(others) if name == DISTILLED else None
        try:
            trained = train_variant(
                name, self.texts, settings, folder, progress, teacher=teacher, full_rate=self.plan.full_rate
            )
            progress.stage("exporting")
            with reproducible(seed, self.plan.threads):
                return serve(trained, self.texts, settings, folder, self.plan.threads)
        except RuntimeError as error:  # of torch: an architecture that it cannot train or export, or too little memory
            said, *_ = str(error).splitlines() or [""]
            value = f"{type(error).__name__}: {said}"
            raise TrainingError("torch trains and exports a variant", value=value) from error

    def _title(self, name: str, seed: int) -> str:
        """`lora, seed 13 (2 of 3)`, with the encoder where there are several."""
        plan, encoder = self.plan, self.settings.encoder
        places = plan.encoders.index(encoder), plan.seeds.index(seed), self._order.index(name)
        done = (places[0] * len(plan.seeds) + places[1]) * len(plan.variants) + places[2]
        total = len(plan.encoders) * len(plan.seeds) * len(plan.variants)
        shown = f"{encoder} {name}" if len(plan.encoders) > 1 else name
        return f"{shown}, seed {seed} ({done + 1} of {total})"

    def _speeds(self, served: Sequence[ServedVariant]) -> list[tuple[Speed, ...]]:
        """The speeds of each variant; all take turns, so that a busy machine is busy for all of them."""
        threads, timed = self.plan.threads, [one.text for one in self.texts.dev[: self.plan.timed]]
        self.progress.stage(f"{self.settings.encoder}: timing")
        with reproducible(self.plan.seeds[0], threads):
            ways = [runtimes_of(one.bundle, one.in_fp32, threads) for one in served]
            taken = iter(measure_speeds([way for several in ways for way in several], timed, threads))
        return [tuple(next(taken) for _ in several) if timed else () for several in ways]

    def _measured(
        self, name: str, first: ServedVariant, answers: Sequence[SeedAnswers], speeds: tuple[Speed, ...]
    ) -> _Found:
        """first: of the first seed."""
        self.progress.stage(f"{self.settings.encoder} {name}: robustness")
        pooled = score(first.gold * len(answers), [spans for one in answers for spans in one.served], self.texts.labels)
        rows = {**pooled.per_type, facts.MICRO: pooled.micro, facts.MACRO: pooled.macro}
        variant = StudiedVariant(
            encoder=self.settings.encoder,
            variant=name,
            runs=tuple(one.run for one in answers),
            scores=tuple(VariantScore(kind, row.support, system_scores(row)) for kind, row in rows.items()),
            costs=first.costs(),
            speeds=speeds,
            errors=first.errors(),
            quantisation=losses(first.fp32_scores(), first.scores()),
            robustness=first.robustness(self.plan.perturbed, self.plan.seeds[0], self.plan.threads),
            notices=tuple(dict.fromkeys(note for one in answers for note in one.notices)),
        )
        documents = [document.group_key for document in self.texts.dev] * len(answers)
        return _Found(variant, grouped(pooled.counts, documents))


class _Named(TrainingProgress):
    """Tells what is being trained in front of each stage."""

    def __init__(self, progress: TrainingProgress, name: str) -> None:
        self._progress, self._name = progress, name

    def stage(self, name: str) -> None:
        """The stage, of what."""
        self._progress.stage(f"{self._name}: {name}")

    def notice(self, message: str) -> None:
        """As it is."""
        self._progress.notice(message)

    def step(self, step: TrainingStep) -> None:
        """As it is."""
        self._progress.step(step)

    def epoch(self, epoch: Epoch) -> None:
        """As it is."""
        self._progress.epoch(epoch)


def _teacher(others: dict[str, ServedVariant]) -> Teacher:
    """The best of the other variants, by the micro-F1 of the file that serves."""
    if not others:
        raise TrainingError("a student has a teacher", value="no other variant could be trained")
    best = max(others, key=lambda name: others[name].scores().micro.f1)
    return Teacher(best, others[best].trained.model)


def _against(found: Sequence[_Found]) -> _Found | None:
    """What all others are compared with: LoRA, which is what `loop retrain` trains, else the first variant."""
    measured = [one for one in found if one.counts is not None]
    return next((one for one in measured if one.variant.variant == LORA), next(iter(measured), None))


def _compared(one: _Found, against: _Found, seed: int) -> StudiedVariant:
    """The variant with its differences to `against`."""
    if one is against or one.counts is None or against.counts is None:
        return one.variant
    found: Comparison = compare_counts(one.counts, against.counts, seed=seed)
    return replace(one.variant, differences=(found.micro, *found.per_type))


def _data(texts: StudyTexts, data: str, dev: str | None) -> StudiedData:
    train, judged = (texts.counts(documents) for documents in (texts.train, texts.dev))
    return StudiedData(
        data=data,
        dev=dev,
        train_texts=len(texts.train),
        dev_texts=len(texts.dev),
        groups=len({document.group_key for document in texts.dev}),
        unlabelled=len(texts.unlabelled),
        types=tuple(StudiedType(name, train[name], judged[name]) for name in texts.labels.types),
        said=texts.said,
    )
