"""The example `utility_specs`: its measures end where the number and its unit end."""

from __future__ import annotations

import pytest

from scripts.build_example import EXAMPLES
from weak_labeling.functions import load_functions


@pytest.mark.parametrize(
    ("text", "measures"),
    [
        ("Nothing grows above 3 ft. Trees beside it do.", ["3 ft"]),
        ("within the range of 3 to 5 in. Three cylinders", ["3 to 5 in"]),
        ("22 ft 6 in is kept; up to 200 acres 25 ft 6 in.", ["22 ft 6 in", "200 acres", "25 ft 6 in"]),
        ("6 in by 8 in, at 28 days 4,310 psi", ["6 in by 8 in", "28 days", "4,310 psi"]),
    ],
)
def test_a_measure_is_whole_and_leaves_the_full_stop(text: str, measures: list[str]) -> None:
    functions = {one.name: one for one in load_functions(EXAMPLES / "utility_specs" / "labeling_functions.py")}
    found = functions["measures"](text) or ()
    assert [text[span.start : span.end] for span in found] == measures
