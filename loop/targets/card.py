"""The model card of an exported folder: README.md with the front matter that the Hugging Face Hub reads.

A pure function of facts. A card holds counts and scores, and never a text.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as installed

from loop.report import facts
from loop.report.page.markdown import escaped
from loop.targets.adapter import published
from loop.targets.card_facts import DEVELOPMENT, Bounds, CardFacts, CardScore
from loop.targets.proof import Proof
from loop.targets.source import Choices
from loop.targets.target import ExportTarget
from loop.wording import score
from store.database.schema import HOLDOUT

CARD = "README.md"
_SPLITS = {HOLDOUT: "the holdout: documents that this model was not trained on", DEVELOPMENT: "the development split"}
_SHOWN_LIBRARIES = ("torch", "transformers", "peft", "tokenizers", "onnx", "onnxruntime", "openvino")


def render_card(known: CardFacts, target: ExportTarget, proof: Proof, usage: str, choices: Choices) -> str:
    """The whole card."""
    sections = [
        ("Use", [usage]),
        ("Proof", list(_proof(known, proof))),
        ("Scores", list(_scores(known))),
        ("Data", list(_data(known))),
        ("Limits", ["\n".join(f"- {text}" for text in _limits(known, target))]),
        ("Licence", [_licence(known, choices)]),
        ("Lineage", list(_lineage(known))),
    ]
    title = f"# {escaped(known.project)}: {known.origin.version}"
    types = ", ".join(f"`{name}`" for name in known.types)
    about = f"Finds entities of {len(known.types)} types in texts: {types}. This folder: {target.about}."
    body = [f"## {name}\n\n" + "\n\n".join(parts) for name, parts in sections]
    return _front_matter(known, target, choices) + "\n\n".join([title, about, *body]) + "\n"


def _front_matter(known: CardFacts, target: ExportTarget, choices: Choices) -> str:
    """Each value is JSON, which YAML is a superset of."""
    fields: dict[str, object] = {"license": choices.licence or "other"}
    if choices.language:
        fields["language"] = choices.language
    fields |= {
        "library_name": target.library,
        "pipeline_tag": "token-classification",
        "tags": ["token-classification", "named-entity-recognition", target.name],
        "base_model": published(known.origin.encoder),
        "base_model_relation": target.base_relation,
    }
    micro = next((row for row in known.scores if row.name == facts.MICRO), None)
    if micro is not None:
        fields |= {"metrics": ["precision", "recall", "f1"], "model-index": [_model_index(known, micro)]}
    lines = [f"{name}: {json.dumps(value, ensure_ascii=False)}" for name, value in fields.items()]
    return "\n".join(["---", *lines, "---"]) + "\n\n"


def _model_index(known: CardFacts, micro: CardScore) -> dict[str, object]:
    names = {"precision": micro.precision, "recall": micro.recall, "f1": micro.f1}
    metrics = [{"type": name, "value": round(value, 4), "name": f"{name} (micro)"} for name, value in names.items()]
    dataset = {"name": known.project, "type": "private", "split": known.scored_on}
    return {
        "name": known.origin.version,
        "results": [{"task": {"type": "token-classification"}, "dataset": dataset, "metrics": metrics}],
    }


def _proof(known: CardFacts, proof: Proof) -> Iterator[str]:
    yield (
        f"The folder was asked about {proof.total.texts:,} texts of the project, and its spans were compared with "
        f"those of the model as the project serves it ({known.served_precision}). A span counts as differing where "
        "only one of the two names it, so that a moved boundary counts twice."
    )
    rows = [
        (one.what, f"{one.texts:,}", f"{one.spans:,}", f"{one.differing:,}", f"{one.share:.1%}", _bound(one.bound))
        for one in proof.comparisons
    ]
    yield _table(("compared", "texts", "spans of both", "differ", "share", "accepted"), rows)
    yield f"The first row counts: {proof.reason}. The other rows say where the differences come from."


def _scores(known: CardFacts) -> Iterator[str]:
    if known.scored_on is None:
        yield "No scores are known of this model: it was never judged on a holdout."
        return
    yield (
        f"Strict, by entity (start, end and type must be right), on {_SPLITS[known.scored_on]}; of the model as the "
        "project serves it. In brackets: 95 % intervals by Wilson's rule, which take entities for independent. "
        "Entities of one document are not quite independent, so that the true intervals are somewhat wider."
    )
    if known.scored_on == DEVELOPMENT:
        yield "The training's own choices were made on this split: the scores flatter the model."
    rows = [
        (f"`{row.name}`" if row.name in known.types else row.name, *_cells(row), f"{row.support:,}")
        for row in known.scores
    ]
    yield _table(("type", "precision", "recall", "F1", "gold entities"), rows)


def _cells(row: CardScore) -> tuple[str, str, str]:
    values = (row.precision, row.recall, row.f1)
    first, second, third = (
        f"{score(value)}{_within(bounds)}" for value, bounds in zip(values, row.bounds, strict=True)
    )
    return first, second, third


def _within(bounds: Bounds | None) -> str:
    return f" ({score(bounds[0])} to {score(bounds[1])})" if bounds else ""


def _data(known: CardFacts) -> Iterator[str]:
    data, trained = known.data, known.data.trained
    people = sum(1 for person in data.annotators if person.who is not None and person.documents)
    by = f", by {people} annotator{'s' * (people != 1)}" if people else ""
    yield (
        f"Texts of the project {escaped(known.project)}{by}. The model was trained on {trained.gold.train:,} labelled "
        f"texts and {trained.weak.train:,} weakly labelled ones, {trained.entities:,} entities; "
        f"{trained.gold.dev + trained.weak.dev:,} more told how the training went. Texts are not part of this folder."
    )
    rows = [(one.split, f"{one.documents:,}", f"{one.labelled:,}", f"{one.entities:,}") for one in data.splits]
    yield _table(("split, at export", "texts", "labelled", "entities"), rows)
    counts = [(f"`{one.name}`", f"{one.trained:,}", f"{one.holdout:,}") for one in data.types]
    yield _table(("type", "entities trained on", "entities in the holdout"), counts)


def _limits(known: CardFacts, target: ExportTarget) -> Iterator[str]:
    yield (
        f"The model knows these {len(known.types)} types and the kind of text that it was trained on. The scores say "
        "nothing of other texts. Nested and overlapping entities are not found."
    )
    yield f"The model reads windows of {known.max_length} tokens. The project reads longer texts by overlapping ones."
    minima = [(one, known.data.minimum if one.minimum is None else one.minimum) for one in known.data.types]
    few = [f"`{one.name}` ({one.trained} of {minimum})" for one, minimum in minima if one.trained < minimum]
    if few:
        yield f"Types with fewer entities in training than the project's minimum: {', '.join(few)}."
    yield from target.limits
    yield from map(escaped, known.limits)


def _licence(known: CardFacts, choices: Choices) -> str:
    said = f"`{choices.licence}`" if choices.licence else "Not stated when the folder was written"
    return (
        f"{said}. The base encoder (`{published(known.origin.encoder)}`) and the texts that the model learned from "
        "have licences of their own."
    )


def _lineage(known: CardFacts) -> Iterator[str]:
    model = known.origin
    adapter = ", ".join(f"{name} {value}" for name, value in model.adapter.items())
    rows = [
        ("project", escaped(known.project)),
        ("version", f"{model.version} ({model.state}), trained {model.trained_at:%Y-%m-%d}"),
        ("goes on from", " from ".join(model.lineage[1:]) or "the base encoder"),
        ("base encoder", f"`{published(model.encoder)}`, SHA-256 of its weights `{model.settings.get(_ENCODER)}`"),
        ("adapter", f"LoRA, {adapter}, merged unless this folder is the adapter"),
        ("gold", f"{model.data_fingerprint} (fingerprint of what was learned from)"),
        ("seed", str(model.seed)),
        ("trained with", _libraries(model.libraries)),
        ("exported with", _libraries({name: _installed(name) for name in ("ner-annotation-loop", *_SHOWN_LIBRARIES)})),
    ]
    yield "\n".join(f"- {name}: {value}" for name, value in rows)


_ENCODER = "encoder_sha256"


def _libraries(versions: Mapping[str, str | None]) -> str:
    return ", ".join(f"{name} {value}" for name, value in versions.items() if value)


def _installed(name: str) -> str | None:
    try:
        return installed(name)
    except PackageNotFoundError:
        return None


def _bound(bound: float | None) -> str:
    return "" if bound is None else f"up to {bound:.0%}"


def _table(columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    ruler = ("---", *("---:" for _ in columns[1:]))
    return "\n".join(f"| {' | '.join(row)} |" for row in (columns, ruler, *rows))
