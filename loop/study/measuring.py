"""What is measured of a variant that was trained: its files as they serve, its scores, errors, robustness and sizes."""

from __future__ import annotations

from contextlib import closing
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from itertools import chain, islice
from pathlib import Path

from loop.evaluation.errors import JudgedText
from loop.evaluation.robustness import Perturbed, robustness
from loop.evaluation.scores import Scores, score
from loop.judging.fp32_process import Rebuilt, tag
from loop.report.facts import ErrorFacts
from loop.report.scoring import errors_of
from loop.settings.model import TrainSettings
from loop.study.data import StudyTexts
from loop.study.results import VariantCosts, VariantRun
from loop.study.student import layers_of
from loop.study.variants import TrainedVariant
from loop.training.retrain import COMPARED_TEXTS, libraries
from loop.training.served_file.export import Parity, export_bundle, to_onnx
from ner.confidence import DEFAULT_CONFIDENCE
from ner.models.bundle import MODEL, TOKENIZER, Bundle, Manifest, load_bundle, write_bundle
from ner.spans import Span, unscored
from ner.tagger import Tagger

Spans = tuple[Span, ...]
_FP32 = "fp32.onnx"


@dataclass(frozen=True, slots=True)
class SeedAnswers:
    """What is kept of a training once its model may go. served: the spans of each text to judge by, as served."""

    run: VariantRun
    served: tuple[Spans, ...]
    notices: tuple[str, ...]


@dataclass(frozen=True, slots=True, eq=False)
class ServedVariant:
    """A trained variant with the files that serve it, and what these say of the texts to judge by.

    in_fp32: the model in torch and as the FP32 file. served, fp32: the spans of each text, by either file.
    """

    trained: TrainedVariant
    texts: StudyTexts
    seed: int
    bundle: Bundle
    in_fp32: Rebuilt
    served: tuple[Spans, ...]
    fp32: tuple[Spans, ...]
    notices: tuple[str, ...]

    @property
    def gold(self) -> list[Spans]:
        """The gold of the texts to judge by."""
        return [document.spans for document in self.texts.dev]

    def scores(self) -> Scores:
        """Of the file that serves."""
        return score(self.gold, self.served, self.texts.labels)

    def fp32_scores(self) -> Scores:
        """Of the FP32 file."""
        return score(self.gold, self.fp32, self.texts.labels)

    def answers(self) -> SeedAnswers:
        """This training in figures, and what its file says."""
        done = self.trained.outcome
        run = VariantRun(
            seed=self.seed,
            f1=self.scores().micro.f1,
            fp32_f1=self.fp32_scores().micro.f1,
            precision=self.bundle.manifest.precision,
            epochs=done.epochs,
            steps=done.steps,
            batch_size=done.batch_size,
            learning_rate=done.learning_rate,
            head_learning_rate=self.trained.head_rate,
            loss=done.loss,
            seconds=done.seconds,
            teacher=self.trained.teacher,
        )
        return SeedAnswers(run, self.served, self.notices)

    def costs(self) -> VariantCosts:
        """Parameters and sizes."""
        return VariantCosts(
            layers=layers_of(self.trained.model),
            trainable=self.trained.trainable,
            parameters=self.trained.parameters,
            adapter_mb=self.trained.adapter_mb,
            fp32_mb=self.in_fp32.fp32.stat().st_size / 1e6,
            int8_mb=(self.bundle.path / MODEL).stat().st_size / 1e6,
        )

    def errors(self) -> ErrorFacts:
        """What the file that serves gets wrong, without a word of the texts."""
        pairs = zip(self.texts.dev, self.served, strict=True)
        judged = (JudgedText(one.content_hash, one.text, one.spans, found) for one, found in pairs)
        return errors_of(judged, self.texts.labels.types, quoting=False)

    def robustness(self, limit: int, seed: int, threads: int) -> tuple[Perturbed, ...]:
        """How the file that serves does on at most `limit` perturbed texts."""
        if not limit:
            return ()
        with closing(Tagger(self.bundle, threads)) as tagger:
            return robustness(
                [(one.text, one.spans) for one in self.texts.dev],
                lambda texts: [unscored(tagging.spans) for tagging in tagger.tag_many(texts)],
                self.texts.labels,
                seed=seed,
                limit=limit,
            )


def serve(
    trained: TrainedVariant, texts: StudyTexts, settings: TrainSettings, folder: Path, threads: int
) -> ServedVariant:
    """Write the files of a trained variant into `folder`, an empty one, and read the texts to judge by with them.

    Raises ParityError where the exported file says something else than the model.
    """
    building, fp32 = folder / "building", folder / _FP32
    building.mkdir()
    trained.tokenizer.backend_tokenizer.save(str(building / TOKENIZER))
    dev, windows = trained.data.dev, trained.data.lesson.last
    compared = replace(dev, texts=tuple(islice(chain(dev.texts, trained.data.texts), COMPARED_TEXTS)))
    parity = export_bundle(trained.model, building, compared, windows, trained.padding_id)
    write_bundle(building, folder / "served", _manifest(trained, settings, parity))
    bundle = load_bundle(folder / "served", texts.labels.types)
    to_onnx(trained.model, fp32, bundle.encoder.frame([0, 0]))
    in_fp32 = Rebuilt(trained.model, fp32, trained.padding_id, trained.trainable, trained.parameters)
    asked = [document.text for document in texts.dev]
    with closing(Tagger(bundle, threads)) as tagger:
        served = tuple(unscored(tagging.spans) for tagging in tagger.tag_many(asked))
    said = tuple(map(unscored, tag(bundle, in_fp32, asked, threads)))
    notices = (*trained.notices, *parity.notices())
    return ServedVariant(trained, texts, settings.seed, bundle, in_fp32, served, said, notices)


def _manifest(trained: TrainedVariant, settings: TrainSettings, parity: Parity) -> Manifest:
    return Manifest(
        version="study",
        encoder=settings.encoder,
        labels=trained.data.dev.labels.types,
        max_length=settings.max_length,
        confidence=DEFAULT_CONFIDENCE,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        data_fingerprint="study",
        seed=settings.seed,
        settings=settings.model_dump(),
        libraries=libraries(),
        scores={"training": asdict(trained.outcome)},
        break_costs=trained.data.dev.break_costs,
        precision=parity.precision,
    )
