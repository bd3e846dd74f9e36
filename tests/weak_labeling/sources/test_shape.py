"""Kind "shape": X, x and d, whole tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from weak_labeling.sources.entry import EntryError, SourceContext
from weak_labeling.sources.shape import ShapeEntry


def found(text: str, *shapes: str, **keys: object) -> list[str]:
    entry = ShapeEntry.model_validate({"name": "it", "kind": "shape", "label": "A", "shapes": shapes, **keys})
    return [text[span.start : span.end] for span in entry.build(SourceContext(Path(), ()))(text)]


@pytest.mark.parametrize(
    ("shape", "text", "expected"),
    [
        ("dddd-dd-dd", "on 2024-05-06, 12024-05-06 and 2024-05-067", ["2024-05-06"]),
        ("Xx-ddd", "(Ab-123) Éß-456 ab-123 AB-123", ["Ab-123", "Éß-456"]),
        ("KBd+", "KB5034441, kb12 KB", ["KB5034441"]),
        ("Xx+", "Oslo and Łódź, oslo", ["Oslo", "Łódź"]),
        ("dd.dd", "10.20 and 10.20.30", ["10.20"]),
        ("#d+", "see #12!", ["#12"]),
        ("IMO d+", "IMO\n9321483, IMO no", ["IMO\n9321483"]),
        (r"\d\+d", "d+4 44", ["d+4"]),
    ],
)
def test_a_shape_is_found_as_whole_tokens(shape: str, text: str, expected: list[str]) -> None:
    assert found(text, shape) == expected


def test_the_longest_of_several_shapes_wins() -> None:
    assert found("No 12 34", "dd", "dd dd") == ["12 34"]


@pytest.mark.parametrize("shapes", [(), ("+d",), ("X++",), ("d\\",)])
def test_a_shape_that_says_nothing_is_refused(shapes: tuple[str, ...]) -> None:
    with pytest.raises(EntryError) as refusal:
        found("x", *shapes)
    assert refusal.value.key == "shapes"


def test_a_shape_takes_a_context() -> None:
    assert found("code 12, room 12", "dd", before="code") == ["12"]
