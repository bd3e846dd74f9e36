"""The kinds of sources that there are."""

from __future__ import annotations

from collections.abc import Mapping

from weak_labeling.sources.bundle import BundleEntry
from weak_labeling.sources.entry import SourceEntry
from weak_labeling.sources.gazetteer import GazetteerEntry
from weak_labeling.sources.gliner import GlinerEntry
from weak_labeling.sources.neighbours import NeighboursEntry
from weak_labeling.sources.pattern import PatternEntry
from weak_labeling.sources.prompted.entry import PromptEntry
from weak_labeling.sources.shape import ShapeEntry
from weak_labeling.sources.transformers import TransformersEntry

KINDS: Mapping[str, type[SourceEntry]] = {
    "pattern": PatternEntry,
    "gazetteer": GazetteerEntry,
    "shape": ShapeEntry,
    "neighbours": NeighboursEntry,
    "bundle": BundleEntry,
    "transformers": TransformersEntry,
    "gliner": GlinerEntry,
    "prompt": PromptEntry,
}
