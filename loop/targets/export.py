"""A model of the store as a folder for other programs: written, proven, told of in a card; whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from loop.settings.project import open_bundle
from loop.settings.settings import Settings
from loop.settings.whole_files import check_free, whole_folder
from loop.targets import adapter, onnx_folder, openvino_ir, transformers_folder, triton
from loop.targets.card import CARD, render_card
from loop.targets.card_facts import CardFacts, gather_facts
from loop.targets.proof import Proof, check
from loop.targets.source import Choices, ModelSource, SampledText
from loop.targets.target import ExportTarget
from loop.training.progress import Stages, silent
from ner.errors import InputError
from store.database.schema import SPLITS, Project
from store.database.session import Store
from store.documents import sample_documents

TEXTS = 200
# A new target is a module of this room, and its line here.
_TARGETS: tuple[ExportTarget, ...] = (
    transformers_folder.TARGET,
    adapter.TARGET,
    onnx_folder.TARGET,
    triton.TARGET,
    openvino_ir.TARGET,
)
TARGETS = {target.name: target for target in _TARGETS}


@dataclass(frozen=True, slots=True)
class ExportedTarget:
    """A folder that was written, and how it was proven."""

    target: str
    path: Path
    proof: Proof


@dataclass(frozen=True, slots=True)
class ExportedModel:
    """A model as one folder or several."""

    version: str
    path: Path
    targets: tuple[ExportedTarget, ...]


def export_model(
    store: Store,
    settings: Settings,
    project: Project,
    out: Path,
    targets: Sequence[str],
    *,
    version: str | None = None,
    texts: int = TEXTS,
    choices: Choices | None = None,
    allow_differences: bool = False,
    stages: Stages = silent,
) -> ExportedModel:
    """Write a model, by default the one in service, to `out`; several targets to a folder each inside it.

    Every folder is asked about `texts` texts of the project's own, held-out ones among them, and its spans are compared
    with those of `loop predict`. Nothing is written where a folder differs by more than its target may: then
    ExportDiffersError is raised, unless `allow_differences`. Raises InputError for an `out` that exists and is not an
    empty folder, BundleError for a model that is not whole, ConfigError for a missing package or base encoder.
    """
    made = [_known(name) for name in dict.fromkeys(targets)]
    check_free(out)
    row, bundle = open_bundle(store, settings, project, version)
    with store.read() as session:
        sampled = [
            SampledText(one.external_id or f"text {one.document_id}", one.text)
            for one in sample_documents(session, project.id, SPLITS, texts)
        ]
        manifest = bundle.manifest
        known = gather_facts(session, settings, project, row.version, manifest.max_length, manifest.precision)
    done = []
    with TemporaryDirectory(prefix="export-") as workspace, whole_folder(out) as draft:
        source = ModelSource(
            bundle, row.encoder, project.slug, sampled, Path(workspace), choices, settings.train.threads
        )
        for target in made:
            place = target.name if len(made) > 1 else "."
            proof = _export(source, draft / place, target, known, stages)
            if not allow_differences:
                check(target.name, proof)
            done.append(ExportedTarget(target.name, out / place, proof))
    return ExportedModel(row.version, out, tuple(done))


def _export(source: ModelSource, folder: Path, target: ExportTarget, known: CardFacts, stages: Stages) -> Proof:
    """Fill one folder; gives its proof."""
    folder.mkdir(exist_ok=True)
    stages(f"{target.name}: writing")
    target.write(source, folder)
    stages(f"{target.name}: asking about {len(source.texts)} texts")
    proof = target.prove(source, folder)
    card = render_card(known, target, proof, target.usage(source), source.choices)
    (folder / CARD).write_text(card, "utf-8")
    return proof


def _known(name: str) -> ExportTarget:
    if name not in TARGETS:
        raise InputError(f"a target is one of {', '.join(TARGETS)}", value=name)
    return TARGETS[name]
