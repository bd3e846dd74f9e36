"""A text is gold only if everything that was said about it was understood."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import given as for_all
from hypothesis import strategies as st
from sqlalchemy import update

import store.annotations as annotations_of_the_store
from ner.label_studio.label_config import OTHER_CONTROL, NotLearned
from ner.label_studio.results import BLANK, DOUBTS, MAPPED_AWAY, OUTSIDE_CONFIG, OUTSIDE_TEXT, SEVERAL_LABELS
from ner.spans import OVERLAPS, Span
from store.annotations import NewAnnotation, append_annotations, history
from store.counts import Doubts, counted, labels_of, project_counts
from store.database.columns import utc_now
from store.database.schema import HOLDOUT, TRAIN, Project, SetAside
from store.database.session import Store
from store.documents import NewDocument, add_documents, count_open
from store.gold import count_fresh_gold, gold, has_gold, labelled, training_gold
from store.projects import set_label_config, set_label_map
from tests.store import given

OS, SOFTWARE = (17, 23, "OS"), (0, 5, "SOFTWARE")
TEXT = "Gnome crashes on Fedora."


def region(*labels: str) -> dict[str, Any]:
    return {
        "from_name": "label",
        "to_name": "text",
        "type": "labels",
        "value": {"start": 0, "end": 5, "labels": list(labels)},
    }


PERSON = NotLearned(OUTSIDE_CONFIG, region("Person"))
BEYOND = NotLearned(OUTSIDE_TEXT, region("OS"))


def doubtful(*doubts: NotLearned, name: str = "1", **fields: Any) -> NewAnnotation:
    return given.annotation(name=name, spans=None, set_aside=doubts or (PERSON,), **fields)


def of_an_earlier_release(*spans: tuple[int, int, str], aside: NotLearned = PERSON, name: str = "1") -> NewAnnotation:
    """The spans that were understood, beside what was not."""
    return given.annotation(*spans, name=name, set_aside=[aside])


def as_before_doubts(monkeypatch: pytest.MonkeyPatch) -> None:
    """Digests are made as earlier releases made them."""
    digest = annotations_of_the_store._digest
    monkeypatch.setattr("store.annotations._digest", lambda row, doubts=(): digest(row))


@pytest.fixture
def document(store: Store, project: Project) -> int:
    """A document to annotate, in train."""
    return given.documents(store, project.id, [TEXT])[0]


def spans_of_gold(store: Store, project: Project) -> list[tuple[Span, ...]]:
    with store.read() as session:
        return [item.spans for item in gold(session, project.id)]


def doubts(store: Store, project: Project) -> Doubts:
    with store.read() as session:
        return project_counts(session, project.id).doubts


@given.on_both
@pytest.mark.parametrize("make", [doubtful, lambda: of_an_earlier_release(OS)], ids=["today", "earlier release"])
def test_a_text_in_doubt_is_no_gold_and_counts_as_labelled(store: Store, project: Project, make: Any) -> None:
    (document,) = given.documents(store, project.id, [TEXT])
    given.annotated(store, document, make())
    assert spans_of_gold(store, project) == []
    assert doubts(store, project) == Doubts(1, {OUTSIDE_CONFIG: 1}, {"Person": 1})
    with store.read() as session:
        assert (count_open(session, project.id), count_fresh_gold(session, project.id, None)) == (0, 0)
        assert (training_gold(session, project.id).documents, training_gold(session, project.id).in_doubt) == ((), 1)


@pytest.mark.parametrize("reason", sorted(DOUBTS))
def test_every_doubt_keeps_the_text_out(store: Store, project: Project, document: int, reason: str) -> None:
    given.annotated(store, document, of_an_earlier_release(OS, aside=NotLearned(reason, region("OS"))))
    assert spans_of_gold(store, project) == []
    assert doubts(store, project).by_reason == {reason: 1}


@pytest.mark.parametrize("reason", [BLANK, OVERLAPS, MAPPED_AWAY, OTHER_CONTROL])
def test_what_is_known_to_be_no_label_keeps_nothing_out(
    store: Store, project: Project, document: int, reason: str
) -> None:
    given.annotated(store, document, given.annotation(OS, set_aside=[NotLearned(reason, region("OS"))]))
    assert spans_of_gold(store, project) == [(Span(*OS),)]
    assert doubts(store, project) == Doubts()


def test_no_older_annotation_is_believed_in_the_place_of_the_one_in_doubt(
    store: Store, project: Project, document: int
) -> None:
    clear = given.annotation(OS, name="1", source_updated_at=given.at(1))
    given.annotated(store, document, clear, doubtful(name="2", source_updated_at=given.at(2)))
    assert spans_of_gold(store, project) == []
    given.annotated(store, document, replace(clear, source_updated_at=given.at(3), lead_time=1.0))
    assert spans_of_gold(store, project) == [(Span(*OS),)]
    with store.read() as session:
        (found,) = gold(session, project.id)
    assert (found.alternatives, found.disagreements) == (1, 0)


def test_ground_truth_in_doubt_is_not_replaced_by_something_newer(
    store: Store, project: Project, document: int
) -> None:
    given.annotated(
        store,
        document,
        doubtful(name="1", ground_truth=True, source_updated_at=given.at(1)),
        given.annotation(OS, name="2", source_updated_at=given.at(2)),
    )
    assert spans_of_gold(store, project) == []


@pytest.mark.parametrize("change", [{"skipped": True}, {"deleted": True}])
def test_an_annotation_in_doubt_that_is_skipped_or_deleted_decides_nothing(
    store: Store, project: Project, document: int, change: dict[str, Any]
) -> None:
    given.annotated(store, document, given.annotation(OS, name="1"), doubtful(name="2"))
    if "skipped" in change:
        given.annotated(store, document, doubtful(name="2", skipped=True))
    else:
        with store.transaction() as tx:
            given.mark_annotation_deleted(tx, document, "file", "2")
            tx.commit()
    assert (spans_of_gold(store, project), doubts(store, project)) == ([(Span(*OS),)], Doubts())


@pytest.mark.parametrize("earlier", [False, True])
def test_a_label_that_the_map_calls_no_entity_is_mended_by_reading_again(
    store: Store, project: Project, document: int, earlier: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where an earlier release stored the very spans that are learned from now, under the very same digest."""
    with monkeypatch.context() as patch:
        if earlier:
            as_before_doubts(patch)
        given.annotated(store, document, of_an_earlier_release(OS) if earlier else doubtful())
    since = utc_now()
    given.annotated(store, document, given.annotation(OS, set_aside=[NotLearned(MAPPED_AWAY, region("Person"))]))
    assert (spans_of_gold(store, project), doubts(store, project)) == ([(Span(*OS),)], Doubts())
    with store.read() as session:
        assert count_fresh_gold(session, project.id, since) == 1


