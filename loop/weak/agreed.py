"""The agreed votes as pre-labels: before a model serves, they tag texts as a tagger does, under a version of their own.

The version changes with what decides the votes: the sources and their digests, which of them are muted, the project's
labels, and each doubling of the gold, of which an aggregation may learn. A version then stands for one way to vote.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from sqlalchemy.orm import Session

from loop.files.importing import IMPORTED_VOTE
from loop.settings.settings import Settings
from loop.sync.queue import spread
from loop.weak.aggregating import said_together
from loop.weak.applying import label_weakly
from loop.weak.sources import has_sources
from ner.labels import LabelSet
from ner.tagger import Tagging
from store.database.schema import Project
from store.database.session import Store
from store.documents import stored_documents
from store.gold import LEARNED_FROM, count_fresh_gold
from store.predictions import votes_version
from store.projects import project_by_id
from store.weak.sources import muted_sources
from store.weak.votes import digests_of_votes
from weak_labeling.aggregate.choosing import AUTO
from weak_labeling.aggregate.contract import Aggregated

_FEWEST_GOLD = 25  # from here on gold may change how votes are aggregated


@dataclass(frozen=True)
class AgreedVotes:
    """What the sources say together of each text that they were asked about, in the shape of a tagger's answers."""

    version: str
    labels: LabelSet
    by_text: Mapping[str, Tagging]

    def tag_many(self, texts: Iterable[str], progress: Callable[[int], object] | None = None) -> list[Tagging]:
        """A tagging for each text, in order. A text that no source was asked about yet has no spans."""
        found = [self.by_text.get(text) or Tagging((), 1.0, self.version) for text in texts]
        if progress is not None:
            progress(len(found))
        return found


def agreed_version(session: Session, project: Project) -> str | None:
    """The version of the votes as they are stored now; None where no vote counts."""
    muted = muted_sources(session, project.id)
    cast = {name: found for name, found in digests_of_votes(session, project.id).items() if name not in muted}
    if not cast:
        return None
    # Imported votes have one digest whatever they say: their number tells when more of them came.
    sources = {name: [sorted(found), found.get(IMPORTED_VOTE, 0)] for name, found in sorted(cast.items())}
    gold = count_fresh_gold(session, project.id, None) // _FEWEST_GOLD
    decides = [project.slug, list(project.labels), sources, sorted(muted), AUTO, gold.bit_length()]
    return votes_version(hashlib.sha256(json.dumps(decides).encode()).hexdigest())


def agreed_votes(store: Store, project: Project) -> AgreedVotes | None:
    """What the votes say together of every text outside the holdout; None where no vote counts."""
    with store.read() as session:
        version = agreed_version(session, project)
        documents = stored_documents(session, project.id, LEARNED_FROM)
        salt = project_by_id(session, project.id).salt
    if version is None:
        return None
    sure: dict[str, float] = {}
    said = []  # without the soft tags, which take most of the memory
    for document, one in zip(documents, said_together(store, project, documents), strict=True):
        said.append((document, one.spans))
        if one.soft.spoken.any():
            sure[document.text] = _least_sure(one)
    silent = {document.document_id: document.external_id for document, _ in said if document.text not in sure}
    places = spread(silent, list(sure.values()), salt)
    taggings = {
        document.text: Tagging(spans, sure.get(document.text, places.get(document.document_id, 1.0)), version)
        for document, spans in said
    }
    return AgreedVotes(version, LabelSet(tuple(project.labels)), taggings)


def votes_that_serve(store: Store, settings: Settings, project: Project) -> AgreedVotes | None:
    """The agreed votes, where no model is in service; the sources are first asked about what is new.

    None where a model is in service, and where no vote counts. Raises InputError where no source can be read at all.
    """
    if project.promoted_version is not None:
        return None
    if has_sources(settings):
        label_weakly(store, settings, project)
    return agreed_votes(store, project)


def _least_sure(said: Aggregated) -> float:
    """How sure the votes are of a text on which a source speaks: as sure as of the span that is least sure, 0..1.

    Sources that contradict each other, or a source that stands alone, put a text before one on which sources agree.
    """
    return min((span.score for span in said.spans if span.score is not None), default=0.0)
