"""Sources of weak labels that do harm are muted: their votes stay in the store and do not count.

A person's decision about a source, to mute it or not, stands until the source itself changes.

All gold that may be learned from decides, also the texts that judge afterwards whether a training learns from weak
labels (`loop.training.weak_choice`). Those texts flatter the weak labels only where chance has muted a source: a muting
passes a test at the level `worth.ALPHA` over all sources, so this is one training in a hundred at most. A source
that does harm is better muted, whichever texts show it. The holdout, which judges the model, takes no part in either.
"""

from __future__ import annotations

import shlex
from dataclasses import asdict, dataclass

from loop.settings.settings import Settings
from loop.weak.aggregating import voted_project
from loop.weak.applying import enter_imported, label_weakly
from loop.weak.worth import UNLABELLED, Harm, harmful
from store.database.schema import Project
from store.database.session import Store
from store.weak.sources import BY_THE_LOOP, muted_sources, set_muted, weak_sources
from weak_labeling.sources.neighbours import NeighboursSource


@dataclass(frozen=True)
class Muted:
    """A source that was muted, and why."""

    harm: Harm

    def __str__(self) -> str:
        name = self.harm.source
        return f"{name} is muted: {self.harm}. `loop weak unmute {shlex.quote(name)}` lets it count again."


def decide(store: Store, project: Project, name: str, muted: bool, who: str) -> None:
    """A person lets a source count no more, or again. Raises NotFoundError for a name that no source has."""
    with store.transaction() as tx:
        enter_imported(tx, project)
        set_muted(tx, project.id, name, muted, who)
        tx.commit()


def mute_harmful(store: Store, settings: Settings, project: Project) -> tuple[Muted, ...]:
    """Mute the sources that do harm by the gold there is (of pool and train); gives what was muted, the worst first.

    Sources that go by the votes of others are then asked again. Where such a source was muted for what it took from
    another muted source, its votes are new, and it is not muted any more.
    """
    with store.transaction() as tx:
        enter_imported(tx, project)
        known = weak_sources(tx.session, project.id)
        tx.commit()
    open_to = {one.name for one in known if one.muted_at is None and one.muted_by in (None, BY_THE_LOOP)}
    if not open_to:
        return ()
    found = harmful(voted_project(store, project, UNLABELLED).sample(), open_to)
    if found:
        with store.transaction() as tx:
            for harm in found:
                set_muted(tx, project.id, harm.source, True, BY_THE_LOOP, asdict(harm))
            tx.commit()
        if any(one.kind == NeighboursSource.kind for one in known):
            label_weakly(store, settings, project, retry=False)
            with store.read() as session:
                muted = muted_sources(session, project.id)
            found = tuple(harm for harm in found if harm.source in muted)
    return tuple(map(Muted, found))