def test_a_new_annotation_in_doubt_makes_no_text_new(store: Store, project: Project, document: int) -> None:
    given.annotated(store, document, given.annotation(OS, name="1", ground_truth=True))
    since = utc_now()
    given.annotated(store, document, of_an_earlier_release(SOFTWARE, name="2"))
    with store.read() as session:
        assert (len(gold(session, project.id)), count_fresh_gold(session, project.id, since)) == (1, 0)


def test_a_doubt_that_becomes_another_doubt_is_told_by_the_latest_version_alone(
    store: Store, project: Project, document: int
) -> None:
    for doubt in (PERSON, BEYOND):
        given.annotated(store, document, doubtful(doubt))
        assert doubts(store, project).by_reason == {doubt.reason: 1}
    given.annotated(store, document, doubtful(BEYOND))
    with store.read() as session:
        assert len(history(session, document)) == 2


def test_an_annotation_that_was_in_doubt_meanwhile_is_believed_again(
    store: Store, project: Project, document: int
) -> None:
    clear = given.annotation(OS)
    for annotation, expected in ((clear, [(Span(*OS),)]), (replace(clear, spans=None, set_aside=[PERSON]), [])):
        given.annotated(store, document, annotation)
        assert spans_of_gold(store, project) == expected
    given.annotated(store, document, clear)
    assert (spans_of_gold(store, project), doubts(store, project)) == ([(Span(*OS),)], Doubts())


