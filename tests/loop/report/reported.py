"""Attempts with made-up texts and figures, for tests of the report."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from loop.evaluation.robustness import Perturbed
from loop.evaluation.scores import check_agreement, count, score
from loop.evaluation.significance import compare_counts
from loop.judging.measured import ContractCheck, Efficiency, HeldOutText, Speed
from loop.promotion.attempt import (
    DEFERRED,
    FAIL,
    FORCED,
    PASS,
    PROMOTED,
    REFUSED,
    REJECTED,
    Attempt,
    Gate,
    Look,
)
from loop.promotion.gates import type_gates
from loop.promotion.rollback import Affected, RolledBack
from loop.report import gather
from loop.report.facts import AttemptReport
from loop.settings.model import PromotionSettings, StatusSettings
from ner.labels import LabelSet
from ner.spans import Span
from store.annotations import FILE, NewAnnotation, append_annotations
from store.database.session import Store
from store.documents import NewDocument, add_documents
from store.holdout import Rotated
from store.projects import create_project
from store.registry import (
    TrainedOn,
    TypeScore,
    finish_model,
    promote,
    promotions,
    save_scores,
    save_training_items,
    start_model,
)
from store.runs import begin_run

TYPES = ("SOFTWARE", "OS", "HARDWARE", "VERSION")
AT = datetime(2026, 11, 20, 14, 5, tzinfo=UTC)
HOSTILE = (
    '<script>alert("x")</script><img src=x onerror=alert(1)>',
    "| a | b |\n|---|---|\n# heading\n![t](http://example.org/t.png)",
    "😀 Größe naïve 中文 \U0001f468\u200d\U0001f469\u200d\U0001f467",
    "مرحبا \u202eevil\u202c שלום",
    "nul\0bell\x07 lone \ud800 surrogate \x85 \u2028 end",
    "x" * 10_000,
    "{{ 7 * 7 }} {% raw %} $\\frac{1}{2}$ `code` *bold* _it_ &amp; ]]>",
)
_WORDS = {
    "SOFTWARE": ("Excel", "Outlook 2019", "Teams", "the VPN client", "Acrobat Reader"),
    "OS": ("Windows 11", "Ubuntu", "macOS Sonoma"),
    "HARDWARE": ("the docking station", "my laptop", "printer on floor 3", "the second monitor"),
    "VERSION": ("22H2", "16.0.1", "build 1904"),
}
_FILLERS = ("since this morning", "after the update", "for two users", "again", "although it was restarted twice")
_VERBS = ("crashes with", "does not start on", "shows nothing on", "lost its settings on", "is slow on")


def held_out(
    number: int = 120, *, seed: int = 7, candidate: float = 0.9, incumbent: float = 0.8
) -> tuple[HeldOutText, ...]:
    """Documents whose systems err at random, with these chances of being right on a span."""
    rng = random.Random(seed)
    documents = []
    for index in range(number):
        text, gold = _ticket(rng)
        said = _said(rng, text, gold, candidate)
        reference = said if rng.random() < 0.97 else gold
        documents.append(
            HeldOutText(f"ticket-{index:03d}", text, gold, said, _said(rng, text, gold, incumbent), reference)
        )
    return tuple(documents)


def report_of(
    given: Attempt, store: Store, settings: PromotionSettings | None = None, wanted: StatusSettings | None = None
) -> AttemptReport:
    """The report, where 50 labels of a type are enough."""
    return gather.report_of(given, store, settings or PromotionSettings(), wanted or StatusSettings())


def scored(given: Attempt) -> Attempt:
    """The attempt with what is computed of its documents for the decision."""
    labels, documents = LabelSet(given.types), given.documents
    gold, new, old, fp32 = (
        [getattr(one, side) for one in documents] for side in ("gold", "candidate", "incumbent", "reference")
    )
    return replace(
        given,
        candidate_scores=score(gold, new, labels),
        incumbent_scores=None if None in old else score(gold, old, labels),
        agreement=None if None in fp32 else check_agreement(new, fp32),
    )


def attempt(documents: tuple[HeldOutText, ...] | None = None, **changes: object) -> Attempt:
    """A promotion of desk-0002 over desk-0001; fields by name."""
    documents = held_out() if documents is None else documents
    labels = LabelSet(TYPES)
    gold, new, old = ([getattr(item, side) or () for item in documents] for side in ("gold", "candidate", "incumbent"))
    comparison = compare_counts(
        count(gold, new, labels), count(gold, old, labels), permutations=1000, resamples=500, seed=13
    )
    made = Attempt(
        project="desk",
        version="desk-0002",
        incumbent="desk-0001",
        outcome=PROMOTED,
        reason="micro-F1 is higher beyond chance, and no type is shown to be worse",
        who="lead",
        at=AT,
        command="loop promote desk-0002",
        types=TYPES,
        documents=documents,
        against="desk-0001",
        comparison=comparison,
        gates=_gates(comparison),
        contract=(
            ContractCheck("label list", "SOFTWARE, OS, HARDWARE, VERSION", "SOFTWARE, OS, HARDWARE, VERSION", True),
            ContractCheck("output width", "9 tags", "9 tags", True),
            ContractCheck("tokenizer", "8c1e4ab2…", "8c1e4ab2…", True),
        ),
        look=Look(epoch=1, number=3, looks=10, alpha=0.005, total=0.05, spent=0.015, schedule="even"),
        efficiency=EFFICIENCY,
        robustness=ROBUSTNESS,
        judged_seconds=93.4,
        machine={"system": "Linux 6.1 x86_64", "processor": "8 cores, AVX2, VNNI", "memory_gb": 31.2, "threads": 4},
    )
    return replace(scored(made), **changes)  # type: ignore[arg-type]


def rejected() -> Attempt:
    """A candidate that is no better, and worse on OS."""
    documents = held_out(candidate=0.81, incumbent=0.82, seed=3)
    made = attempt(documents)
    gates = (
        made.gates[0],
        Gate("better than desk-0001", "significance", "p at most 0.005", "p = 0.43", FAIL),
        *(replace(gate, status=FAIL) if gate.entity_type == "OS" else gate for gate in made.gates[2:]),
    )
    return replace(made, outcome=REJECTED, reason="no better than chance would have it", gates=gates)


def forced() -> Attempt:
    """The same, put into service all the same."""
    return replace(rejected(), outcome=FORCED, because="the old one leaks passwords into the log")


def spent() -> Attempt:
    """An attempt at which the holdout was spent and another one drawn."""
    look = Look(epoch=1, number=10, looks=10, alpha=0.005, total=0.05, spent=0.05, schedule="even")
    return replace(rejected(), look=look, rotation=Rotated(2, 120, 131, 800, 4, 310))


def deferred() -> Attempt:
    """An attempt at which nothing was looked at."""
    return Attempt(
        project="desk",
        version="desk-0002",
        incumbent=None,
        outcome=DEFERRED,
        reason="the new holdout has no gold yet",
        who="lead",
        at=AT,
        command="loop promote desk-0002",
        types=TYPES,
    )


def refused() -> Attempt:
    """A candidate whose file is not what was trained."""
    reason = "a bundle's files are what was trained: model.onnx has another SHA-256. Train again."
    return replace(deferred(), outcome=REFUSED, incumbent="desk-0001", reason=reason)


def first() -> Attempt:
    """A first model: no incumbent, no FP32 beside it, nothing timed."""
    documents = tuple(replace(item, incumbent=None, reference=None) for item in held_out(30))
    gates = (Gate("micro: f1", "quality", "at least 0.85", "0.871", PASS),)
    return scored(
        replace(
            attempt(),
            documents=documents,
            incumbent=None,
            against=None,
            comparison=None,
            gates=gates,
            efficiency=None,
            robustness=(),
        )
    )


def hostile() -> Attempt:
    """Texts, names, reasons and types that try to get out of where they are put."""
    types = ("<b>SOFTWARE</b>", "A|B", "$x_1$", "عربي", "T" * 120)
    documents = []
    for index, text in enumerate(HOSTILE):
        gold = (Span(0, min(5, len(text)), types[index % 5]),)
        said = (Span(0, min(4, len(text)), types[(index + 1) % 5]), Span(len(text) - 3, len(text), types[0]))
        documents.append(HeldOutText(f"{index} {text[:60]}", text, gold, said, gold, gold))
    bad = "<i>because</i> | \0 \ud800 \u202e `x` \n# no heading"
    looked_at = scored(replace(first(), types=types, documents=tuple(documents)))
    return replace(
        looked_at,
        against="desk-0001",
        incumbent="desk-0001",
        reason=bad,
        because=bad,
        outcome=FORCED,
        who="<u>lead</u>|\n",
        command="loop promote <script>alert(2)</script>",
        risks=(bad,),
        gates=(Gate(bad, "quality", bad, bad, FAIL, bad),),
        machine={"<b>cpu</b>": bad},
        robustness=(Perturbed(bad, 0.5, {}, 7, 0), Perturbed("$upper$", 0.2, {types[0]: 0.1}, 7, 7)),
    )


def rolled_back(**changes: object) -> RolledBack:
    """A rollback with three affected annotations; fields by name."""
    affected = tuple(
        Affected(number, f"ticket-{number}", 100 + number, 500 + number, "7", AT, "desk-0002", unchanged, True)
        for number, unchanged in enumerate((True, False, None))
    )
    made = RolledBack("desk-0001", ("desk-0002",), "misses versions", "lead", AT, affected, True, None, None, None)
    return replace(made, **changes)  # type: ignore[arg-type]


def fill(store: Store, *, decided: bool = True) -> None:
    """The project "desk" with documents, gold of two people, two models; the older one is in service."""
    rng = random.Random(1)
    with store.transaction() as tx:
        project = create_project(tx, "desk", label_config="<View/>", labels=list(TYPES), holdout_share=0.2, salt="s")
        tickets = [_ticket(rng) for _ in range(150)]
        named = [NewDocument(text, external_id=f"d-{index}") for index, (text, _) in enumerate(tickets)]
        added = add_documents(tx, project.id, named[:110], "train").document_ids
        added += add_documents(tx, project.id, named[110:], "holdout").document_ids
        items = []
        for index, (document, (_, spans)) in enumerate(zip(added, tickets, strict=True)):
            if index % 5:
                items.append((document, _annotation(spans, "anna" if index % 3 else "ben")))
        append_annotations(tx, items)
        tx.commit()
    with store.transaction() as tx:
        run = begin_run(tx, project.id, "retrain")
        versions = []
        for _ in range(2):
            made = start_model(
                tx,
                project.id,
                run_id=run.id,
                encoder="minilm",
                seed=13,
                settings={"rank": 16, "alpha": 32, "dropout": 0.0, "passes": 20, "learning_rate": 1e-3},
                libraries={"python": "3.11.2", "torch": "2.13.0", "onnxruntime": "1.24.1"},
                data_fingerprint="0123456789abcdef" * 4,
                parent=versions[0] if versions else None,
            )
            plan = {"epochs": 32, "steps": 96, "batch_size": 16, "learning_rate": 5e-4, "loss": 0.1, "seconds": 42.0}
            figures = {"kind": "gold", "training": plan}
            finish_model(tx, made.version, files={"model.onnx": "f" * 64}, figures=figures)
            versions.append(made.version)
        save_training_items(tx, versions[0], [TrainedOn(document, None, "train", "weak") for document in added[:40]])
        tx.commit()
    if decided:
        _decide(store, project.id, versions)


def page(folder: Path) -> str:
    """The HTML of a kept report."""
    return (folder / "report.html").read_text("utf-8")


def _decide(store: Store, project_id: int, versions: list[str]) -> None:
    with store.transaction() as tx:
        rows = [TypeScore(name, 0.7, 0.8, 0.75, 40, 30, 45) for name in (*TYPES, "micro", "macro")]
        save_scores(tx, versions[0], "holdout", rows, "0")
        figures = {"candidate": {"micro": {"f1": 0.75}}}
        promote(tx, project_id, versions[0], reason="the first model", who="lead", figures=figures)
        for decision in promotions(tx.session, project_id):
            decision.at = AT - timedelta(days=3)
        tx.commit()


def _annotation(spans: tuple[Span, ...], who: str) -> NewAnnotation:
    result = [{"value": {"start": span.start, "end": span.end, "labels": [span.label]}} for span in spans]
    return NewAnnotation(source=FILE, source_id="1", result=result, spans=spans, creator=who)


def _ticket(rng: random.Random) -> tuple[str, tuple[Span, ...]]:
    first, second = rng.sample(TYPES[:3], 2)
    text, spans = "", []
    for piece, label in (
        (rng.choice(_WORDS[first]), first),
        (f" {rng.choice(_VERBS)} ", None),
        (rng.choice(_WORDS[second]), second),
        (" ", None),
        (rng.choice(_WORDS["VERSION"]), "VERSION" if rng.random() < 0.35 else None),
        (f" {rng.choice(_FILLERS)}, ticket {rng.randrange(10**5)}.", None),
    ):
        if label is not None:
            spans.append(Span(len(text), len(text) + len(piece), label))
        text += piece
    return text, tuple(spans)


def _said(rng: random.Random, text: str, gold: tuple[Span, ...], right: float) -> tuple[Span, ...]:
    said = []
    for span in gold:
        if rng.random() < right:
            said.append(span)
            continue
        error = rng.choice(("type", "bounds", "missed", "spurious"))
        if error == "type":
            said.append(replace(span, label=rng.choice([name for name in TYPES if name != span.label])))
        elif error == "bounds":
            said.append(replace(span, end=max(span.start + 1, span.end - rng.randint(2, 4))))
        elif error == "spurious":
            said.append(Span(len(text) - 6, len(text) - 1, "VERSION"))
    kept = {(span.start, span.end): span for span in said}
    return tuple(sorted(kept.values()))


def _gates(comparison: object) -> tuple[Gate, ...]:
    from loop.evaluation.significance import Comparison

    assert isinstance(comparison, Comparison)
    micro = comparison.micro
    better = Gate("better than desk-0001", "significance", "p at most 0.005", f"p = {micro.p_value:.4f}", PASS)
    absolute = (
        Gate("micro: f1", "quality", "at least 0.850", f"{micro.new_f1:.3f}", PASS if micro.new_f1 > 0.85 else FAIL),
        Gate("latency", "cost", "at most 100 ms", "11.8 ms", PASS),
        Gate("throughput", "cost", "at least 100 documents/s", "142 documents/s", PASS),
    )
    return (
        Gate("the file is what it says", "file", "3 checks", "3 hold", PASS),
        better,
        *type_gates(comparison.per_type, 0.03),
        *absolute,
    )


EFFICIENCY = Efficiency(
    speeds=(
        Speed("torch FP32", 31.4, 38.2, 71.0, None, 100, 4),
        Speed("ONNX FP32", 19.6, 22.9, 96.5, 90.4, 100, 4),
        Speed("ONNX INT8", 11.8, 13.1, 142.3, 22.9, 100, 4),
    ),
    memory_mb=182.5,
    bundle_mb=24.1,
    trainable_parameters=593_673,
    total_parameters=23_158_281,
)
ROBUSTNESS = (
    Perturbed("as it is", 0.889, dict.fromkeys(TYPES, 0.88), 120, 0),
    Perturbed("lower case", 0.804, {"SOFTWARE": 0.79, "OS": 0.71, "HARDWARE": 0.88, "VERSION": 0.8}, 120, 118),
    Perturbed("upper case", 0.612, {"SOFTWARE": 0.55, "OS": 0.6, "HARDWARE": 0.7, "VERSION": 0.58}, 120, 120),
    Perturbed("typos", 0.741, {"SOFTWARE": 0.7, "OS": 0.74, "HARDWARE": 0.79, "VERSION": 0.7}, 120, 120),
    Perturbed("white space", 0.861, dict.fromkeys(TYPES, 0.86), 120, 117),
    Perturbed("punctuation", 0.872, dict.fromkeys(TYPES, 0.87), 120, 96),
)
