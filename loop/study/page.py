"""The report of a study, in the design of the report of a promotion: the result first, then what it stands on."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from loop.console import plain
from loop.evaluation.errors import Confusion
from loop.report import facts
from loop.report.files import HTML, JSON, MARKDOWN
from loop.report.page import blocks
from loop.report.page.errors import matrix_of
from loop.report.page.figures import TimedF1, forest, scatter
from loop.report.page.html import render_html
from loop.report.page.markdown import render_markdown
from loop.report.scoring import COSTLIEST
from loop.settings.whole_files import whole_folder, write_whole
from loop.study.results import StudiedVariant, Study, VariantRun
from loop.study.told import headline, millions, sentences, served_speed
from loop.wording import (
    NOTHING,
    documents_of,
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

_MOST_BARS = 4  # beside each other on a page


def write_report(study: Study, folder: Path) -> None:
    """Write report.html in one file, report.md for a terminal, and report.json with every figure.

    The folder is there whole or not at all. Raises InputError where the folder is taken.
    """
    page = page_of(study)
    with whole_folder(folder) as draft:
        write_whole(draft / JSON, json.dumps(plain(study), ensure_ascii=False, allow_nan=False, indent=1) + "\n")
        write_whole(draft / HTML, render_html(page))
        write_whole(draft / MARKDOWN, render_markdown(page))


def page_of(study: Study) -> blocks.Page:
    """The whole page."""
    best = study.best
    told = list(sentences(study))
    failed = [one for one in study.variants if one.error]
    result = headline(study, best) if best else "nothing could be trained"
    return blocks.Page(
        title=f"{study.data.data}: {result}",
        over=f"study of variants · {moment(study.at)}",
        headline=result,
        tone="open",
        sentences=tuple(told[: len(told) - len(failed)]),
        notices=tuple(told[len(told) - len(failed) :]),
        tiles=tuple(_tiles(study)),
        sections=(
            blocks.Section("variants", "Variants", tuple(_variants(study))),
            blocks.Section("types", "Entity types", tuple(_types(study))),
            blocks.Section("costs", "Size and speed", tuple(_costs(study))),
            blocks.Section("int8", "What INT8 costs", (_int8(study),)),
            blocks.Section("errors", "Errors", tuple(_errors(study))),
            blocks.Section("robustness", "Robustness", tuple(_robustness(study))),
            blocks.Section("data", "Data", tuple(_data(study))),
            blocks.Section("training", "Trainings, limits and machine", tuple(_training(study))),
        ),
        foot="report.json holds every figure.",
    )


def _tiles(study: Study) -> Iterator[blocks.Tile]:
    for one in study.measured[:6]:
        found = one.differences[0] if one.differences else None
        note = (
            f"{interval(found.low, found.high)} against {study.against}" if found else "what others are compared with"
        )
        yield blocks.Tile(study.name_of(one), score(one.micro.f1), note)


def _variants(study: Study) -> Iterator[blocks.Block]:
    data = study.data
    where = documents_of(data.groups, data.dev_texts, "document")
    rows = tuple((study.name_of(one), *_row(one)) for one in study.measured)
    yield blocks.Table(
        f"Strict precision, recall and F1 as served, on {where}, and what it takes",
        ("variant", "F1", "P", "R", "points", "interval", "trained", "INT8 file", "one text"),
        rows,
        strong=frozenset(place for place, one in enumerate(study.measured) if one is study.best),
        groups=(("", 1), ("as served", 3), (f"against {study.against}", 2), ("", 3)),
        note=_seeds_note(study),
    )
    differences = forest(_results(study))
    if differences:
        yield blocks.Picture(
            differences,
            f"Differences in F1 points to {study.against}, with their 95 % intervals: the paired bootstrap over "
            "documents. An interval that crosses the line shows no difference.",
        )
    timed = scatter(list(_timed(study)))
    if timed:
        yield blocks.Picture(
            timed,
            "Micro-F1 against the median time of one text, in each runtime: the best place is at the top left. "
            "The time is a logarithmic axis.",
        )


def _timed(study: Study) -> Iterator[TimedF1]:
    """Of the first seed; only the last runtime is the file that serves."""
    for one in study.measured:
        for speed in one.speeds:
            f1 = one.runs[0].f1 if speed is one.speeds[-1] else one.runs[0].fp32_f1
            yield TimedF1(study.name_of(one), speed.runtime, f1, speed.latency_ms)


def _row(one: StudiedVariant) -> Iterator[blocks.Cell]:
    found, speed = one.differences[0] if one.differences else None, served_speed(one)
    yield from map(score, (one.micro.f1, one.micro.precision, one.micro.recall))
    yield points(found.delta) if found else NOTHING
    yield interval(found.low, found.high) if found else NOTHING
    yield millions(one.costs.trainable) if one.costs else NOTHING
    yield quantity(one.costs.int8_mb, "MB") if one.costs else NOTHING
    yield quantity(speed.latency_ms, "ms") if speed else NOTHING


def _seeds_note(study: Study) -> str:
    if len(study.seeds) == 1:
        return f"One training each, from seed {study.seeds[0]}. Another seed gives another F1."
    spread = "; ".join(f"{study.name_of(one)} {', '.join(score(run.f1) for run in one.runs)}" for one in study.measured)
    return f"Over {len(study.seeds)} seeds together ({value(study.seeds)}). Micro-F1 of each: {spread}."


def _results(study: Study) -> facts.Results:
    """The differences as rows of a plot."""
    rows = [
        facts.ResultRow(
            name=study.name_of(one),
            support=one.differences[0].support,
            candidate=one.micro,
            incumbent=None,
            delta=one.differences[0].delta,
            low=one.differences[0].low,
            high=one.differences[0].high,
            lower=None,
            standard_error=one.differences[0].standard_error,
            status=None,
        )
        for one in study.measured
        if one.differences
    ]
    return facts.Results(study.data.dev_texts, study.data.groups, 0, study.against, tuple(rows), 0.0)


def _types(study: Study) -> Iterator[blocks.Block]:
    names = tuple(study.name_of(one) for one in study.measured)
    shown, note = blocks.some(study.data.types, "types")
    rows = [_type_row(study, one.name, whole(one.train), whole(one.dev)) for one in shown]
    rows += [_type_row(study, name, "", "") for name in (facts.MICRO, facts.MACRO)]
    yield blocks.Table(
        "F1 per type as served",
        ("type", "learned from", "judged by", *names),
        tuple(rows),
        strong=frozenset({len(shown), len(shown) + 1}),
        note=note,
    )
    yield blocks.Table(
        "Precision and recall per type as served",
        ("type", *(column for _ in names for column in ("P", "R"))),
        tuple((kind.name, *(cell for one in study.measured for cell in _pr(one, kind.name))) for kind in shown),
        groups=(("", 1), *((name, 2) for name in names)),
    )


def _type_row(study: Study, name: str, train: str, dev: str) -> tuple[blocks.Cell, ...]:
    f1s = [one.of(name).f1 for one in study.measured]
    bars = len(f1s) <= _MOST_BARS
    return (name, train, dev, *(blocks.Shaded(score(f1), f1, "bar") if bars else score(f1) for f1 in f1s))


def _pr(one: StudiedVariant, name: str) -> tuple[str, str]:
    found = one.of(name)
    return score(found.precision), score(found.recall)


def _costs(study: Study) -> Iterator[blocks.Block]:
    rows = tuple(
        (
            study.name_of(one),
            whole(one.costs.layers),
            whole(one.costs.trainable),
            share(one.costs.trainable / one.costs.parameters) if one.costs.parameters else NOTHING,
            whole(one.costs.parameters),
            quantity(one.costs.adapter_mb, "MB"),
            quantity(one.costs.fp32_mb, "MB"),
            quantity(one.costs.int8_mb, "MB"),
        )
        for one in study.measured
        if one.costs
    )
    yield blocks.Table(
        "Parameters and files",
        ("variant", "layers", "trained", "share", "parameters", "adapter", "FP32", "INT8"),
        rows,
        note="Parameters are those of the model that serves, in which an adapter is merged.",
    )
    timed = [(one, speed) for one in study.measured for speed in one.speeds]
    if not timed:
        return
    texts, threads = timed[0][1].texts, timed[0][1].threads
    yield blocks.Table(
        "Latency and throughput, from text to spans",
        ("variant", "runtime", "median of one text", "95th percentile", "texts/s in calls of 8"),
        tuple(
            (
                study.name_of(one),
                speed.runtime,
                quantity(speed.latency_ms, "ms"),
                quantity(speed.latency_p95_ms, "ms"),
                quantity(speed.documents_per_second),
            )
            for one, speed in timed
        ),
        words=frozenset({1}),
        note=f"Over {number_of(texts, 'text')}, {number_of(threads, 'thread')}. The variants of an encoder take turns.",
    )


def _int8(study: Study) -> blocks.Table:
    rows = tuple(
        (
            study.name_of(one),
            one.runs[0].precision,
            *(score(f1) for f1 in (loss.reference_f1, loss.served_f1)),
            points(-loss.loss),
        )
        for one in study.measured
        for loss in one.quantisation[:1]
    )
    columns = ("variant", "served as", "FP32", "as served", "change in points")
    return blocks.Table("Micro-F1 of the FP32 file and of the file that serves", columns, rows, words=frozenset({1}))


def _errors(study: Study) -> Iterator[blocks.Block]:
    found = [(study.name_of(one), one.errors) for one in study.measured if one.errors is not None]
    yield blocks.Table(
        f"What became of the entities, from seed {study.seeds[0]}",
        ("variant", "right", "wrong bounds", "wrong type", "missed", "spurious"),
        tuple((name, *map(whole, _kinds(errors))) for name, errors in found),
        note="Right, wrong bounds, wrong type and missed add up to the gold.",
    )
    yield _confusions(found)
    for place, (name, errors) in enumerate(found):
        matrix = matrix_of(errors.matrix)
        if isinstance(matrix, blocks.Table):  # the note explains the first one
            note = "" if place else matrix.note
            matrix = replace(matrix, caption=f"Confusion matrix of types: {name}", note=note)
        yield matrix


def _confusions(found: Sequence[tuple[str, facts.ErrorFacts]]) -> blocks.Table:
    """The confusions that cost any variant most, side by side."""
    counts = [{(one.kind, one.gold, one.predicted): one for one in errors.costliest} for _, errors in found]
    costs: dict[tuple[str, str | None, str | None], float] = {}
    for confusions in counts:
        for key, one in confusions.items():
            costs[key] = max(one.cost, costs.get(key, 0.0))
    shown = sorted(costs, key=lambda key: -costs[key])[:COSTLIEST]
    rows = tuple(
        (kind, gold or NOTHING, predicted or NOTHING, *(cell for one in counts for cell in _cost(one.get(key))))
        for key in shown
        for kind, gold, predicted in [key]
    )
    return blocks.Table(
        "The confusions that cost most",
        ("error", "gold", "found", *(column for _ in found for column in ("times", "points"))),
        rows,
        words=frozenset({1, 2}),
        groups=(("", 3), *((name, 2) for name, _ in found)),
        note="Points of micro-F1 that a variant would gain if these errors, and nothing else, were right. "
        f"{NOTHING}: not among the {COSTLIEST} that cost it most.",
    )


def _cost(one: Confusion | None) -> tuple[str, str]:
    return (whole(one.count), points(one.cost)) if one else (NOTHING, NOTHING)


def _kinds(errors: facts.ErrorFacts) -> tuple[int, ...]:
    rows = [(one.right, one.boundary, one.mistyped, one.missed, one.spurious) for one in errors.per_type]
    return tuple(map(sum, zip(*rows, strict=True)))


def _robustness(study: Study) -> Iterator[blocks.Block]:
    measured = [one for one in study.measured if one.robustness]
    if not measured:
        yield blocks.Words("Robustness was not measured.")
        return
    names = tuple(study.name_of(one) for one in measured)
    first = measured[0].robustness
    rows = tuple(
        (row.name, *(cell for one in measured for cell in _perturbed(one, place)), whole(row.changed))
        for place, row in enumerate(first)
    )
    yield blocks.Table(
        f"F1 on {number_of(first[0].documents, 'text')} as they are, and after each perturbation",
        ("texts", *(column for _ in names for column in ("F1", "change")), "changed"),
        rows,
        groups=(("", 1), *((name, 2) for name in names), ("", 1)),
    )


def _perturbed(one: StudiedVariant, place: int) -> tuple[str, str]:
    row, as_it_is = one.robustness[place], one.robustness[0]
    return score(row.micro_f1), points(row.micro_f1 - as_it_is.micro_f1) if place else ""


def _data(study: Study) -> Iterator[blocks.Block]:
    found = study.data
    judged = found.dev or f"{found.data}, a share that was held back by groups"
    yield blocks.Table(
        "Texts and entities",
        ("", "file", "texts", "entities"),
        (
            ("learned from", found.data, whole(found.train_texts), whole(sum(one.train for one in found.types))),
            *([("read by students", found.data, whole(found.unlabelled), NOTHING)] if found.unlabelled else []),
            ("judged by", judged, whole(found.dev_texts), whole(sum(one.dev for one in found.types))),
        ),
        words=frozenset({1}),
    )
    if found.said:
        yield blocks.Items("What else is known of the data", found.said)


def _training(study: Study) -> Iterator[blocks.Block]:
    rows = tuple((study.name_of(one), *_run(run)) for one in study.measured for run in one.runs)
    yield blocks.Table(
        "Every training",
        ("variant", "seed", "F1", "epochs", "steps", "a step", "rate", "head", "loss", "took", "teacher"),
        rows,
        words=frozenset({10}),
        note="A step: its windows. Head: the rate of the classifier, where it has one of its own.",
    )
    notices = [f"{study.name_of(one)}: {note}" for one in study.measured for note in one.notices]
    if notices:
        yield blocks.Items("What was noticed", tuple(notices))
    yield blocks.Items("Limits of these figures", tuple(_limits(study)))
    yield blocks.Facts("Settings that all variants share", _named(study.settings))
    yield blocks.Facts("The machine", (*_named(study.machine), ("all of it took", duration(study.seconds))))
    yield blocks.Command("The command that was given:", study.command)


def _run(run: VariantRun) -> tuple[str, ...]:
    return (
        str(run.seed),
        score(run.f1),
        whole(run.epochs),
        whole(run.steps),
        whole(run.batch_size),
        f"{run.learning_rate:g}",
        NOTHING if run.head_learning_rate is None else f"{run.head_learning_rate:g}",
        f"{run.loss:.3f}",
        duration(run.seconds),
        run.teacher or "",
    )


def _limits(study: Study) -> Iterator[str]:
    if any(run.teacher for one in study.measured for run in one.runs):
        yield "A student's teacher is the variant with the highest F1 on the texts that also judge the student."
    if len(study.seeds) == 1:
        yield "With one seed, an interval tells of other texts, and not of other trainings: give --seed again."
    small = [one.name for one in study.data.types if one.dev < 20]
    if small:
        yield f"Fewer than 20 entities to judge by: {value(small)}."


def _named(items: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    return tuple((name.replace("_", " "), value(one)) for name, one in items.items())