def test_the_digest_of_an_annotation_without_doubts_is_that_of_earlier_releases(
    store: Store, project: Project, document: int
) -> None:
    """Otherwise each annotation of an older store would get a new version by the next pull."""
    given.annotated(store, document, given.annotation(OS, set_aside=[NotLearned(OVERLAPS, region("OS"))]))
    with store.read() as session:
        (version,) = history(session, document)
    assert version.digest == "93d486c57543f6be97f598b4fe1c117d8f3c42e4281dc5621a0da865467d1c2b"


def test_a_doubt_that_was_mended_in_its_place_is_none(store: Store, project: Project, document: int) -> None:
    given.annotated(store, document, of_an_earlier_release(OS))
    with store.transaction() as tx:
        tx.session.execute(update(SetAside).values(mended_at=utc_now()))
        tx.commit()
    assert spans_of_gold(store, project) == [(Span(*OS),)]


# Labels that left the config


def without_os(store: Store, project: Project, **label_map: str) -> None:
    with store.transaction() as tx:
        set_label_config(tx, project.id, given.CONFIG, ["SOFTWARE"])
        set_label_map(tx, project.id, label_map)
        tx.commit()


@given.on_both
def test_gold_with_a_label_that_left_the_config_is_kept_out_whole(store: Store, project: Project) -> None:
    both, other = given.documents(store, project.id, [TEXT, "another"])
    given.annotated(store, both, given.annotation(OS, SOFTWARE))
    given.annotated(store, other, given.annotation(SOFTWARE))
    without_os(store, project)
    assert spans_of_gold(store, project) == [(Span(*SOFTWARE),)]
    assert doubts(store, project) == Doubts(1, {OUTSIDE_CONFIG: 1}, {"OS": 1})
    with store.read() as session:
        assert count_fresh_gold(session, project.id, None) == 1
        assert project_counts(session, project.id).labels == {"SOFTWARE": 1}


@pytest.mark.parametrize(
    ("mapped", "spans"),
    [
        ("SOFTWARE", (Span(0, 5, "SOFTWARE"), Span(17, 23, "SOFTWARE"))),
        ("O", (Span(0, 5, "SOFTWARE"),)),
        ("OTHER", None),
    ],
)
def test_the_map_decides_on_a_label_that_left_the_config(
    store: Store, project: Project, document: int, mapped: str, spans: tuple[Span, ...] | None
) -> None:
    given.annotated(store, document, given.annotation(SOFTWARE, OS))
    without_os(store, project, OS=mapped)
    assert spans_of_gold(store, project) == ([] if spans is None else [spans])


def test_the_map_renames_no_stored_label_that_the_project_has(store: Store, project: Project, document: int) -> None:
    """It was renamed when it was read; a map that swaps two labels would otherwise swap them back."""
    given.annotated(store, document, given.annotation(SOFTWARE, OS))
    with store.transaction() as tx:
        set_label_map(tx, project.id, {"OS": "SOFTWARE", "SOFTWARE": "OS"})
        tx.commit()
    assert spans_of_gold(store, project) == [(Span(*SOFTWARE), Span(*OS))]
    without_os(store, project, OS="SOFTWARE", SOFTWARE="OS")
    assert spans_of_gold(store, project) == [(Span(*SOFTWARE), Span(17, 23, "SOFTWARE"))]


# Counts


