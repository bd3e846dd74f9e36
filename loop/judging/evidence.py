"""What is measured of a candidate before it is judged: its files, what it says in INT8 and in FP32, what it costs."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from loop.evaluation.robustness import Perturbed, robustness
from loop.judging.ask import JudgingError, ServedAnswers, judge_bundle
from loop.judging.contract import WrongFileError
from loop.judging.measured import (
    WEAK_VOTE,
    Agreement,
    ContractCheck,
    Efficiency,
    HeldOutDocument,
    agrees,
    check_agreement,
)
from loop.judging.reference import Reference, measure_reference
from loop.settings.promotion import BY_WEAK_VOTE, PromotionSettings
from loop.training.progress import Stages
from loop.weak.applying import vote_on
from ner.bundle import TOKENIZER
from ner.errors import BundleError, RuleError
from ner.labels import LabelSet
from ner.manifest import read_manifest
from ner.spans import Span
from store.documents import stored_documents
from store.gold import LEARNED_FROM, GoldDocument
from store.schema import Model, Project
from store.session import Store

logger = logging.getLogger(__name__)

Spans = tuple[Span, ...]
_COMPARED = 60  # texts on which FP32 and INT8 are compared, at least, where there are so many


class IncumbentError(RuleError):
    """The model in service cannot be asked, so that no candidate can be compared with it."""

    def __init__(self, version: str, error: RuleError) -> None:
        super().__init__(f"{version}, which is in service, can be asked", value=str(error))


class Measuring(Protocol):
    """What is needed of the settings."""

    @property
    def model_dir(self) -> Path: ...

    @property
    def promotion(self) -> PromotionSettings: ...

    @property
    def weak_functions(self) -> Path | None: ...


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that is known before a look is spent.

    against: the incumbent's version, WEAK_VOTE, or None when there is nothing to compare with. agreement: None where
    FP32 could not be run. problems: what people should know, a sentence each.
    """

    documents: tuple[HeldOutDocument, ...]
    contract: tuple[ContractCheck, ...]
    efficiency: Efficiency
    against: str | None
    agreement: Agreement | None
    machine: Mapping[str, Any]
    problems: tuple[str, ...] = ()


def measure(
    store: Store,
    settings: Measuring,
    project: Project,
    chosen: Model,
    incumbent: Model | None,
    documents: Sequence[tuple[GoldDocument, Spans]],
    contract: tuple[ContractCheck, ...],
    *,
    threads: int,
    stages: Stages,
) -> Measured:
    """Ask the candidate, what it is compared with, and its own FP32 about the same texts.

    Raises WrongFileError for a candidate that is refused, or that says something else than its FP32; IncumbentError
    where there is a model in service that cannot be asked; JudgingError where nothing can be said.
    """
    folder, options = settings.model_dir / chosen.path, settings.promotion
    threads = min(threads, available_cores())
    texts = [item.text for item, _ in documents]
    others = _other_texts(store, project, _COMPARED - len(texts))
    stages("asking the candidate")
    try:
        judged = judge_bundle(folder, project.labels, [*texts, *others], threads=threads, timed=options.timed)
    except BundleError as error:
        raise WrongFileError(error.rule, value=error.value, next_step=error.next_step) from error
    against, said, problems = _opponent(store, settings, project, incumbent, documents, threads)
    reference, agreement = Reference(error="not asked for"), None
    if options.reference:
        stages("asking it in FP32")
        timed = [*texts, *others][: options.timed]
        reference = measure_reference(
            folder, chosen.encoder, [*texts, *others], timed, threads=threads, seed=options.seed
        )
        _check_tokenizer(folder, reference)
        agreement = _agreement(judged, reference, chosen.version)
    return Measured(
        documents=_documents(documents, judged, said, reference),
        contract=contract,
        efficiency=_efficiency(judged, reference),
        against=against,
        agreement=agreement,
        machine=machine(threads),
        problems=problems,
    )


def perturbed(
    settings: Measuring, project: Project, chosen: Model, documents: Sequence[HeldOutDocument], threads: int
) -> tuple[Perturbed, ...]:
    """How the candidate does on perturbed texts of the holdout; nothing where none are asked for, or it fails.

    Nothing is decided by it, so that no failure of it may stand in the way.
    """
    options = settings.promotion
    if not options.robustness or not documents:
        return ()
    folder = settings.model_dir / chosen.path

    def tag(texts: Sequence[str]) -> Sequence[Spans]:
        return [bare(spans) for spans in judge_bundle(folder, project.labels, texts, threads=threads).spans]

    labels = LabelSet(tuple(project.labels))
    try:
        return robustness(documents, tag, labels, seed=options.seed, limit=options.robustness)
    except (BundleError, JudgingError) as error:
        logger.warning("robustness was not measured: %s", error)
        return ()


