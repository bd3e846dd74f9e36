"""What a study comes to, in sentences: on the terminal and at the top of the report."""

from __future__ import annotations

from collections.abc import Iterator

from loop.judging.measured import Speed
from loop.study.results import StudiedVariant, Study
from loop.wording import NOTHING, documents_of, interval, listed, number_of, points, quantity, score

BETTER, WORSE, OPEN = "better", "worse", "no difference shown"
NOTICEABLY_FASTER = 1.25
_MOST_TOLD = 3  # one by one; of more variants, tables tell the same


def sentences(study: Study) -> Iterator[str]:
    """The best variant, what is worth it, and of few variants, what each differs by; then what could not be trained."""
    best = study.best
    if best is None:
        return
    data = study.data
    where = documents_of(data.groups, data.dev_texts, "document")
    yield (
        f"{headline(study, best)}: learned from {number_of(data.train_texts, 'text')}, judged on {where} that no "
        "variant learned from."
    )
    yield from _worth(study)
    others = [one for one in study.measured if one.differences]
    if len(others) <= _MOST_TOLD:
        for one in others:
            yield f"{study.name_of(one)} against {study.against}: {difference(one)}{_price(study, one)}."
    for one in study.variants:
        if one.error:
            yield f"{study.name_of(one)} could not be trained: {one.error}"


def headline(study: Study, best: StudiedVariant) -> str:
    """Which variant has the highest F1; of a variant that stands alone, which F1."""
    name, f1 = study.name_of(best), score(best.micro.f1)
    alone = len(study.measured) == 1
    return f"{name} has micro-F1 {f1} as served" if alone else f"{name} has the highest micro-F1 as served, {f1}"


def _worth(study: Study) -> Iterator[str]:
    """Which variants are shown to be better, and which are faster without being shown to be worse."""
    others = [one for one in study.measured if one.differences]
    if not others:
        return
    better = [study.name_of(one) for one in others if verdict(one) == BETTER]
    shown = f"Shown to be better than {study.against}: {listed(better)}." if better else ""
    faster = [
        f"{study.name_of(one)} ({times:.1f} times as fast)"
        for one in others
        if verdict(one) != WORSE and (times := _times_as_fast(study, one)) >= NOTICEABLY_FASTER
    ]
    told = f" Faster, and not shown to be worse: {listed(faster)}." if faster else ""
    yield (shown or f"No variant is shown to be better than {study.against}.") + told


def verdict(one: StudiedVariant) -> str:
    """Whether a variant is shown to differ from the one that all are compared with; nothing for that one."""
    if not one.differences:
        return ""
    micro = one.differences[0]
    return BETTER if micro.low > 0 else WORSE if micro.high < 0 else OPEN


def difference(one: StudiedVariant) -> str:
    """`+0.5 points (-0.8 to +1.8), no difference shown`."""
    micro = one.differences[0]
    return f"{points(micro.delta)} points ({interval(micro.low, micro.high)}), {verdict(one)}"


def served_speed(one: StudiedVariant) -> Speed | None:
    """Of the file that serves, which is timed last; None where nothing was timed."""
    return one.speeds[-1] if one.speeds else None


def _times_as_fast(study: Study, one: StudiedVariant) -> float:
    """Compared with the variant that all are compared with, for a lone text as served; 1 where nothing was timed."""
    own, others = served_speed(one), served_speed(_against(study))
    return others.latency_ms / own.latency_ms if own and others else 1.0


def _against(study: Study) -> StudiedVariant:
    return next(one for one in study.measured if study.name_of(one) == study.against)


def _price(study: Study, one: StudiedVariant) -> str:
    """How the size and the latency of the served file compare, where both are known and differ."""
    other = _against(study)
    own, others = served_speed(one), served_speed(other)
    pairs = []
    if one.costs and other.costs:
        pairs.append((quantity(one.costs.int8_mb, "MB"), quantity(other.costs.int8_mb, "MB")))
    if own and others:
        pairs.append((f"{quantity(own.latency_ms, 'ms')} a text", quantity(others.latency_ms, "ms")))
    told = [f"{mine} instead of {theirs}" for mine, theirs in pairs if mine != theirs]
    return f"; as served {' and '.join(told)}" if told else ""


def millions(count: int | None) -> str:
    """A number of parameters: `22.6 M`."""
    return NOTHING if count is None else f"{count:,}" if count < 100_000 else f"{count / 1e6:.3g} M"