def test_texts_in_doubt_are_counted_once_for_each_reason_and_label() -> None:
    several = NotLearned(SEVERAL_LABELS, region("Person", "Place"))
    overlap = NotLearned(OVERLAPS, region("Thing"))
    found = counted([[PERSON, PERSON, BEYOND], [several, PERSON], [overlap], []])
    assert found == Doubts(2, {OUTSIDE_CONFIG: 2, SEVERAL_LABELS: 1, OUTSIDE_TEXT: 1}, {"Person": 2, "Place": 1})
    assert (bool(found), bool(counted([[overlap]]))) == (True, False)


@pytest.mark.parametrize(
    "payload", [None, "x", [], {"value": None}, {"value": {"labels": "x"}}, {"value": {"labels": [1]}}]
)
def test_a_payload_of_any_shape_is_read_for_its_labels(payload: Any) -> None:
    assert labels_of(payload) == ()


# Whatever is seen, in whatever order

LABELS = st.sampled_from(["OS", "SOFTWARE", "GONE"])
ANNOTATIONS = st.builds(
    lambda name, labels, aside, fields: given.annotation(
        *[(2 * n, 2 * n + 1, label) for n, label in enumerate(labels)], name=name, set_aside=aside, **fields
    ),
    st.sampled_from("12"),
    st.lists(LABELS, max_size=2),
    st.lists(st.sampled_from([PERSON, BEYOND, NotLearned(OVERLAPS, region("OS"))]), max_size=2),
    st.fixed_dictionaries(
        {
            "skipped": st.booleans(),
            "ground_truth": st.booleans(),
            "source_updated_at": st.integers(1, 5).map(given.at),
        }
    ),
)
STEPS = st.lists(st.tuples(st.integers(0, 3), ANNOTATIONS, st.booleans()), max_size=12)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@for_all(steps=STEPS)
def test_no_text_in_doubt_is_ever_gold_and_every_labelled_text_is_one_of_the_two(
    store: Store, project: Project, steps: list[tuple[int, NewAnnotation, bool]]
) -> None:
    """Annotations come, change and go in any order; `live` is what the rule says, told by plain Python."""
    here = given.project(store, f"p{utc_now().timestamp()}")
    live: dict[int, dict[str, tuple[int, NewAnnotation]]] = {}
    with store.transaction() as tx:
        names = [NewDocument(f"text {n}", external_id=f"{n}") for n in range(4)]
        keys = [
            *add_documents(tx, here.id, names[:2], TRAIN).document_ids,
            *add_documents(tx, here.id, names[2:], HOLDOUT).document_ids,
        ]
        for number, (at, annotation, goes) in enumerate(steps):
            known = live.setdefault(keys[at], {})
            if goes:
                given.mark_annotation_deleted(tx, keys[at], annotation.source, annotation.source_id)
                known.pop(annotation.source_id, None)
                continue
            new = append_annotations(tx, [(keys[at], annotation)]).added
            order = number if new else known[annotation.source_id][0]
            known[annotation.source_id] = (order, annotation)
        found = labelled(tx.session, here.id)
        taught = {item.document_id for item in training_gold(tx.session, here.id).documents}
        judging = {item.document_id for item in gold(tx.session, here.id, [HOLDOUT])}
        fresh = count_fresh_gold(tx.session, here.id, given.at(0))
        counts = project_counts(tx.session, here.id)
        assert has_gold(tx.session, here.id) == bool(taught)
    clear, doubted = set(), set()
    for document, known in live.items():
        said = [(one.ground_truth, one.source_updated_at, order, one) for order, one in known.values()]
        believed = max((item for item in said if not item[3].skipped), default=None, key=lambda item: item[:3])
        if believed is not None:
            unknown = {span.label for span in believed[3].spans or ()} - {"OS", "SOFTWARE"}
            (doubted if believed[3].doubts or unknown else clear).add(document)
    assert {item.document_id for item in found.gold} == clear == taught | judging
    assert {item.document_id for item in found.doubtful} == doubted
    assert not doubted & (taught | judging)
    assert (counts.gold, counts.holdout_gold, counts.doubts.documents) == (len(taught), len(judging), len(doubted))
    assert fresh == len(taught)
