"""`loop retrain`: from the project's gold to a verified bundle, or to nothing at all.

What a training needs is gathered and checked first (`prepare`), before anything is entered or written.
"""

from __future__ import annotations

import hashlib
import platform
import shutil
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from importlib.metadata import version as installed
from itertools import chain, islice
from pathlib import Path
from typing import Any

from sqlalchemy.orm import Session

from loop.evaluation.scores import Scores
from loop.settings.model import TrainSettings, WeakSettings
from loop.settings.settings import Settings
from loop.training import lora, prefinetuned
from loop.training.batches import EncodedText, FramedWindow, encode
from loop.training.compute import find_compute
from loop.training.dataset import Dataset, WeakLabels, development_salt, drawn, gather, no_weak_labels
from loop.training.dev_split import EvaluationTexts, onnx_reader
from loop.training.encoded import EncodedData, encode_data
from loop.training.encoder import BaseModel, load_base
from loop.training.lora import ENCODER_SHA256, WarmStart, find_start
from loop.training.progress import TrainingProgress
from loop.training.recovery import BUILDING, recover_project
from loop.training.room import check_room
from loop.training.served_file.export import Parity, export_bundle
from loop.training.start import start_from_encoder
from loop.training.trainer import Outcome, check_learned, reproducible, train
from loop.training.warm_start import Growth, growth, replayed
from loop.training.weak_choice import WeakChoice, choose
from loop.training.weak_first import learn
from loop.wording import number_of
from ner.confidence import DEFAULT_CONFIDENCE
from ner.errors import BundleError
from ner.labels import LabelSet
from ner.models.bundle import MANIFEST, MODEL, TOKENIZER, Manifest, load_bundle, write_bundle
from ner.models.model_library import ModelLibrary
from ner.models.network import Network
from store.database.columns import utc_now
from store.database.schema import Model, Project, SourceRecord
from store.database.session import Store
from store.documents import StoredDocument, sample_documents
from store.gold import LEARNED_FROM, TrainingGold, held_out, training_gold
from store.projects import lock_project
from store.registry import (
    CANDIDATE,
    TRAIN_ROLE,
    WEAK,
    finish_model,
    lineage,
    model,
    promoted,
    save_training_items,
    start_model,
    trained_on,
)
from store.runs import RETRAIN, TrackedRun, tracked
from store.weak.sources import muting, weak_sources

# The texts by which files are compared: enough to tell, and few enough to be read in seconds.
COMPARED_TEXTS, COMPARED_WINDOWS = 800, 1600
# The texts that tell whether a model has learned what it was trained on.
_LEARNED_TEXTS = 200
_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "onnx", "onnxruntime", "numpy")


@dataclass(frozen=True, slots=True)
class StoreData:
    """What a training reads of the store. read_at: gold that was stored later is not in it, and counts as fresh.

    texts: some of those that may be trained on, labelled or not, to compare files by. muted: the sources of weak labels
    whose votes do not count. learned: ids of the annotation versions that the model in service learned, and those that
    each model before it did, up to one that was trained from the encoder.
    """

    gold: TrainingGold
    incumbent: Model | None
    texts: tuple[StoredDocument, ...]
    read_at: datetime
    muted: tuple[SourceRecord, ...] = ()
    learned: tuple[frozenset[int], ...] = ()


@dataclass(frozen=True, slots=True, eq=False)
class Prepared:
    """Everything that a training works with.

    data: the training side and the development split (empty where there is little gold), encoded. compared: texts at
    hand, labelled or not, to compare files by. data_read_at: when the store was read. choice: whether weak labels are
    learned from before the gold, and why; None where there was no choice. muted: the sources of weak labels whose votes
    did not count. growth: what there is to learn that the model in service has not learned.
    """

    dataset: Dataset
    labels: LabelSet
    base: BaseModel
    start: WarmStart
    data: EncodedData
    compared: EvaluationTexts
    data_read_at: datetime
    choice: WeakChoice | None = None
    muted: tuple[SourceRecord, ...] = ()
    growth: Growth = field(default_factory=Growth)

    @property
    def dev(self) -> EvaluationTexts:
        """The development split, encoded."""
        return self.data.dev

    def old_and_new(self) -> tuple[tuple[FramedWindow, ...], tuple[FramedWindow, ...]]:
        """The windows that the model in service has learned, and the others."""
        new = [document.document_id in self.growth.new for document in self.dataset.train]
        return self.data.windows_of(new, False), self.data.windows_of(new, True)

    def learned(self) -> EvaluationTexts:
        """Some texts of the training side that hold entities: they tell whether a model has learned anything."""
        with_entities = (text for text in self.data.texts if text.spans)
        return replace(self.dev, texts=tuple(islice(with_entities, _LEARNED_TEXTS)))

    def remarks(self) -> Iterator[str]:
        """What people should know before they trust the model."""
        dataset = self.dataset
        if self.choice:
            yield str(self.choice)
        if self.start.notice:
            yield self.start.notice
        for label, documents in sorted(dataset.silent_on().items()):
            older = number_of(documents, "document")
            yield f"{label} came after {older} had been annotated: what is {label} there is left open"
        if missing := dataset.missing_types(self.labels):
            yield f"no example of {', '.join(missing)}: the model cannot find such entities"
        if dataset.left_out:
            yield f"{number_of(dataset.left_out, 'document')} left out: the text or group stands in the holdout"
        if dataset.in_doubt:
            yield f"{number_of(dataset.in_doubt, 'labelled document')} left out as in doubt: `loop status` says why"
        if lost := sum(text.lost for text in self.data.texts):
            yield f"{number_of(lost, 'span')} left out, without a token of their own"
        if snapped := sum(text.snapped for text in self.data.texts):
            inside = number_of(snapped, "span that begins or ends", "spans that begin or end")
            yield f"{inside} inside a token: the whole token is learned"