def bare(spans: Sequence[Span]) -> Spans:
    """Spans without their scores, as they are compared."""
    return tuple(span.without_score() for span in spans)


def machine(threads: int) -> dict[str, Any]:
    """What the figures of time were taken on, without its name."""
    return {
        "processor": _processor(),
        "cores": available_cores(),
        "load": round(os.getloadavg()[0], 1),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "threads": threads,
    }


def available_cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _opponent(
    store: Store,
    settings: Measuring,
    project: Project,
    incumbent: Model | None,
    documents: Sequence[tuple[GoldDocument, Spans]],
    threads: int,
) -> tuple[str | None, tuple[Spans, ...] | None, tuple[str, ...]]:
    """(what the candidate is compared with, what that says of each document, problems)."""
    texts = [item.text for item, _ in documents]
    if incumbent is None:
        if settings.promotion.first_model != BY_WEAK_VOTE or not documents:
            return None, None, ()
        voted = vote_on(store, project, settings.weak_functions, [item for item, _ in documents])
        return (WEAK_VOTE, voted, ()) if any(voted) else (None, None, ("no labelling function votes on the holdout",))
    try:
        judged = judge_bundle(settings.model_dir / incumbent.path, None, texts, threads=threads)
    except (BundleError, JudgingError) as error:
        raise IncumbentError(incumbent.version, error) from error
    # It may be of other labels than the project has now: it serves all the same, and finds nothing of the new types.
    said = (tuple(span for span in bare(spans) if span.label in project.labels) for spans in judged.spans)
    return incumbent.version, tuple(said), ()


def _other_texts(store: Store, project: Project, number: int) -> list[str]:
    """Texts outside the holdout, to compare INT8 with FP32 by where the holdout has few."""
    if number <= 0:
        return []
    with store.read() as session:
        found = stored_documents(session, project.id, LEARNED_FROM)
    return [item.text for item in found if item.text.strip()][:number]


def _check_tokenizer(folder: Path, reference: Reference) -> None:
    """The tokenizer that serves is the encoder's own, where the encoder is at hand to say so."""
    served = read_manifest(folder).files[TOKENIZER]
    if reference.tokenizer_sha256 is not None and reference.tokenizer_sha256 != served:
        raise WrongFileError(
            "contract, tokenizer hash: the tokenizer is that of the encoder",
            value=f"{served[:16]}, the encoder's {reference.tokenizer_sha256[:16]}",
            next_step="Train the model again: `loop retrain`.",
        )


def _agreement(judged: ServedAnswers, reference: Reference, version: str) -> Agreement | None:
    if reference.error:
        return None
    found = check_agreement([bare(s) for s in judged.spans], [bare(s) for s in reference.spans])
    if not agrees(found):
        raise WrongFileError(
            "contract, INT8 against FP32: the served file says what was trained",
            value=f"{version}: {found.differing} of {found.texts} texts differ, F1 of one against the other "
            f"{found.f1:.3f}",
            next_step="Its scales, its classifier or the order of its labels are wrong: train it again.",
        )
    return found


def _documents(
    documents: Sequence[tuple[GoldDocument, Spans]],
    judged: ServedAnswers,
    said: Sequence[Spans] | None,
    reference: Reference,
) -> tuple[HeldOutDocument, ...]:
    known = not reference.error
    return tuple(
        HeldOutDocument(
            name=item.external_id,
            text=item.text,
            gold=gold,
            candidate=bare(judged.spans[index]),
            incumbent=said[index] if said is not None else None,
            reference=bare(reference.spans[index]) if known else None,
            group=item.group_key,
        )
        for index, (item, gold) in enumerate(documents)
    )


def _efficiency(judged: ServedAnswers, reference: Reference) -> Efficiency:
    # The file's own figure is that of the process that held nothing else.
    speeds = (*reference.speeds, *([judged.speed] if judged.speed else []))
    return Efficiency(
        speeds=speeds,
        memory_mb=judged.memory_mb,
        bundle_mb=judged.bundle_mb,
        trainable_parameters=reference.trainable_parameters,
        total_parameters=reference.total_parameters,
        reference_error=reference.error,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8", "replace").splitlines()
    except OSError:
        return platform.processor() or "unknown"
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
