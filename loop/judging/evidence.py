"""What is measured of a candidate before it is judged: its files, what it says in INT8 and in FP32, what it costs."""

from __future__ import annotations

import logging
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from loop.evaluation.robustness import Perturbed, robustness
from loop.evaluation.scores import Agreement, check_agreement, judgeable
from loop.judging.ask import JudgingError, Reference, ServedAnswers, ask_fp32, ask_served
from loop.judging.contract import WrongFileError
from loop.judging.measured import (
    WEAK_VOTE,
    ContractCheck,
    Efficiency,
    HeldOutText,
    agrees,
)
from loop.settings.model import BY_WEAK_VOTE
from loop.settings.settings import Settings
from loop.training.progress import Stages
from loop.weak.aggregating import vote_on, votes_stand
from ner.errors import BundleError, RuleError
from ner.labels import LabelSet
from ner.spans import Span, unscored
from store.database.schema import Model, Project
from store.database.session import Store
from store.documents import stored_documents
from store.gold import LEARNED_FROM, GoldDocument

logger = logging.getLogger(__name__)

Spans = tuple[Span, ...]
_COMPARED = 60  # texts on which FP32 and INT8 are compared, at least, where there are so many


class IncumbentError(RuleError):
    """The model in service cannot be asked, so that no candidate can be compared with that model."""

    def __init__(self, version: str, error: RuleError) -> None:
        super().__init__(f"{version}, which is in service, can be asked", value=str(error))


@dataclass(frozen=True, slots=True)
class Measured:
    """Everything that is known of a candidate before a look is spent.

    against: the incumbent's version, WEAK_VOTE, or None when there is nothing to compare with. earlier: what earlier
    models say of each document, by version. agreement: None where FP32 could not be run. problems: what people should
    know, a sentence each.
    """

    documents: tuple[HeldOutText, ...]
    contract: tuple[ContractCheck, ...]
    efficiency: Efficiency
    against: str | None
    agreement: Agreement | None
    machine: Mapping[str, Any]
    problems: tuple[str, ...] = ()
    earlier: Mapping[str, tuple[Spans, ...]] = field(default_factory=dict)


def measure(
    store: Store,
    settings: Settings,
    project: Project,
    chosen: Model,
    incumbent: Model | None,
    documents: Sequence[tuple[GoldDocument, Spans]],
    contract: tuple[ContractCheck, ...],
    *,
    earlier: Sequence[Model] = (),
    threads: int,
    stages: Stages,
) -> Measured:
    """Ask the candidate, its opponent, `earlier` models, and the candidate in FP32 about the same texts.

    An earlier model that cannot be asked any more is left out, and said to be.

    Raises WrongFileError for a candidate whose files are shown to be wrong, or that says something else than its FP32;
    IncumbentError where the model in service cannot be asked; JudgingError where nothing can be said.
    """
    folder, options = settings.library.bundle(chosen.path, chosen.files), settings.promotion
    threads = min(threads, available_cores())
    held_out = [item.text for item, _ in documents]
    texts = [*held_out, *_other_texts(store, project, _COMPARED - len(held_out))]
    stages("asking the candidate")
    timed = 0 if options.reference else options.timed  # with a reference, INT8 is timed beside FP32
    served = ask_served(folder, project.labels, texts, threads=threads, timed=timed)
    against, said, problems = _opponent(store, settings, project, incumbent, documents, threads)
    answers, left_out = _ask_earlier(settings, project, earlier, [item for item, _ in documents], threads)
    reference = Reference(error="not asked for")
    if options.reference:
        stages("asking it in FP32")
        served, reference = _in_fp32(settings, project, chosen, served, texts, threads)
    return Measured(
        documents=_documents(documents, served, said, reference),
        contract=contract,
        efficiency=_efficiency(served, reference),
        against=against,
        agreement=_agreement(served, reference, chosen.version),
        machine=machine(threads),
        problems=(*problems, *left_out),
        earlier=answers,
    )


def _in_fp32(
    settings: Settings, project: Project, chosen: Model, served: ServedAnswers, texts: Sequence[str], threads: int
) -> tuple[ServedAnswers, Reference]:
    """(`served`, the reference). Where FP32 cannot be run, INT8 is timed alone by the same code, into `served`."""
    folder, options = settings.library.bundle(chosen.path, chosen.files), settings.promotion
    reference = ask_fp32(folder, chosen.encoder, texts, timed=options.timed, threads=threads, seed=options.seed)
    if reference.error and options.timed:
        alone = ask_served(folder, project.labels, texts[: options.timed], threads=threads, timed=options.timed)
        served = replace(served, speed=alone.speed)
    return served, reference


