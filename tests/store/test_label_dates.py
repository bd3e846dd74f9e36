"""Each gold document knows the types that it was not annotated for."""

from __future__ import annotations

from datetime import timedelta

from hypothesis import given as drawn
from hypothesis import strategies as st

from store.annotations import LABEL_STUDIO
from store.database.columns import utc_now
from store.database.schema import Project
from store.database.session import Store
from store.gold import fingerprint, gold
from store.label_dates import LabelDates
from store.projects import set_label_config, set_label_map
from tests.store import given

TEXT = "Gnome 3.2 crashes on Fedora."
GNOME, VERSION, FEDORA = (0, 5, "SOFTWARE"), (6, 9, "VERSION"), (21, 27, "OS")
NOW = utc_now()
MOMENTS = st.dictionaries(st.sampled_from("ABCD"), st.integers(0, 9).map(lambda day: NOW + timedelta(days=day)))


def relabel(store: Store, project: Project, *labels: str) -> None:
    with store.transaction() as tx:
        set_label_config(tx, project.id, given.CONFIG, labels)
        tx.commit()


def unannotated(store: Store, project: Project) -> list[set[str]]:
    with store.read() as session:
        return [set(item.unannotated) for item in gold(session, project.id)]


@given.on_both
def test_an_annotation_was_not_made_for_a_type_that_came_later(store: Store, project: Project) -> None:
    old, new, telling = given.documents(store, project.id, [TEXT, TEXT + " Again.", TEXT + " And again."])
    given.annotated(store, old, given.annotation(FEDORA))
    relabel(store, project, "OS", "SOFTWARE", "VERSION")
    given.annotated(store, new, given.annotation(FEDORA))
    given.annotated(store, telling, given.annotation(VERSION))
    assert unannotated(store, project) == [{"VERSION"}, set(), set()]
    given.annotated(store, old, given.annotation(FEDORA, GNOME))
    assert unannotated(store, project) == [set(), set(), set()]


def test_in_label_studio_the_time_of_the_annotation_counts_and_not_that_of_the_pull(
    store: Store, project: Project
) -> None:
    old, other, telling = given.documents(store, project.id, [TEXT, TEXT + " Again.", TEXT + " And again."])
    before, after = utc_now() - timedelta(hours=1), utc_now() + timedelta(hours=1)
    given.annotated(store, old, given.annotation(FEDORA))
    relabel(store, project, "OS", "SOFTWARE", "VERSION")
    for document, at, span in ((other, before, FEDORA), (telling, before, VERSION), (old, after, GNOME)):
        read = given.annotation(span, source=LABEL_STUDIO, source_updated_at=at)
        given.annotated(store, document, read)
    assert unannotated(store, project) == [set(), {"VERSION"}, set()]


def test_a_type_that_comes_before_the_first_annotation_was_always_there(store: Store, project: Project) -> None:
    (document,) = given.documents(store, project.id, [TEXT])
    relabel(store, project, "OS", "SOFTWARE", "VERSION")
    at = utc_now() - timedelta(days=1)
    given.annotated(store, document, given.annotation(FEDORA, source=LABEL_STUDIO, source_updated_at=at))
    assert unannotated(store, project) == [set()]


def test_a_type_that_went_and_came_back_is_new(store: Store, project: Project) -> None:
    (document,) = given.documents(store, project.id, [TEXT])
    given.annotated(store, document, given.annotation(FEDORA))
    relabel(store, project, "OS")
    assert unannotated(store, project) == [set()]
    relabel(store, project, "OS", "SOFTWARE")
    assert unannotated(store, project) == [{"SOFTWARE"}]


def test_a_type_that_the_label_map_renames_is_as_old_as_it_was(store: Store, project: Project) -> None:
    (document,) = given.documents(store, project.id, [TEXT])
    given.annotated(store, document, given.annotation(FEDORA))
    relabel(store, project, "OS", "PROGRAM")
    assert unannotated(store, project) == [{"PROGRAM"}]
    with store.transaction() as tx:
        set_label_map(tx, project.id, {"SOFTWARE": "PROGRAM"})
        tx.commit()
    assert unannotated(store, project) == [set()]


def test_gold_that_is_silent_on_a_type_has_another_fingerprint(store: Store, project: Project) -> None:
    (document,) = given.documents(store, project.id, [TEXT])
    given.annotated(store, document, given.annotation(FEDORA))
    with store.read() as session:
        before = fingerprint(gold(session, project.id))
    relabel(store, project, "OS", "SOFTWARE", "VERSION")
    with store.read() as session:
        assert fingerprint(gold(session, project.id)) != before


@drawn(MOMENTS, st.sets(st.sampled_from("ABCD")), st.sampled_from(range(10)))
def test_later_annotations_know_what_earlier_ones_knew(came: dict, gone: set, day: int) -> None:
    """A property: what an annotation could use, every later one could, whatever came and went."""
    dates, labels = LabelDates(came, frozenset(gone)), set("ABCD") - gone
    label_map = dict.fromkeys(gone, "A")
    moments = [NOW + timedelta(days=day + later) for later in range(2)]
    earlier, later = (dates.unknown_at(moment, labels, label_map) for moment in moments)
    assert later <= earlier <= labels
