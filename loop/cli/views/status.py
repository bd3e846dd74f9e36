"""A project's status for people: one short screen of at most 80 columns."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime

from rich.console import RenderableType
from rich.markup import escape
from rich.table import Table

from loop.console import bar, facts, styled, table
from loop.files.doubts import doubts_lines
from loop.promotion.power import HoldoutPower
from loop.quality.prelabels import PrelabelCounts, Prelabels
from loop.report.history import DECISIONS
from loop.service.status import DecisionStatus, LabelStatus, ProjectStatus
from loop.settings.model import LOCAL
from loop.wording import number_of, points
from store.registry import PROMOTED, RETIRED, TRAINING, TypeScore

# The other states are words that people use too: candidate, rejected, failed, interrupted.
_STATES = {PROMOTED: "in service", RETIRED: "was in service", TRAINING: "in training"}
_PRELABELLED = 5


def view(status: ProjectStatus, now: datetime | None = None) -> Iterator[RenderableType]:
    """What to print, from the top down. Ages are counted from `now`, an aware time."""
    now = now or datetime.now(UTC)
    yield styled(f"[bold]{escape(status.project)}[/]  {escape(status.label_studio or 'not in Label Studio')}")
    yield facts(_facts(status, now))
    yield ""
    yield _types(status)
    yield from _shortages(status.labels)
    yield from _troubles(status, now)
    if status.latest:
        yield ""
        yield _models(status, now)
    yield from _prelabels(status.prelabels)


def _facts(status: ProjectStatus, now: datetime) -> Iterator[tuple[str, str]]:
    counts = status.counts
    splits = _listed(counts.documents)
    documents = f"{sum(counts.documents.values()):,} ({splits})" if splits else "none yet: `loop import` or `loop pull`"
    yield "model in service", _model(status, now)
    if status.votes:
        yield "pre-labels", f"of the agreed votes of the sources of weak labels ({status.votes})"
    yield "engine", _engine(status.engine)
    yield "models", _listed(_named(status.models)) or "none trained yet"
    yield "documents", documents
    yield "labelled", f"{counts.gold:,} to learn from, {counts.holdout_gold:,} in the holdout"
    yield f"holdout {status.holdout.epoch}", _holdout(status.holdout)
    yield "open tasks", f"{counts.open:,}"
    yield "last pull", _age(status.last_pull, now)
    yield "last promotion", _decision(status.last_promotion, now)
    if status.last_decision is not None and status.last_decision != status.last_promotion:
        yield "last decision", _decision(status.last_decision, now)
    for run in status.running:
        yield "running", f"{run.kind}, begun {_age(run.started_at, now)}"


def _engine(engine: str) -> str:
    """Who computes the answers to `/predict`, as the settings of this place say."""
    if engine == LOCAL:
        return "local: the ML backend runs the model's file"
    return f"{escape(engine)}; where this server fails, the ML backend runs the model's file"


def _holdout(power: HoldoutPower) -> str:
    """What the holdout asks of a candidate, how many looks are spent, and what the next annotations would bring."""
    gold = f"{power.documents:,} labelled texts, {power.entities:,} entities"
    left = f"{power.spent} of {power.looks} looks spent"
    if power.detectable is None:
        return f"{gold}; {left}; what the holdout asks of a candidate is known once a model was scored on it"
    return f"{gold}; {left}; {_asked(power)}; {_grown(power)}"


def _asked(power: HoldoutPower) -> str:
    if power.needed is None:
        return f"a true difference of {100 * (power.detectable or 0):.1f} F1 points is found in 4 cases of 5"
    if not power.needed:
        return "a candidate serves unless its F1 is lower"
    return f"a candidate serves from {points(power.needed)} F1 points on"


def _grown(power: HoldoutPower) -> str:
    """What the next annotations bring, in annotations and hours."""
    grown = power.growth
    if grown is None:
        return "no text of the holdout is open" if not power.open else "too few open texts to tell more"
    before, after = (power.needed, grown.needed) if power.needed is not None else (power.detectable, grown.detectable)
    if not before and not power.alpha:
        return "no look is left for a claim of proof: `loop renew-holdout` draws another holdout"
    if not before:
        before, after = power.detectable, grown.detectable
        told = f"make a claim of proof possible from {_points(after)} points on, {_points(before)} now"
    else:
        told = f"lower this to {_points(after)}"
    hours = "" if grown.seconds is None else f", about {_hours(grown.seconds)}"
    return f"the next {grown.annotations:,} annotations ({grown.held_out:,} held out{hours}) {told}"


def _points(share: float | None) -> str:
    return f"{100 * (share or 0):.1f}"


def _hours(seconds: float) -> str:
    """Working time: minutes below an hour and a half."""
    return f"{max(1, round(seconds / 60))} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"


def _types(status: ProjectStatus) -> Table:
    """One row for each type: its F1 on the holdout, and its labels against the minimum."""
    scores = {score.entity_type: score for score in (status.model.scores if status.model else ()) if score.support}
    rows = [_type_row(label, scores.get(label.label)) for label in status.labels]
    rows += [_score_row(name, scores[name]) for name in ("micro", "macro") if name in scores]
    return table("", ("type", "F1", "P", "R", "support", "labels", "", "holdout"), rows)


def _type_row(label: LabelStatus, score: TypeScore | None) -> tuple[object, ...]:
    share = label.spans / label.minimum if label.minimum else 1.0
    flag = bar(share, 8) + (" " if label.enough else "!")
    figures = (score.f1, score.precision, score.recall, score.support) if score else (None,) * 4
    return (label.label, *figures, label.spans, flag, label.holdout_spans)


def _shortages(labels: Sequence[LabelStatus]) -> Iterator[RenderableType]:
    """The types short of labels: by the mark in the table, or by name where the minima differ."""
    short = [label for label in labels if not label.enough]
    if short and len({label.minimum for label in labels}) == 1:
        yield styled(f"[yellow]![/] under {short[0].minimum} labels to learn from: label more of these first.")
    elif short:
        told = (
            f"{one.label} has {one.spans} of {one.minimum} at least, {one.recommended} recommended" for one in short
        )
        yield styled(f"[yellow]![/] labels to learn from: {escape('; '.join(told))}.")


def _models(status: ProjectStatus, now: datetime) -> Table:
    """The latest versions, newest first, and what became of each."""
    rows = [
        (one.version, _STATES.get(one.state, one.state), one.f1, _age(one.trained_at, now)) for one in status.latest
    ]
    return table("", ("latest models", "state", "F1", "begun"), rows)


def _prelabels(found: Prelabels) -> Iterator[RenderableType]:
    """What annotators did with the regions of pre-labels: the latest versions, newest first, as `_models`."""
    if found.versions:
        rows = [_prelabel_row(version.total) for version in reversed(found.versions[-_PRELABELLED:])]
        yield ""
        yield table(
            "", ("pre-labels of", "texts", "regions", "kept", "95 %", "moved", "retyped", "removed", "added"), rows
        )
    if found.unknown:
        yield f"{found.unknown:,} annotations began from pre-labels that the store does not know."


def _prelabel_row(row: PrelabelCounts) -> tuple[object, ...]:
    kept = interval = None
    if row.kept_share is not None and row.low is not None and row.high is not None:
        kept, interval = f"{row.kept_share:.0%}", f"{100 * row.low:.0f}-{100 * row.high:.0f}"
    return row.name, row.texts, row.proposed, kept, interval, row.moved, row.retyped, row.removed, row.added


def _score_row(name: str, score: TypeScore) -> tuple[object, ...]:
    return (name, score.f1, score.precision, score.recall, score.support, "", "", "")


def _troubles(status: ProjectStatus, now: datetime) -> Iterator[RenderableType]:
    counts = status.counts
    if counts.disagreements:
        yield styled(f"[yellow]![/] {number_of(counts.disagreements, 'text')} on which annotators disagree.")
    if counts.duplicates:
        yield styled(
            f"[yellow]![/] {counts.duplicates:,} labelled texts also stand in the holdout and are not learned from."
        )
    if counts.doubts:
        labels = [label.label for label in status.labels]
        yield styled(f"[yellow]![/] {escape(' '.join(doubts_lines(counts.doubts, labels)))}")
    if counts.skipped:
        yield f"{counts.skipped:,} skips."
    for reason, count in counts.set_aside.items():
        yield f"Set aside: {count:,} x {reason}."
    for run in status.interrupted:
        yield styled(f"[yellow]![/] interrupted: {run.kind}, begun {_age(run.started_at, now)}; run it again.")


def _model(status: ProjectStatus, now: datetime) -> str:
    model = status.model
    if model is None:
        return "none yet: the votes pre-label so far" if status.votes else "none yet"
    micro = next((score for score in model.scores if score.entity_type == "micro"), None)
    if micro is None:
        scored = "not evaluated yet"
    elif not micro.support:
        scored = "not judged yet: the holdout has no gold entity"
    else:
        scored = f"micro-F1 {micro.f1:.3f} on the holdout"
    forced = ", by force" if model.forced else ""
    return f"[bold]{escape(model.version)}[/]{forced}, {scored}, trained {_age(model.trained_at, now)}"


def _decision(decision: DecisionStatus | None, now: datetime) -> str:
    if decision is None:
        return "never"
    what = DECISIONS.get(decision.action, decision.action)
    forced = " by force" if decision.forced else ""
    word = f" ({decision.word})" if decision.word else ""
    return (
        f"{what} {decision.version}{forced}{word}, {_age(decision.at, now)}: {escape(_first_sentence(decision.reason))}"
    )


def _first_sentence(reason: str) -> str:
    """The first sentence of a reason: what was measured. `loop report` has the rest."""
    first, stop, rest = reason.partition(". ")
    return f"{first}." if stop and rest else reason


def _named(states: Mapping[str, int]) -> dict[str, int]:
    return {_STATES.get(state, state): count for state, count in states.items()}


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)


def _age(moment: datetime | None, now: datetime) -> str:
    """`3 min ago`, rounded down."""
    if moment is None:
        return "never"
    seconds = max(0.0, (now - moment).total_seconds())
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{int(seconds // length)} {unit} ago"
    return f"{int(seconds)} s ago"