def prepare(
    store: Store,
    library: ModelLibrary,
    project: Project,
    settings: TrainSettings,
    from_scratch: bool,
    weak: WeakLabels = no_weak_labels,
    weak_settings: WeakSettings | None = None,
    progress: TrainingProgress | None = None,
) -> Prepared:
    """The project's gold, with weak labels before it where they help, or weak labels alone where there is no gold; the
    encoder, and where the training starts.

    Whether weak labels help is tried first, which takes longer than the rest of this function. Raises TrainingError
    when there is nothing to learn from, and where there is no such device; ConfigError for the encoder.
    """
    weak_settings, labels = weak_settings or WeakSettings(), LabelSet(tuple(project.labels))
    find_compute(settings)
    data = read_store(store, project)
    salt, choice = development_salt(settings.seed), None
    if data.gold.documents:
        dataset = gather(data.gold, (), salt)
        dataset, choice = choose(dataset, weak, labels, settings, weak_settings, progress or TrainingProgress())
    else:
        dataset = gather(data.gold, drawn(weak(frozenset()), salt)[: weak_settings.texts], salt)
    base = load_base(settings.encoder, labels, settings.max_length, settings.encoder_dropout)
    fresh = from_scratch or dataset.kind == WEAK or bool(dataset.weak)
    grown = growth(dataset, data.learned)
    start = find_start(None if fresh else data.incumbent, library, base, labels, settings, project.label_map)
    if start.parent and (drift := grown.obstacle()):
        start = WarmStart(notice=f"training starts from the base, not from {start.parent}: {drift}")
    encoded = encode_data(dataset, base, labels, settings, weak_settings)
    known = {document.document_id for document in dataset.dev}
    others = (
        encode(item.text, (), base.text_encoder, labels, settings.max_length)
        for item in data.texts
        if item.document_id not in known
    )
    compared = replace(encoded.dev, texts=tuple(_compared(encoded.dev.texts, others)))
    return Prepared(dataset, labels, base, start, encoded, compared, data.read_at, choice, data.muted, grown)


