"""What a training needs, gathered and checked before anything is entered or written.

`loop retrain`: gold from the store to a verified bundle, or to nothing at all.
"""

from __future__ import annotations

import platform
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from loop.evaluation.scores import Scores
from loop.settings.training import TrainSettings
from loop.training import lora
from loop.training.batches import EncodedText, FramedWindow, encode, frame
from loop.training.dataset import Dataset, WeakDocument, development_salt, gather
from loop.training.dev_split import Judge, onnx_reader
from loop.training.encoder import BaseModel, load_base
from loop.training.export import Parity, export_bundle
from loop.training.lora import ENCODER_SHA256, WarmStart, find_start
from loop.training.progress import Progress, Silence, Teller, TrainingError
from loop.training.recovery import BUILDING, recover_project
from loop.training.trainer import Outcome, check_finds, make_plan, reproducible, train
from ner.boundaries import learned_costs
from ner.bundle import MODEL, TOKENIZER, Manifest, load_bundle, write_bundle
from ner.labels import LabelSet
from ner.network import Network
from store.gold import training_gold
from store.registry import CANDIDATE, WEAK, finish_model, model, promoted, save_training_items, start_model
from store.runs import RETRAIN, TrackedRun, tracked
from store.schema import Model, Project
from store.session import Store

# With fewer entities a file that says something else could not be told from chance.
COMPARED_ENTITIES = 50


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """texts: the training side, encoded; windows: those of its windows that have something to learn.

    judge: the development split. comparison: the same, with training texts added where it holds few entities, to tell
    a model that finds nothing, and an exported file that says something else, from one that had nothing to find.
    """

    dataset: Dataset
    labels: LabelSet
    base: BaseModel
    start: WarmStart
    texts: tuple[EncodedText, ...]
    windows: tuple[FramedWindow, ...]
    judge: Judge
    comparison: Judge

    def tag_counts(self) -> npt.NDArray[np.int64]:
        """(num_tags,): how often each tag is to be learned."""
        tags = np.concatenate([window.tags for window in self.windows])
        return np.bincount(tags[tags >= 0], minlength=len(self.labels.tags))

    def remarks(self) -> Iterator[str]:
        """What people should know before they trust the model."""
        dataset = self.dataset
        if self.start.notice:
            yield self.start.notice
        if missing := dataset.missing_types(self.labels):
            yield f"no example of {', '.join(missing)}: the model cannot find such entities"
        if dataset.left_out:
            yield f"{dataset.left_out} documents left out: their text or group stands in the holdout"
        for name, number in dataset.foreign_spans:
            yield f"{number} spans of {name!r} left out: the project has no such label"
        if lost := sum(text.lost for text in self.texts):
            yield f"{lost} spans left out: they have no token of their own"
        if snapped := sum(text.snapped for text in self.texts):
            yield f"{snapped} spans begin or end inside a token and are learned as the whole token"


def prepare(
    store: Store,
    model_dir: Path,
    project: Project,
    settings: TrainSettings,
    from_scratch: bool,
    weak: Iterable[WeakDocument],
) -> Prepared:
    """The project's gold (or `weak`, read only where there is none), the encoder, and where the training starts.

    Raises TrainingError when there is nothing to learn from, ConfigError for the encoder.
    """
    labels = LabelSet(tuple(project.labels))
    with store.read() as session:
        gold, incumbent = training_gold(session, project.id), promoted(session, project.id)
    weak_documents = () if gold.documents else tuple(weak)
    dataset = gather(gold, weak_documents, labels, development_salt(settings.seed), settings.dev_share)
    base = load_base(settings.encoder, labels, settings.max_length, settings.encoder_dropout)
    fresh = from_scratch or dataset.kind == WEAK
    start = find_start(None if fresh else incumbent, model_dir, base, labels, settings)
    texts, dev = (
        tuple(encode(document, base.text_encoder, labels, settings.max_length) for document in side)
        for side in (dataset.train, dataset.dev)
    )
    framed = (window for text in texts for window in frame(text, base.text_encoder))
    windows = tuple(window for window in framed if (window.tags >= 0).any())
    _check_entities(windows)
    costs = learned_costs(text.joints() for text in texts)
    judge = Judge(dev, base.text_encoder, labels, costs)
    return Prepared(dataset, labels, base, start, texts, windows, judge, judge.enlarged(texts, COMPARED_ENTITIES))


