"""What an exported folder says of the project's texts beside `loop predict`: differing spans, counted by cause."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from loop.targets.source import ModelSource
from ner.errors import BundleError
from ner.spans import Span

# Of a span that has moved, both places count. A single one is no proof that a folder is wrong.
_ONE_SPAN = 2
# The same weights and the same decoding: what differs is rounding.
EXACT = 0.02
# FP32 weights where INT8 serves. A training accepts an INT8 file that differs in 3 % of the spans; on a few texts
# chance adds to that.
OTHER_PRECISION = 0.06


class ExportDiffersError(BundleError):
    """An exported folder names other spans than the model that serves, and more of them than its target may."""


@dataclass(frozen=True, slots=True)
class SpanComparison:
    """The spans of two systems on the same texts, without their scores.

    spans: those of both together. missing: named by the first system alone; added: by the second alone. bound: the
    share of differing spans that is accepted, 0..1; None where the comparison only explains.
    """

    what: str
    texts: int
    differing_texts: int
    spans: int
    missing: int
    added: int
    bound: float | None = None

    @property
    def differing(self) -> int:
        """How many spans only one of the two systems names."""
        return self.missing + self.added

    @property
    def share(self) -> float:
        """Of all spans, those that only one system names, 0..1: 1 minus the F1 of one system against the other."""
        return self.differing / self.spans if self.spans else 0.0

    @property
    def holds(self) -> bool:
        """Whether the difference is accepted."""
        return self.bound is None or self.differing <= _ONE_SPAN or self.share <= self.bound


@dataclass(frozen=True, slots=True)
class Proof:
    """How far a folder says what the served model says. parts: where the differences come from.

    reason: why the bound of `total` is what it is. differing: names of texts whose spans differ, at most ten.
    """

    total: SpanComparison
    reason: str
    parts: tuple[SpanComparison, ...] = ()
    differing: tuple[str, ...] = ()

    @property
    def comparisons(self) -> tuple[SpanComparison, ...]:
        """The total, and then its parts."""
        return (self.total, *self.parts)

    @property
    def failed(self) -> SpanComparison | None:
        """The first comparison that does not hold."""
        return next((one for one in self.comparisons if not one.holds), None)


def compare(
    what: str, first: Sequence[Iterable[Span]], second: Sequence[Iterable[Span]], bound: float | None = None
) -> SpanComparison:
    """Compare what two systems say of the same texts, in the same order."""
    pairs = [(_keys(ours), _keys(theirs)) for ours, theirs in zip(first, second, strict=True)]
    return SpanComparison(
        what=what,
        texts=len(pairs),
        differing_texts=sum(ours != theirs for ours, theirs in pairs),
        spans=sum(len(ours) + len(theirs) for ours, theirs in pairs),
        missing=sum(len(ours - theirs) for ours, theirs in pairs),
        added=sum(len(theirs - ours) for ours, theirs in pairs),
        bound=bound,
    )


def names_of_differing(
    names: Sequence[str], first: Sequence[Iterable[Span]], second: Sequence[Iterable[Span]]
) -> tuple[str, ...]:
    """The names of the first ten texts on which the two systems differ."""
    differing = (name for name, ours, theirs in zip(names, first, second, strict=True) if _keys(ours) != _keys(theirs))
    return tuple(list(differing)[:10])


def fp32_proof(whole: str, weights: str, source: ModelSource, found: Sequence[Iterable[Span]]) -> Proof:
    """The proof of a folder with FP32 weights that decodes as the project does: `found` is what it says of each text.

    whole, weights: what people call the folder as it is used, and the weights in it.
    """
    return Proof(
        total=compare(f"{whole} against loop predict", source.served, found, OTHER_PRECISION),
        reason="the weights are FP32 where INT8 may serve",
        parts=(
            compare("FP32 against the served file", source.served, source.reference),
            compare(f"{weights} against FP32", source.reference, found, EXACT),
        ),
        differing=names_of_differing([one.name for one in source.texts], source.served, found),
    )


def check(target: str, proof: Proof) -> None:
    """Raise ExportDiffersError, with the figures, where the folder differs by more than it may."""
    failed = proof.failed
    if failed is None or failed.bound is None:
        return
    raise ExportDiffersError(
        f"at most {failed.bound:.0%} of the spans of {target} differ ({failed.what}), since {proof.reason}",
        value=f"{failed.differing} of {failed.spans} spans ({failed.share:.1%}) on {failed.texts} texts",
        next_step="Nothing was written. Look at the model, or write the folder all the same: --allow-differences.",
    )


def _keys(spans: Iterable[Span]) -> set[tuple[int, int, str]]:
    return {(span.start, span.end, span.label) for span in spans}