def _compared(dev: Sequence[EncodedText], others: Iterable[EncodedText]) -> Iterator[EncodedText]:
    """Texts to compare files by: up to half of them of the development split, which is known to hold entities."""
    room = COMPARED_WINDOWS
    for text in islice(chain(dev[: COMPARED_TEXTS // 2], others), COMPARED_TEXTS):
        room -= len(text.parts)
        yield text
        if room <= 0:
            return


def read_store(store: Store, project: Project) -> StoreData:
    """Read what is trained on while nobody can write to the project, so that `read_at` parts old gold from new."""
    with store.transaction() as tx:
        lock_project(tx, project.id)
        gold, incumbent, read_at = training_gold(tx.session, project.id), promoted(tx.session, project.id), utc_now()
        learned = (
            tuple(_learned(tx.session, one.version) for one in lineage(tx.session, incumbent.version))
            if incumbent
            else ()
        )
        muted = tuple(one for one in weak_sources(tx.session, project.id) if one.muted_at is not None)
    with store.read() as session:
        held = held_out(session, project.id)
        sample = sample_documents(session, project.id, LEARNED_FROM, COMPARED_TEXTS)
    return StoreData(gold, incumbent, tuple(item for item in sample if item not in held), read_at, muted, learned)


def _learned(session: Session, version: str) -> frozenset[int]:
    """Ids of the annotation versions that a model learned by itself."""
    items = trained_on(session, version)
    return frozenset(
        item.annotation_version_id
        for item in items
        if item.role == TRAIN_ROLE and item.annotation_version_id is not None
    )


@dataclass(frozen=True, slots=True, eq=False)
class RetrainResult:
    """A new candidate.

    scores: of the file as served, on the development split; None where all documents were learned from. The holdout is
    not touched.

    kind: "gold" or "weak". train_documents: of this kind. weak_documents: that were learned from before the gold, as
    `choice` says; None where there was no choice. parent: the version it went on from, None for the base. notices: what
    people should know: interrupted runs found, entity types without examples, spans that could not be learned.
    """

    version: str
    path: Path
    parent: str | None
    kind: str
    train_documents: int
    dev_documents: int
    epochs: int
    steps: int
    loss: float
    seconds: float
    scores: Scores | None
    parity: Parity
    data_fingerprint: str
    missing_types: tuple[str, ...]
    notices: tuple[str, ...]
    weak_documents: int = 0
    choice: WeakChoice | None = None

    @property
    def precision(self) -> str:
        """What the served file computes in, such as "INT8, static"."""
        return self.parity.precision

    @property
    def dev_f1(self) -> float | None:
        """Micro-F1 of the file as served, on the development split."""
        return self.scores.micro.f1 if self.scores else None


def retrain(
    store: Store,
    settings: Settings,
    project: Project,
    *,
    from_scratch: bool = False,
    progress: TrainingProgress | None = None,
    weak: WeakLabels = no_weak_labels,
    notices: Iterable[object] = (),
) -> RetrainResult:
    """Train an adapter on the project's gold, export it, prove the file, and enter it as a candidate.

    The training goes on from the model in service, or starts from the base encoder where `from_scratch` is set or an
    obstacle stands against going on, which a notice names. Without gold, `weak` is trained on, from the base encoder.
    With gold, `weak` is learned from first where that helps (`weak_choice`); such a training starts from the base, too.
    notices: what people should know of how the data came about.
    Store and folders stay consistent whatever ends the training.
    Raises RunHeldError while another training or a promotion is at work, or when another process took this training
    for dead; TrainingError and ParityError, with the model "failed"; ConfigError for the encoder, and where no model
    can be written. KeyboardInterrupt passes through, with the model "interrupted".
    """
    check_room(settings.model_dir)
    with tracked(store, project.id, RETRAIN, exclusive=True) as run:
        retraining = _Retraining(run, settings, project, progress or TrainingProgress())
        retraining.tell(map(str, [*recover_project(run, settings.library, project), *notices]))
        result = retraining.run(from_scratch, weak)
        run.counts |= {"version": result.version, "documents": result.train_documents, "dev_f1": result.dev_f1}
    return result


class _Retraining:
    def __init__(self, run: TrackedRun, settings: Settings, project: Project, progress: TrainingProgress) -> None:
        self._run, self._store = run, run.store
        self._settings, self._weak = settings.train, settings.weak
        self._library = settings.library
        self._project = project
        self._labels = LabelSet(tuple(project.labels))
        self._progress = progress
        self._notices: list[str] = []

    def tell(self, notices: Iterable[str]) -> None:
        """Tell people, and keep for the result, what they should know."""
        for notice in notices:
            self._notices.append(notice)
            self._progress.notice(notice)

    def run(self, from_scratch: bool, weak: WeakLabels) -> RetrainResult:
        self._progress.stage("preparing")
        prepared = prepare(
            self._store, self._library, self._project, self._settings, from_scratch, weak, self._weak, self._progress
        )
        self.tell(prepared.remarks())
        row = self._enter(prepared)
        final = self._library.folder / row.path
        building = final.parent / f"{BUILDING}{row.version}"
        try:
            building.mkdir(parents=True)
            with reproducible(self._settings.seed, self._settings.threads):
                outcome, parity, scores = self._make(prepared, building)
            sealed = write_bundle(building, final, self._manifest(row, prepared, outcome, parity, scores))
            load_bundle(final, self._labels.types)
            self._finish(row, sealed, prepared)
        finally:
            self._clear(row, building, final)
        self._share(row, sealed)
        return self._result(row, prepared, outcome, parity, scores)

    def _enter(self, prepared: Prepared) -> Model:
        with self._run.transaction() as tx:
            row = start_model(
                tx,
                self._project.id,
                run_id=self._run.id,
                encoder=self._settings.encoder,
                seed=self._settings.seed,
                settings=self._recorded(prepared),
                libraries=libraries(),
                data_fingerprint=prepared.dataset.fingerprint,
                parent=prepared.start.parent,
                created_at=prepared.data_read_at,
            )
            tx.commit()
        return row

    def _make(self, prepared: Prepared, building: Path) -> tuple[Outcome, Parity, Scores | None]:
        """Train, and fill the folder `building`."""
        base, progress = prepared.base, self._progress
        padding_id = base.tokenizer.pad_token_id or 0
        lesson = prepared.data.lesson
        num_tags = len(self._labels.tags)
        progress.stage("training")
        if prepared.start.adapter is not None:
            adapted = lora.attach(base, self._settings.changed(prefinetuned=False), num_tags)
            lora.load_weights(adapted, prepared.start.adapter, prepared.start.rows)
            windows, plan = replayed(*prepared.old_and_new(), self._settings)
            outcome = train(adapted, windows, plan, self._settings, padding_id, progress)
        else:
            start = start_from_encoder(base, self._settings, num_tags, lesson.last)
            adapted, outcome = start.model, learn(start.model, lesson, start.settings, padding_id, progress)
        self.tell(check_learned(adapted, prepared.learned(), padding_id))
        progress.stage("exporting")
        lora.save(adapted, building / lora.ADAPTER)
        base.tokenizer.backend_tokenizer.save(str(building / TOKENIZER))
        merged = lora.merge(adapted)
        parity = export_bundle(merged, building, prepared.compared, lesson.last, padding_id, prepared.start.in_fp32)
        self.tell(parity.notices())
        progress.stage("checking")
        if not prepared.dev.texts:
            return outcome, parity, None
        evaluated = prepared.dev.evaluate(onnx_reader(Network(building / MODEL)))
        return outcome, parity, prepared.dev.scores(evaluated)

    def _manifest(
        self, row: Model, prepared: Prepared, outcome: Outcome, parity: Parity, scores: Scores | None
    ) -> Manifest:
        development = {"development": scores.as_dict()} if scores else {}
        chosen: dict[str, Any] = {"weak": prepared.choice.as_dict()} if prepared.choice else {}
        chosen |= {"start": {**prepared.growth.as_dict(), "told": prepared.start.notice}}
        return Manifest(
            version=row.version,
            encoder=self._settings.encoder,
            labels=self._labels.types,
            max_length=self._settings.max_length,
            confidence=DEFAULT_CONFIDENCE,
            created_at=datetime.now(UTC).isoformat(timespec="seconds"),
            data_fingerprint=row.data_fingerprint,
            seed=row.seed,
            parent=row.parent,
            settings=row.settings,
            libraries=row.libraries,
            scores={**development, **chosen, "parity": parity.as_dict(), "training": asdict(outcome)},
            break_costs=prepared.dev.break_costs,
            precision=parity.precision,
        )

    def _finish(self, row: Model, sealed: Manifest, prepared: Prepared) -> None:
        with self._run.transaction() as tx:
            save_training_items(tx, row.version, prepared.dataset.items())
            # The manifest's hash, too: whoever fetches the model knows the manifest by it.
            files = {**sealed.files, MANIFEST: hashlib.sha256(sealed.to_json().encode()).hexdigest()}
            noted = {"kind": prepared.dataset.kind, "muted": list(map(muting, prepared.muted))}
            finish_model(tx, row.version, files=files, figures={**sealed.scores, **noted})
            tx.commit()

    def _share(self, row: Model, sealed: Manifest) -> None:
        """Send the model to the shared folder, where there is one. The candidate stands even where that fails."""
        try:
            self._library.share(row.path, sealed.files)
        except BundleError as error:
            later = "The next cycle of `loop run`, or `loop promote`, tries again."
            self.tell([f"{row.version} could not be sent to the other hosts: {error} {later}"])

    def _clear(self, row: Model, building: Path, final: Path) -> None:
        """Remove what the store does not vouch for. The store is asked, since Ctrl-C may come just after the commit."""
        shutil.rmtree(building, ignore_errors=True)
        if final.exists():
            with self._store.read() as session:
                vouched = model(session, row.version).state == CANDIDATE
            if not vouched:
                shutil.rmtree(final, ignore_errors=True)

    def _recorded(self, prepared: Prepared) -> dict[str, Any]:
        base, windows = prepared.base, len(prepared.data.lesson.last)
        start = {} if prepared.start.adapter else prefinetuned.recorded(base, self._settings, windows)
        return {**self._settings.model_dump(), ENCODER_SHA256: base.sha256, **start}

    def _result(
        self, row: Model, prepared: Prepared, outcome: Outcome, parity: Parity, scores: Scores | None
    ) -> RetrainResult:
        return RetrainResult(
            version=row.version,
            path=self._library.folder / row.path,
            parent=row.parent,
            kind=prepared.dataset.kind,
            train_documents=len(prepared.dataset.train),
            dev_documents=len(prepared.dataset.dev),
            epochs=outcome.epochs,
            steps=outcome.steps,
            loss=outcome.loss,
            seconds=outcome.seconds,
            scores=scores,
            parity=parity,
            data_fingerprint=row.data_fingerprint,
            missing_types=prepared.dataset.missing_types(self._labels),
            notices=tuple(self._notices),
            weak_documents=len(prepared.dataset.weak),
            choice=prepared.choice,
        )


def libraries() -> dict[str, str]:
    """The versions that a model depends on."""
    return {"python": platform.python_version(), **{name: installed(name) for name in _LIBRARIES}}