def _check_entities(windows: tuple[FramedWindow, ...]) -> None:
    if not any((window.tags > 0).any() for window in windows):
        raise TrainingError(
            "a training needs at least one entity that has a token",
            value=f"{len(windows)} windows without one",
            next_step="Label texts that hold entities.",
        )


CONFIDENCE = "minimum_margin"
_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "onnx", "onnxruntime", "numpy")


class Configured(Protocol):
    """What is needed of the settings."""

    @property
    def model_dir(self) -> Path: ...

    @property
    def train(self) -> TrainSettings: ...


@dataclass(frozen=True, slots=True, eq=False)
class RetrainResult:
    """A new candidate. scores: of the INT8 file on the development split (the holdout is not touched).

    kind: "gold" or "weak". parent: the version it went on from, None for the base. notices: what people should know:
    interrupted runs found, entity types without examples, spans that could not be learned.
    """

    version: str
    path: Path
    parent: str | None
    kind: str
    train_documents: int
    dev_documents: int
    epochs: int
    best_epoch: int
    steps: int
    loss: float
    seconds: float
    scores: Scores
    parity: Parity
    data_fingerprint: str
    missing_types: tuple[str, ...]
    notices: tuple[str, ...]

    @property
    def dev_f1(self) -> float:
        """Micro-F1 of the INT8 file on the development split."""
        return self.scores.micro.f1


def retrain(
    store: Store,
    settings: Configured,
    project: Project,
    *,
    from_scratch: bool = False,
    progress: Progress | None = None,
    weak: Iterable[WeakDocument] = (),
) -> RetrainResult:
    """Train an adapter on the project's gold, export it, prove the file, and enter it as a candidate.

    It goes on from the model in service unless `from_scratch` or something stands against it (said in a notice). Where
    there is no gold, `weak` is trained on, from the base. Whatever ends it, store and folders stay consistent.
    Raises RunHeldError while another training or a promotion is at work, or when another process took this training
    for dead; TrainingError and ParityError (the model is then "failed"),
    ConfigError for the encoder; KeyboardInterrupt passes through (the model is then "interrupted").
    """
    teller = Teller(progress or Silence())
    with tracked(store, project.id, RETRAIN, exclusive=True) as run:
        for finding in recover_project(run, settings.model_dir, project):
            teller.notice(str(finding))
        result = _Retraining(run, settings, project, teller).run(from_scratch, weak)
        run.counts |= {"version": result.version, "documents": result.train_documents, "dev_f1": result.dev_f1}
    return result


