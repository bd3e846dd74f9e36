"""What is handed to Label Studio is what Label Studio's own SDK takes for a prediction of the config."""

from __future__ import annotations

from typing import Any
from xml.sax.saxutils import quoteattr

import pytest
from hypothesis import given
from hypothesis import strategies as st
from label_studio_sdk.label_interface import LabelInterface

from ner.label_studio.label_config import LabelConfig
from ner.label_studio.results import to_result
from ner.spans import Span

NAMES = st.from_regex(r"[a-z][a-z0-9_-]{0,8}", fullmatch=True)
FIELDS = st.from_regex(r"[a-z_]{1,4}(\.[a-z_]{1,4}){0,2}", fullmatch=True)
LABELS = st.lists(st.text("ABCÄ 'é<&_-", min_size=1, max_size=8).map(str.strip).filter(bool), min_size=1, unique=True)


def labelling_config(control: str, thing: str, field: str, labels: list[str]) -> str:
    rows = "".join(f"<Label value={quoteattr(label)}/>" for label in labels)
    tags = f'<Labels name="{control}" toName="{thing}">{rows}</Labels><Text name="{thing}" value="${field}"/>'
    return f"<View>{tags}</View>"


def sdk_errors(config: str, result: list[dict[str, Any]]) -> list[str]:
    prediction = {"model_version": "desk-0001", "score": 0.5, "result": result}
    errors: list[str] = LabelInterface(config).validate_prediction(prediction, return_errors=True)
    return errors


@given(NAMES, NAMES, FIELDS, LABELS, st.text(min_size=4, max_size=30), st.data())
def test_the_sdk_takes_every_prediction(
    control: str, thing: str, field: str, labels: list[str], text: str, data: st.DataObject
) -> None:
    config = labelling_config(control, thing + "_", field, labels)
    scores = st.none() | st.floats(0, 1)
    spans = [
        Span(start, end, data.draw(st.sampled_from(labels)), data.draw(scores))
        for start, end in ((0, 1), (1, len(text)))
    ]
    assert sdk_errors(config, to_result(spans, text, LabelConfig.parse(config))) == []


@pytest.mark.parametrize(("part", "value"), [("from_name", "other"), ("to_name", "other"), ("type", "choices")])
def test_the_sdk_refuses_what_does_not_fit(part: str, value: str) -> None:
    config = labelling_config("label", "text", "text", ["A"])
    (region,) = to_result([Span(0, 2, "A")], "text", LabelConfig.parse(config))
    assert sdk_errors(config, [region | {part: value}])
