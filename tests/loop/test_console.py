"""Names in cells are folded between their words, where they have to be."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from loop.console import Name, table, unfolded

LONG = "nationalities_before_a_kind (muted)"


def lines(width: int, *names: str) -> list[str]:
    made = table("", ("source",), ())
    made.add_column("votes", no_wrap=True)
    for name in names:
        made.add_row(Name(name), "1,234,567")
    out = Console(file=io.StringIO(), width=width)
    with out.capture() as told:
        out.print(made)
    return [line.rstrip() for line in told.get().splitlines()]


@pytest.mark.parametrize(
    ("room", "folded"),
    [
        (40, [LONG]),
        (30, ["nationalities_before_a_kind", "  (muted)"]),
        (24, ["nationalities_before_a_", "  kind (muted)"]),
        (16, ["nationalities_", "  before_a_kind", "  (muted)"]),
    ],
)
def test_a_name_is_folded_between_its_words(room: int, folded: list[str]) -> None:
    shown = lines(room + len("  1,234,567"), LONG)[1:]
    assert shown[0].endswith("1,234,567")
    assert [line.removesuffix("1,234,567").rstrip() for line in shown] == folded


def test_names_that_have_room_and_markup_in_a_name_are_left_alone() -> None:
    assert lines(40, "names", "[red]x", "", "数据_源")[1:] == [
        "names    1,234,567",
        "[red]x   1,234,567",
        "         1,234,567",
        "数据_源  1,234,567",
    ]


def test_an_unfolded_table_is_as_wide_as_it_must_be() -> None:
    made = table("", ("source", *map(str, range(100, 130))), ())
    made.add_row(Name(LONG), *["1,234,567"] * 30)
    assert [len(line.split()) for line in unfolded(made).splitlines()] == [31, 32]