class _Retraining:
    def __init__(self, run: TrackedRun, settings: Configured, project: Project, teller: Teller) -> None:
        self._run, self._store = run, run.store
        self._settings = settings.train
        self._model_dir = settings.model_dir
        self._project = project
        self._labels = LabelSet(tuple(project.labels))
        self._teller = teller

    def run(self, from_scratch: bool, weak: Iterable[WeakDocument]) -> RetrainResult:
        self._teller.stage("preparing")
        prepared = prepare(self._store, self._model_dir, self._project, self._settings, from_scratch, weak)
        for remark in prepared.remarks():
            self._teller.notice(remark)
        row = self._enter(prepared)
        final = self._model_dir / row.path
        building = final.parent / f"{BUILDING}{row.version}"
        try:
            building.mkdir(parents=True)
            with reproducible(self._settings.seed, self._settings.threads):
                outcome, parity, scores = self._make(prepared, building)
            sealed = write_bundle(building, final, self._manifest(row, prepared, outcome, parity, scores))
            load_bundle(final, self._labels.types)
            self._finish(row, sealed, prepared.dataset)
        finally:
            self._clear(row, building, final)
        return self._result(row, prepared, outcome, parity, scores)

    def _enter(self, prepared: Prepared) -> Model:
        with self._run.transaction() as tx:
            row = start_model(
                tx,
                self._project.id,
                run_id=self._run.id,
                encoder=self._settings.encoder,
                seed=self._settings.seed,
                settings=self._recorded(prepared.base),
                libraries=libraries(),
                data_fingerprint=prepared.dataset.fingerprint,
                parent=prepared.start.parent,
            )
            tx.commit()
        return row

    def _make(self, prepared: Prepared, building: Path) -> tuple[Outcome, Parity, Scores]:
        """Train, and fill the folder `building`."""
        base, progress = prepared.base, self._teller
        padding_id = base.tokenizer.pad_token_id or 0
        adapted = lora.attach(base, self._settings, len(self._labels.tags))
        if prepared.start.adapter is None:
            lora.start_at_prior(adapted, prepared.tag_counts())
        else:
            lora.load_weights(adapted, prepared.start.adapter)
        plan = make_plan(len(prepared.windows), self._settings, warm=prepared.start.adapter is not None)
        progress.stage("training")
        outcome = train(adapted, prepared.windows, prepared.judge, plan, self._settings, padding_id, progress)
        # A development split without an entity cannot tell a model that finds nothing.
        check_finds(adapted, prepared.judge if prepared.judge.entities else prepared.comparison, padding_id)
        progress.stage("exporting")
        lora.save(adapted, building / lora.ADAPTER)
        base.tokenizer.backend_tokenizer.save(str(building / TOKENIZER))
        merged = lora.merge(adapted)
        parity = export_bundle(merged, building, prepared.comparison, prepared.windows, padding_id)
        judgement = prepared.judge.judge(onnx_reader(Network(building / MODEL)))
        progress.stage("checking")
        return outcome, parity, prepared.judge.scores(judgement)

    def _manifest(self, row: Model, prepared: Prepared, outcome: Outcome, parity: Parity, scores: Scores) -> Manifest:
        return Manifest(
            version=row.version,
            encoder=self._settings.encoder,
            labels=self._labels.types,
            max_length=self._settings.max_length,
            confidence=CONFIDENCE,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            data_fingerprint=row.data_fingerprint,
            seed=row.seed,
            parent=row.parent,
            settings=row.settings,
            libraries=row.libraries,
            scores={"development": scores.as_dict(), "parity": parity.as_dict(), "training": _figures(outcome)},
            break_costs=prepared.judge.break_costs,
        )

    def _finish(self, row: Model, sealed: Manifest, dataset: Dataset) -> None:
        with self._run.transaction() as tx:
            save_training_items(tx, row.version, dataset.items())
            finish_model(tx, row.version, files=sealed.files, figures={**sealed.scores, "kind": dataset.kind})
            tx.commit()

    def _clear(self, row: Model, building: Path, final: Path) -> None:
        """Remove what the store does not vouch for; it is asked, since Ctrl-C may come just after the commit."""
        shutil.rmtree(building, ignore_errors=True)
        if final.exists():
            with self._store.read() as session:
                vouched = model(session, row.version).state == CANDIDATE
            if not vouched:
                shutil.rmtree(final, ignore_errors=True)

    def _recorded(self, base: BaseModel) -> dict[str, Any]:
        return {**asdict(self._settings), ENCODER_SHA256: base.sha256}

    def _result(
        self, row: Model, prepared: Prepared, outcome: Outcome, parity: Parity, scores: Scores
    ) -> RetrainResult:
        return RetrainResult(
            version=row.version,
            path=self._model_dir / row.path,
            parent=row.parent,
            kind=prepared.dataset.kind,
            train_documents=len(prepared.dataset.train),
            dev_documents=len(prepared.dataset.dev),
            epochs=outcome.epochs,
            best_epoch=outcome.best_epoch,
            steps=outcome.steps,
            loss=outcome.loss,
            seconds=outcome.seconds,
            scores=scores,
            parity=parity,
            data_fingerprint=row.data_fingerprint,
            missing_types=prepared.dataset.missing_types(self._labels),
            notices=tuple(self._teller.notices),
        )


def libraries() -> dict[str, str]:
    """The versions that a model depends on."""
    return {"python": platform.python_version(), **{name: installed(name) for name in _LIBRARIES}}


def _figures(outcome: Outcome) -> Mapping[str, float]:
    return {
        "epochs": outcome.epochs,
        "best_epoch": outcome.best_epoch,
        "steps": outcome.steps,
        "loss": outcome.loss,
        "dev_f1_in_torch": outcome.judgement.f1,
        "seconds": round(outcome.seconds, 1),
    }
