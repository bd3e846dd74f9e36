"""Signs of corrupted gold, on made-up counts: what is found, and that honest annotations hardly ever show a sign."""

from __future__ import annotations

import random

import pytest

from loop.quality.corruption import (
    AnnotatorCheck,
    CountShift,
    GoldCheck,
    NewAnnotationText,
    check_annotators,
    count_shifts,
    warnings_of,
)
from ner.label_studio.edits import Edits
from ner.spans import Span

TYPES = ("OS", "SOFTWARE", "HARDWARE", "VERSION", "ERROR")
# Of 200 honest batches at a level of 1 %, more than 7 warn with a chance of 1 in 1,000 (binomial).
MOST_FALSE = 7


def truth(rng: random.Random, texts: int = 300) -> list[list[str]]:
    """The types of the entities of each text; some texts have many, and some types are rare."""
    weights = (8, 8, 4, 1, 0.3)
    return [rng.choices(TYPES, weights, k=rng.choice((0, 1, 2, 2, 8))) for _ in range(texts)]


def said(rng: random.Random, texts: list[list[str]], recall: float = 0.8) -> list[list[Span]]:
    """What a model of this recall says: it misses all entities of a type in a text together, and invents some."""
    found = []
    for types in texts:
        seen = {name for name in TYPES if rng.random() < recall}
        kept = [name for name in types if name in seen]
        kept += [rng.choice(TYPES)] if rng.random() < 0.05 else []
        found.append([Span(10 * place, 10 * place + 5, name) for place, name in enumerate(kept)])
    return found


def shifts(
    served: list[list[Span]], candidate: list[list[Span]], groups: list[str] | None = None
) -> dict[str, CountShift]:
    found = count_shifts(served, candidate, groups or [str(n) for n in range(len(served))], TYPES, seed=1)
    return {one.name: one for one in found}


def test_models_that_differ_by_chance_alone_hardly_ever_warn() -> None:
    rng, warned = random.Random(5), 0
    for _ in range(200):
        texts = truth(rng)
        found = shifts(said(rng, texts), said(rng, texts))
        warned += any(one.warns for one in found.values())
    assert warned <= MOST_FALSE


def test_switched_labels_are_found_by_the_counts_of_the_types() -> None:
    rng = random.Random(6)
    texts = truth(rng)
    switched = [
        [Span(one.start, one.end, "HARDWARE" if one.label == "OS" else one.label) for one in spans]
        for spans in said(rng, texts)
    ]
    found = shifts(said(rng, texts), switched)
    assert {name for name, one in found.items() if one.warns} == {"OS", "HARDWARE"}
    assert found["OS"].candidate == 0


@pytest.mark.parametrize(
    ("served", "candidate", "warns"),
    [
        (100, 199, False),  # shown, but not twice as often
        (100, 200, True),
        (200, 100, True),
        (2, 6, False),  # three times as often, as chance may have it
        (0, 40, True),
        (40, 0, True),
        (0, 0, False),
    ],
)
def test_a_type_warns_when_its_count_doubles_or_halves_beyond_chance(served: int, candidate: int, warns: bool) -> None:
    texts = max(served, candidate, 1)
    old, new = ([[Span(0, 5, "OS")] if n < number else [] for n in range(texts)] for number in (served, candidate))
    assert shifts(old, new)["OS"].warns is warns


def test_one_document_with_many_entities_is_one_observation() -> None:
    many = [[Span(10 * n, 10 * n + 5, "OS")] for n in range(40)]
    nothing: list[list[Span]] = [[]] * 40
    assert shifts(nothing, many)["OS"].warns
    assert not shifts(nothing, many, ["one document"] * 40)["OS"].warns


def batch(rng: random.Random, errors: dict[str, float], each: int = 40) -> list[NewAnnotationText]:
    """Annotations of people with these shares of regions that differ from the served model."""
    made = []
    for who, share in errors.items():
        for number in range(each):
            own = min(1.0, share * rng.choice((0.4, 1.0, 1.6)))  # texts differ in how hard they are
            regions = rng.randint(0, 6)
            changed = sum(rng.random() < own for _ in range(regions))
            made.append(NewAnnotationText(who, f"{who} {number}", Edits(kept=regions - changed, retyped=changed)))
    return made


def checked(items: list[NewAnnotationText]) -> dict[str | None, AnnotatorCheck]:
    return {one.who: one for one in check_annotators(items, [item.who for item in items], seed=1)}


def test_people_who_work_alike_hardly_ever_warn() -> None:
    rng, warned = random.Random(7), 0
    for _ in range(200):
        found = checked(batch(rng, dict.fromkeys("123", 0.3), each=12))
        warned += any(one.warns for one in found.values())
    assert warned <= MOST_FALSE


def test_a_careless_annotator_stands_out_against_the_others() -> None:
    found = checked(batch(random.Random(8), {"1": 0.2, "2": 0.2, "3": 0.6}))
    assert {who for who, one in found.items() if one.warns} == {"3"}
    careless = found["3"]
    assert (careless.annotations, careless.texts) == (40, 40)
    assert careless.share == careless.differing / careless.regions > 0.45
    assert careless.others_share is not None and careless.others_share < 0.3


def test_a_difference_of_less_than_ten_points_is_no_sign_however_sure_it_is() -> None:
    items = [
        NewAnnotationText(who, f"{who} {n}", Edits(kept=9, moved=n < more))
        for who, more in (("1", 100), ("2", 400))
        for n in range(500)
    ]
    found = checked(items)["2"]
    assert found.p_value is not None and found.p_value < 0.001
    assert not found.warns


def test_who_annotates_alone_is_compared_with_nobody() -> None:
    (only,) = check_annotators([NewAnnotationText("1", "a", Edits(removed=3))], ["1", "1"], seed=1)
    assert (only.annotations, only.texts, only.share, only.others_share) == (2, 1, 1.0, None)
    assert only.p_value is None and not only.warns


def test_nothing_to_compare_is_no_sign() -> None:
    assert check_annotators([], [], seed=1) == ()
    (only,) = check_annotators([], ["1"], seed=1)
    assert (only.annotations, only.regions, only.share, only.warns) == (1, 0, None, False)


def test_a_sign_is_told_with_the_people_whose_annotations_are_new() -> None:
    quiet = GoldCheck("desk-1", 300, (CountShift("OS", 40, 44, 0.6, False),), ())
    assert warnings_of(quiet, "desk-2") == ()
    people = (
        AnnotatorCheck("3", 40, 40, 120, 60, 0.5, 0.2, 0.0001, True),
        AnnotatorCheck(None, 9, 9, 1, 0, 0, 0.5, 1, False),
    )
    told = " ".join(warnings_of(GoldCheck("desk-1", 300, (CountShift("OS", 40, 4, 0.0001, True),), people), "desk-2"))
    assert "OS: desk-2 finds 4 on 300 unlabelled texts, desk-1 finds 40." in told
    assert "Annotator 3: 50% of 120 regions differ from what desk-1 says" in told
    assert "49 annotations are new since desk-1: 40 by 3, 9 by nobody named." in told
