"""The tables of `scripts.bench.policy`: what each rule cost over all loops, with intervals."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ner.arrays import FloatArray, IntArray
from scripts.bench.policy.counts import LoopCounts
from scripts.bench.policy.loops import CORRUPTED, FIRST, named
from scripts.bench.policy.replay import RULES, Replayed, Rule, Track, draw_track, drifting, names_by_round, replay

EARLY = 150  # annotations


@dataclass(frozen=True, slots=True)
class Figures:
    """What one replay of a loop cost; F1 in points.

    moves: into service, put back among them. harm, grave: moves that lose more than 1 and more than 3 points. gains: of
    each move, and the standard error that the truth leaves them. replaced: the annotations after which the first model
    no longer serves; infinite where it serves to the end. worth_it: whether a candidate up to EARLY annotations
    is more than 1 point better than the first model. bad: corrupted candidates that are more than 1 point worse than
    the model in service; taken: those that served.
    """

    regret: float
    moves: int
    put_back: int
    harm: int
    grave: int
    replaced: float
    worth_it: bool
    taken: int
    bad: int
    gains: tuple[tuple[float, float], ...]


def sets_table(loops: Sequence[LoopCounts], draws: int) -> Iterator[str]:
    """What the candidates of each loop are like."""
    del draws
    yield from _head(
        "loop", "documents that judge in the end", "true F1 of the first model, then of each round's candidate"
    )
    for loop in loops:
        truths = draw_track(loop, 0).truths
        names = [FIRST, *names_by_round(loop, corrupted=False).values()]
        figures = " ".join(f"{100 * truths[name]:.0f}" if name else "-" for name in names)
        yield f"| {loop.set_name} {loop.seed} | {len(set(loop.document[loop.round > 0]))} | {figures} |"


def rules_table(loops: Sequence[LoopCounts], draws: int) -> Iterator[str]:
    """Every rule on clean loops."""
    names = list(dict.fromkeys(loop.set_name for loop in loops))
    titles = "moves (put back)", "moves that lose > 1", "the same, less noise", "harm > 1 a loop", "> 3 a loop"
    yield from _head(
        "rule", "regret", *names, *titles, "first model replaced by 150, %", "where worth it", "in the end, %"
    )
    for rule, rows in _replayed(loops, draws, corrupted=False):
        figures = [one for some in rows for one in some]
        by_set = {name: list[float]() for name in names}
        for loop, some in zip(loops, rows, strict=True):
            by_set[loop.set_name] += [one.regret for one in some]
        back = np.mean([one.put_back for one in figures])
        cells = (
            rule.name,
            spread(rows, lambda one: one.regret),
            *(f"{np.mean(values):.2f}" for values in by_set.values()),
            f"{np.mean([one.moves for one in figures]):.1f} ({back:.1f})",
            ratio(rows),
            without_noise(rows),
            spread(rows, lambda one: one.harm),
            spread(rows, lambda one: one.grave),
            spread(rows, lambda one: 100 * (one.replaced <= EARLY), 0),
            f"{100 * np.mean([one.replaced <= EARLY for one in figures if one.worth_it] or [math.nan]):.0f}",
            spread(rows, lambda one: 100 * (one.replaced < np.inf), 0),
        )
        yield f"| {' | '.join(cells)} |"


def corruption_table(loops: Sequence[LoopCounts], draws: int) -> Iterator[str]:
    """Every rule on loops with corrupted batches."""
    served = "of corrupted candidates that are more than 1 point worse, in service"
    yield from _head("rule, with corrupted batches", "regret", "harm > 1 a loop", "> 3 a loop", served)
    for rule, rows in _replayed(loops, draws, corrupted=True):
        figures = [one for some in rows for one in some]
        taken, bad = (sum(getattr(one, key) for one in figures) for key in ("taken", "bad"))
        told = (
            spread(rows, lambda one: one.regret),
            spread(rows, lambda one: one.harm),
            spread(rows, lambda one: one.grave),
        )
        yield f"| {rule.name} | {' | '.join(told)} | {taken} of {bad} |"


def drift_table(loops: Sequence[LoopCounts], draws: int) -> Iterator[str]:
    """Slow poison, and candidates that are all equal."""
    poison = "poison: F1 lost in the end, mean", "95th percentile", "moves"
    yield from _head("rule", *poison, "equal candidates: moves", "false proofs, % of loops")
    poisoned, equal = (
        [[drifting(loop, draw, step) for draw in range(draws)] for loop in loops] for step in (0.005, 0.0)
    )
    for rule in RULES:
        down, flat = (
            [[(track, replay(track, rule, names)) for track, names in some] for some in rows]
            for rows in (poisoned, equal)
        )
        lost = np.array(
            [[100 * (track.truths[FIRST] - track.truths[done.served[-1]]) for track, done in some] for some in down]
        )
        moves = [np.mean([len(done.moves) for some in rows for _, done in some]) for rows in (down, flat)]
        cells = (
            rule.name,
            bootstrapped(lost, lambda values: values.mean(axis=-1)),
            bootstrapped(lost, lambda values: np.quantile(values, 0.95, axis=-1)),
            *(f"{value:.1f}" for value in moves),
            spread(flat, lambda pair: 100 * bool(pair[1].claims), 1),
        )
        yield f"| {' | '.join(cells)} |"


def _head(*titles: str) -> Iterator[str]:
    yield f"| {' | '.join(titles)} |"
    yield "| --- " * len(titles) + "|"


def _replayed(
    loops: Sequence[LoopCounts], draws: int, *, corrupted: bool
) -> Iterator[tuple[Rule, list[list[Figures]]]]:
    """By rule, the figures of every draw of every loop."""
    tracks = [[draw_track(loop, draw) for draw in range(draws)] for loop in loops]
    for rule in RULES:
        yield (
            rule,
            [
                [_figures(track, rule, loop, corrupted=corrupted) for track in some]
                for loop, some in zip(loops, tracks, strict=True)
            ],
        )


def _figures(track: Track, rule: Rule, loop: LoopCounts, *, corrupted: bool) -> Figures:
    names = names_by_round(loop, corrupted=corrupted)
    return figures_of(track, replay(track, rule, names), names, loop)


def figures_of(track: Track, done: Replayed, names: Mapping[int, str], loop: LoopCounts) -> Figures:
    """The figures of one replay, by the true F1. names: the candidate of each round, as it was replayed.

    A round weighs as much as the annotations until the next one that has a candidate.
    """
    best, regrets = track.truths[FIRST], list[float]()
    for name, served in zip(names.values(), done.served, strict=True):
        best = max(best, track.truths[name]) if name else best
        regrets.append(100 * (best - track.truths[served]))
    losses = [100 * (track.truths[move.before] - track.truths[move.after]) for move in done.moves]
    replaced = next((number for number, name in zip(loop.rounds, done.served, strict=True) if name != FIRST), math.inf)
    found = [track.true_difference(move.after, move.before) for move in done.moves]
    early = [number for number, name in names.items() if name and number * loop.batch <= EARLY]
    taken = list(_corrupted(track, done, names))
    return Figures(
        regret=float(np.average(regrets, weights=_gaps(loop.rounds))),
        moves=len(done.moves),
        put_back=sum(move.put_back for move in done.moves),
        harm=sum(loss > 1 for loss in losses),
        grave=sum(loss > 3 for loss in losses),
        replaced=replaced * loop.batch,
        worth_it=any(track.truths[names[number]] > track.truths[FIRST] + 0.01 for number in early),
        taken=sum(taken),
        bad=len(taken),
        gains=tuple((100 * one.difference, 100 * one.error) for one in found),
    )


def _gaps(rounds: Sequence[int]) -> IntArray:
    """To the next round; of the last one, as of the one before."""
    gaps = np.diff(np.array([*rounds, rounds[-1]]))
    gaps[-1] = gaps[-2] if len(gaps) > 1 else 1
    return gaps


def _corrupted(track: Track, done: Replayed, names: Mapping[int, str]) -> Iterator[bool]:
    """Whether it went into service, of each corrupted candidate that is over a point worse than the model before."""
    before = dict(zip(names, (FIRST, *done.served), strict=False))
    for number, corruption in CORRUPTED.items():
        name = named(number, corruption)
        if names.get(number) == name and track.truths[name] < track.truths[before[number]] - 0.01:
            yield any(move.after == name and not move.put_back for move in done.moves)


def spread(rows: Sequence[Sequence[Any]], value: Callable[[Any], float], digits: int = 2) -> str:
    """The mean over all replays, and its interval over the loops."""
    table = np.array([[value(one) for one in some] for some in rows], dtype=np.float64)
    return bootstrapped(table, lambda found: found.mean(axis=-1), digits)


def ratio(rows: Sequence[Sequence[Figures]]) -> str:
    """The share of the moves that lose more than 1 point, and its interval over the loops."""
    pairs = np.array([[sum(one.harm for one in some), sum(one.moves for one in some)] for some in rows])
    drawn = pairs[np.random.default_rng(1).integers(len(pairs), size=(2000, len(pairs)))].sum(axis=1)
    low, high = np.quantile(drawn[:, 0] / np.maximum(1, drawn[:, 1]), [0.025, 0.975])
    harm, moves = pairs.sum(axis=0)
    return f"{harm / max(1, moves):.1%} ({low:.1%}-{high:.1%})"


def without_noise(rows: Sequence[Sequence[Figures]]) -> str:
    """The share of the moves that lose more than 1 point, were the truth known exactly.

    The truth is a sample, so that some moves seem to lose a point which they do not lose. The distribution of the true
    gains is estimated from the observed ones and their errors by nonparametric maximum likelihood (Kiefer & Wolfowitz
    1956), by expectation-maximisation on a grid.
    """
    gains = np.array([gain for some in rows for one in some for gain in one.gains]).reshape(-1, 2)
    if not len(gains):
        return "-"
    grid = np.arange(-15, 40.25, 0.25)
    likely = np.exp(-(((gains[:, :1] - grid) / gains[:, 1:]) ** 2) / 2) + 1e-300
    weights = np.full(len(grid), 1 / len(grid))
    for _ in range(300):
        shares = likely * weights
        weights = (shares / shares.sum(axis=1, keepdims=True)).mean(axis=0)
    return f"{weights[grid < -1].sum():.1%}"


def bootstrapped(rows: FloatArray, of: Callable[[FloatArray], FloatArray], digits: int = 2) -> str:
    """A figure of all values, and its interval where whole loops are drawn anew.

    rows: (loops, draws). of: a figure over the last axis of an array.
    """
    drawn = np.random.default_rng(1).integers(len(rows), size=(1000, len(rows)))
    low, high = np.quantile(of(rows[drawn].reshape(len(drawn), -1)), [0.025, 0.975])
    return f"{of(rows.reshape(-1)):.{digits}f} ({low:.{digits}f}-{high:.{digits}f})"
