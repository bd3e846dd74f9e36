"""The kinds of sources that there are."""

from __future__ import annotations

from collections.abc import Mapping

from weak_labeling.sources.entry import SourceEntry
from weak_labeling.sources.gazetteer import GazetteerEntry
from weak_labeling.sources.neighbours import NeighboursEntry
from weak_labeling.sources.pattern import PatternEntry
from weak_labeling.sources.shape import ShapeEntry

KINDS: Mapping[str, type[SourceEntry]] = {
    "pattern": PatternEntry,
    "gazetteer": GazetteerEntry,
    "shape": ShapeEntry,
    "neighbours": NeighboursEntry,
}
