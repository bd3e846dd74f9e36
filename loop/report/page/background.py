"""What a decision stands on: data, efficiency, robustness, ledger; at the end models, settings, hashes and commands."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator
from dataclasses import astuple

from loop.files.doubts import doubts_sentence
from loop.judging.measured import Efficiency
from loop.promotion.attempt import FAIL, FORCED, PASS, PROMOTED, Look
from loop.report import facts
from loop.report.next_steps import has_common_minimum, recommended, unseen_changes, unseen_text
from loop.report.page import blocks
from loop.wording import (
    NOTHING,
    chance,
    duration,
    interval,
    moment,
    number_of,
    points,
    quantity,
    score,
    share,
    value,
    whole,
)
from store.holdout import Rotated

_SHOWN_HASH = 16
_SHOWN_TYPES = 8
_ROLL_BACK = 'loop rollback --reason "..."'


def sections(report: facts.AttemptReport) -> tuple[blocks.Section, ...]:
    """In the order in which they are read."""
    return (
        blocks.Section("data", "Data", tuple(_data(report))),
        blocks.Section("efficiency", "Efficiency", tuple(_efficiency(report))),
        blocks.Section("robustness", "Robustness", tuple(_robustness(report))),
        blocks.Section("ledger", "Ledger", tuple(_ledger(report.ledger))),
        blocks.Section("lineage", "Models, settings and machine", tuple(_lineage(report))),
        blocks.Section("undo", "To undo, repeat or check this", tuple(_commands(report))),
    )


def forced_table(forced: tuple[facts.ForcedPromotion, ...]) -> blocks.Block:
    """Every promotion by force so far."""
    rows = tuple((one.version, moment(one.at), one.who, one.reason) for one in forced)
    if not rows:
        return blocks.Words("No model of this project was ever promoted by force.")
    columns = ("version", "when", "by", "because")
    return blocks.Table("Promotions by force so far", columns, rows, words=frozenset({1, 2, 3}))


def _data(report: facts.AttemptReport) -> Iterator[blocks.Block]:
    found = report.data
    yield blocks.Table(
        "Texts, tokens and entities per split",
        ("split", "texts", "tokens", "with gold", "their tokens", "entities"),
        tuple((name, *map(whole, counts)) for name, *counts in map(astuple, found.splits)),
        note=f"A token is {found.token}.",
    )
    yield _type_counts(found)
    gold, weak = found.trained.gold, found.trained.weak
    yield blocks.Table(
        f"What {report.version} was trained on",
        ("labels", "to train on", "held back", "entities"),
        (
            ("gold", whole(gold.train), whole(gold.dev), whole(found.trained.entities)),
            ("weak", whole(weak.train), whole(weak.dev), NOTHING),
        ),
        note=_ancestors(found.trained),
    )
    if found.trained.muted:
        yield _muted(found.trained.muted)
    if found.annotators:
        people, note = blocks.some(found.annotators, "annotators")
        rows = tuple((who or "not named", *map(whole, counts)) for who, *counts in map(astuple, people))
        columns = ("annotator", "annotations", "gold texts", "gold entities")
        yield blocks.Table("Who annotated how much", columns, rows, note=note)
    troubles = tuple(_troubles(found))
    if troubles:
        yield blocks.Items("What else is known of the data", troubles)


def _muted(muted: tuple[facts.MutedSource, ...]) -> blocks.Table:
    shown, note = blocks.some(muted, "sources")
    rule = "F1 of the majority vote on labelled documents with the votes of the source, and without them."
    return blocks.Table(
        "Sources of weak labels that are muted: their votes did not count",
        ("source", "F1 with", "F1 without", "gain", "95 % interval", "documents", "right votes", "p", "muted"),
        tuple(map(_muted_row, shown)),
        words=frozenset({8}),
        note=f"{rule} {note}".strip(),
    )


def _muted_row(one: facts.MutedSource) -> tuple[blocks.Cell, ...]:
    found = one.evidence
    by = "this training" if one.by_training else "an earlier training" if found else one.by
    muted = f"by {by}, {moment(one.since)}"
    if found is None:
        return (one.source, *(NOTHING,) * 7, muted)
    return (
        one.source,
        score(found.with_f1),
        score(found.without_f1),
        points(found.without_f1 - found.with_f1),
        interval(found.low, found.high),
        whole(found.documents),
        f"{whole(found.right)} of {whole(found.votes)}",
        chance(found.p_value),
        muted,
    )


def _type_counts(found: facts.ProjectData) -> blocks.Table:
    shown, note = blocks.some(found.types, "types")
    common = f"; the minimum is {whole(found.minimum)} to learn from, {recommended(found)}"
    return blocks.Table(
        f"Entities per type{common if has_common_minimum(found.types) else ''}",
        ("type", "to learn from", "this model saw", "in the holdout", "status", "missing"),
        tuple(_type_row(one) for one in shown),
        words=frozenset({4}),
        note=note,
    )


def _type_row(one: facts.TypeCounts) -> tuple[blocks.Cell, ...]:
    status, missing = "enough", ""
    if one.short_of_recommended:
        status = "short of minimum" if one.short_of_minimum else "below recommended"
        aim = one.minimum if one.short_of_minimum else one.recommended
        missing = whole(one.short_of_minimum or one.short_of_recommended) + ("" if aim is None else f" of {whole(aim)}")
    return one.name, whole(one.labels), whole(one.trained), whole(one.holdout), blocks.GateStatus(status), missing


def _ancestors(trained: facts.TrainedTexts) -> str:
    before = "; ".join(f"{one.version} on {one.gold:,} gold and {one.weak:,} weak texts" for one in trained.lineage)
    votes = f"Labelling functions cast {trained.weak_votes:,} votes on the weak texts." if trained.weak_votes else ""
    told = f"It goes on from models that were trained on these texts: {before}." if before else ""
    choice = f"It {trained.weak_choice}." if trained.weak_choice else ""
    return " ".join(filter(None, (choice, votes, told)))


def _troubles(found: facts.ProjectData) -> Iterator[str]:
    if found.disagreements:
        yield f"Annotators disagree on {number_of(found.disagreements, 'text')}."
    if found.duplicates:
        yield f"Not learned from, because also in the holdout: {number_of(found.duplicates, 'labelled text')}."
    if found.doubts:
        yield doubts_sentence(found.doubts, [one.name for one in found.types])
    if found.skipped:
        yield f"{number_of(found.skipped, 'skip')}."
    if found.open:
        yield f"{number_of(found.open, 'text')} still to be labelled."
    for reason, count in found.set_aside.items():
        yield f"Set aside, {number_of(count, 'time')}: {reason}."


def _efficiency(report: facts.AttemptReport) -> Iterator[blocks.Block]:
    found = report.efficiency
    if found is None:
        yield blocks.Words("Nothing was timed.")
    else:
        yield _speeds(found)
        yield blocks.Facts("What it takes", tuple(_takes(found)))
        if found.reference_error:
            yield blocks.Words(f"FP32 was not run: {found.reference_error}")
    if report.quantisation:
        yield _losses(report.quantisation, report.agreement)
    else:
        yield blocks.Words("What the served file costs in F1 was not measured: FP32 was not run on the holdout.")


def _speeds(found: Efficiency) -> blocks.Table:
    rows = tuple(
        (
            one.runtime,
            quantity(one.latency_ms, "ms"),
            quantity(one.latency_p95_ms, "ms"),
            quantity(one.documents_per_second),
            quantity(one.size_mb, "MB"),
        )
        for one in found.speeds
    )
    texts, threads = (found.speeds[0].texts, found.speeds[0].threads) if found.speeds else (0, 0)
    note = f"Over {number_of(texts, 'text')}, with {number_of(threads, 'thread')}, on this machine."
    columns = ("runtime", "median of one text", "95th percentile", "texts/s in calls of 8", "file")
    return blocks.Table("Latency, throughput and size", columns, rows, note=note)


def _takes(found: Efficiency) -> Iterator[tuple[str, str]]:
    trainable, total = found.trainable_parameters, found.total_parameters
    part = f" ({100 * trainable / total:.2g} %)" if trainable and total else ""
    yield "trainable parameters", f"{whole(trainable)}{part}"
    yield "parameters in all", whole(total)
    yield "model folder", quantity(found.bundle_mb, "MB")
    yield "memory of a process that serves it", quantity(found.memory_mb, "MB")


def _losses(losses: tuple[facts.QuantisationLoss, ...], same: facts.SameSpans | None) -> blocks.Table:
    shown, note = blocks.some(losses, "types")
    rows = tuple(
        (one.name, whole(one.support), score(one.reference_f1), score(one.served_f1), points(-one.loss))
        for one in shown
    )
    agreed = f"Both give the same spans on {same.same:,} of {same.documents:,} texts." if same else ""
    columns = ("type", "support", "FP32", "as served", "change in points")
    caption = "What the served file costs against FP32, in F1"
    return blocks.Table(caption, columns, rows, strong=frozenset({0}), note=f"{agreed} {note}".strip())


def _robustness(report: facts.AttemptReport) -> Iterator[blocks.Block]:
    rows = report.robustness
    if not rows:
        yield blocks.Words("Robustness was not measured.")
        return
    types, note = blocks.some([row.name for row in report.results.types], "types", _SHOWN_TYPES)
    table: tuple[tuple[blocks.Cell, ...], ...] = tuple(
        (
            row.name,
            blocks.Shaded(score(row.micro_f1), row.micro_f1, "bar"),
            "" if row is rows[0] else points(row.micro_f1 - rows[0].micro_f1),
            *(score(row.per_type.get(name)) for name in types),
            whole(row.changed),
        )
        for row in rows
    )
    unseen = unseen_changes(rows)
    yield blocks.Table(
        f"F1 on {number_of(rows[0].documents, 'held-out text')} as they are, and after each perturbation",
        ("texts", "micro-F1", "change", *types, "changed"),
        table,
        note=f"{unseen_text(unseen) if unseen else ''} {note}".strip(),
    )


def _ledger(found: facts.Ledger) -> Iterator[blocks.Block]:
    if found.look:
        yield blocks.Facts("This look", tuple(_look(found, found.look)))
    else:
        yield blocks.Words("No look was spent: nothing of the holdout was seen.")
    if found.rotation:
        yield blocks.Facts("The holdout was spent and replaced", tuple(_rotation(found.rotation)))
    if found.spent:
        looks = tuple(
            (str(one.number), one.version, one.purpose, chance(one.alpha), moment(one.at)) for one in found.spent
        )
        columns = ("look", "version", "purpose", "alpha", "when")
        yield blocks.Table("Every look at this holdout so far", columns, looks, words=frozenset({1, 2, 4}))
    yield forced_table(found.forced)


def _look(found: facts.Ledger, look: Look) -> Iterator[tuple[str, str]]:
    yield "holdout", str(look.epoch)
    yield "look", f"{look.number} of {look.looks}, {look.schedule} spending"
    yield "alpha of this look", chance(look.alpha)
    yield "alpha spent", f"{chance(look.spent)} of {chance(look.total)} ({share(look.spent / look.total)})"
    yield "alpha left", f"{chance(found.alpha_left)}, over {number_of(found.looks_left or 0, 'look')}"


def _rotation(found: Rotated) -> Iterator[tuple[str, str]]:
    yield "new holdout", str(found.epoch)
    yield "retired into training", number_of(found.retired, "document")
    yield "drawn", f"{number_of(found.drawn, 'document')} of {whole(found.eligible)} that could be drawn"
    yield "carried over", f"{number_of(found.carried, 'document')} that had judged nothing"
    yield "barred", f"{number_of(found.barred, 'document')}: labelled or trained on before, or of a group with such"


def _lineage(report: facts.AttemptReport) -> Iterator[blocks.Block]:
    found = report.metadata
    if found.candidate:
        both = [one for one in (found.candidate, found.incumbent) if one]
        names = ("", *(one.version for one in both), "no incumbent")[:3]
        for caption, told in (("Where the models come from", _origin), ("Libraries and files", _files)):
            sides = [*map(told, both), {}][:2]
            rows = tuple((name, *(side.get(name, NOTHING) for side in sides)) for name in {**sides[0], **sides[1]})
            yield blocks.Table(caption, names, rows, words=frozenset({1, 2}))
        if found.candidate.training:
            yield blocks.Facts("The training of the candidate", _named(found.candidate.training.items()))
        if found.candidate.settings:
            caption = "Training settings of the candidate; the epochs and the batch follow the data, too"
            yield blocks.Facts(caption, _named(found.candidate.settings.items()))
    if report.contract:
        checks = tuple(
            (one.name, one.expected, one.found, blocks.GateStatus(PASS if one.holds else FAIL))
            for one in report.contract
        )
        columns = ("check", "expected", "found", "status")
        yield blocks.Table("What the file has to be before it is judged", columns, checks, words=frozenset({1, 2, 3}))
    machine = _named(found.machine.items())
    yield blocks.Facts("The machine that judged", (("judging took", duration(found.judged_seconds)), *machine))


def _named(items: Iterable[tuple[str, object]]) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", " "), value(one)) for name, one in items)


def _origin(one: facts.Origin) -> dict[str, str]:
    return {
        "encoder": one.encoder,
        "goes on from": one.parent or "the base encoder",
        "learned from": value(one.kind),
        "seed": value(one.seed),
        "served as": one.exports[-1].precision if one.exports else NOTHING,
        **{f"LoRA {name}": value(setting) for name, setting in one.adapter.items()},
        "trained": moment(one.trained_at),
        "training took": duration(one.training_seconds),
    }


def _files(one: facts.Origin) -> dict[str, str]:
    hashes = {f"{name}, SHA-256": _hash(digest) for name, digest in one.files.items()}
    return {"data fingerprint": _hash(one.data_fingerprint), **one.libraries, **hashes}


def _hash(written: str | None) -> str:
    text = value(written)
    return text if len(text) <= _SHOWN_HASH else f"{text[:_SHOWN_HASH]}…"


def _commands(report: facts.AttemptReport) -> Iterator[blocks.Block]:
    recorded = [("outcome", report.outcome), ("reason", report.reason), ("by", report.who), ("at", moment(report.at))]
    recorded += [("forced because", report.because)] if report.because else []
    yield blocks.Facts("The decision as it is recorded", tuple(recorded))
    yield from _undo(report)
    yield blocks.Command("The command that was given:", report.metadata.command)
    again = report.metadata.retraining
    if again:
        while_serving = f", while {again.parent} is in service" if again.parent else ""
        yield blocks.Command(f"This trains the candidate again, as another version{while_serving}:", again.command)
        settings = f"With {again.settings} in loop.toml" if again.settings else "With the default settings"
        yield blocks.Words(f"{settings}, on data of the fingerprint {_hash(again.data_fingerprint)}.")
    if report.results.documents:
        policy = f" --policy {report.ruling.policy}" if report.ruling else ""
        yield blocks.Command(
            "The comparison can be repeated on files of what both systems say, and of the gold. Any program can make "
            "these files:",
            f"loop compare A.jsonl B.jsonl --gold GOLD.jsonl{policy}",
        )
    yield blocks.Command(
        "The store keeps the decision with its figures in the table promotions, and every look in holdout_looks. This "
        "shows the decision:",
        f"loop report --history {shlex.quote(report.version)}",
    )


def _undo(report: facts.AttemptReport) -> Iterator[blocks.Block]:
    before, back = report.incumbent, report.ruling.put_back if report.ruling else None
    if back:
        yield blocks.Command(f"{back} was put back in place of {before}. This undoes that:", _ROLL_BACK)
    elif report.outcome not in (PROMOTED, FORCED):
        yield blocks.Words(f"There is nothing to undo: {f'{before} stays' if before else 'no model is'} in service.")
    elif before is None:
        yield blocks.Words("No version served before this one, so there is no version to go back to.")
    else:
        yield blocks.Command(f"{before} served before. This puts it back:", _ROLL_BACK)