def perturbed(
    settings: Settings, project: Project, chosen: Model, documents: Sequence[HeldOutText], threads: int
) -> tuple[Perturbed, ...]:
    """How the candidate does on perturbed texts of the holdout; nothing where none are asked for, or asking fails.

    Texts that were not annotated for all types are left out. No gate reads these figures, so that a failure does not
    stop the promotion.
    """
    options, whole = settings.promotion, [one for one in documents if not one.unannotated]
    if not options.robustness or not whole:
        return ()
    folder = settings.library.bundle(chosen.path, chosen.files)

    def tag(texts: Sequence[str]) -> Sequence[Spans]:
        return [unscored(spans) for spans in ask_served(folder, project.labels, texts, threads=threads).spans]

    labels = LabelSet(tuple(project.labels))
    try:
        texts = [(one.text, one.gold) for one in whole]
        return robustness(texts, tag, labels, seed=options.seed, limit=options.robustness)
    except (BundleError, JudgingError) as error:
        logger.warning("robustness was not measured: %s", error)
        return ()


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
    settings: Settings,
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
        if not votes_stand(store, settings, project):
            return None, None, ()
        voted = vote_on(store, settings, project, [item for item, _ in documents])
        return (
            (WEAK_VOTE, voted, ()) if any(voted) else (None, None, ("no source of weak labels votes on the holdout",))
        )
    try:
        folder = settings.library.bundle(incumbent.path, incumbent.files)
        served = ask_served(folder, None, texts, threads=threads)
    except (BundleError, JudgingError) as error:
        raise IncumbentError(incumbent.version, error) from error
    # The incumbent may know other labels than the project has now. Such an incumbent serves all the same, and finds
    # nothing of the new types.
    said = (tuple(span for span in unscored(spans) if span.label in project.labels) for spans in served.spans)
    return incumbent.version, tuple(said), ()


def _ask_earlier(
    settings: Settings, project: Project, earlier: Sequence[Model], documents: Sequence[GoldDocument], threads: int
) -> tuple[dict[str, tuple[Spans, ...]], tuple[str, ...]]:
    """(what each earlier model says of each document, why models are left out).

    A model of other labels is left out, and so is a model without a folder.
    """
    said, problems, texts = {}, [], [item.text for item in documents]
    for found in earlier:
        try:
            settings.library.share(found.path, found.files)  # it may be put back: a backend must be able to fetch it
            folder = settings.library.bundle(found.path, found.files)
            served = ask_served(folder, project.labels, texts, threads=threads)
        except (BundleError, JudgingError) as error:
            problems.append(f"{found.version}, which served before, cannot be asked and is left out: {error}")
        else:
            pairs = zip(served.spans, documents, strict=True)
            said[found.version] = tuple(judgeable(unscored(spans), item.unannotated) for spans, item in pairs)
    return said, tuple(problems)


def _other_texts(store: Store, project: Project, number: int) -> list[str]:
    """Texts outside the holdout: where the holdout has few texts, INT8 is compared with FP32 on these, too."""
    if number <= 0:
        return []
    with store.read() as session:
        found = stored_documents(session, project.id, LEARNED_FROM)
    return [item.text for item in found if item.text.strip()][:number]


def _agreement(served: ServedAnswers, reference: Reference, version: str) -> Agreement | None:
    if reference.error:
        return None
    found = check_agreement([unscored(s) for s in served.spans], [unscored(s) for s in reference.spans])
    if not agrees(found):
        raise WrongFileError(
            "contract, INT8 against FP32: the served file says what was trained",
            value=f"{version}: {found.differing} of {found.texts} texts differ, F1 of one against the other "
            f"{found.f1:.3f}",
            next_step="The file's scales, its classifier or the order of its labels are wrong: train the model again.",
        )
    return found


def _documents(
    documents: Sequence[tuple[GoldDocument, Spans]],
    served: ServedAnswers,
    said: Sequence[Spans] | None,
    reference: Reference,
) -> tuple[HeldOutText, ...]:
    known = not reference.error
    return tuple(
        HeldOutText(
            name=item.external_id,
            text=item.text,
            gold=gold,
            candidate=judgeable(unscored(served.spans[index]), item.unannotated),
            incumbent=judgeable(said[index], item.unannotated) if said is not None else None,
            reference=judgeable(unscored(reference.spans[index]), item.unannotated) if known else None,
            group=item.group_key,
            unannotated=item.unannotated,
        )
        for index, (item, gold) in enumerate(documents)
    )


def _efficiency(served: ServedAnswers, reference: Reference) -> Efficiency:
    return Efficiency(
        speeds=reference.speeds or ((served.speed,) if served.speed else ()),
        memory_mb=served.memory_mb,
        bundle_mb=served.bundle_mb,
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
