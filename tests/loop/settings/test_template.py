from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from loop.settings.template import config_of_labels, xml_of
from ner.label_studio.label_config import Control, LabelConfig

# Any character of XML 1.0 but the line breaks and tabs of a name, which no label config of a person has.
NAMES = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), min_size=1, max_size=8).filter(
    lambda name: name == name.strip() and name not in {"O", "micro", "macro"}
)
CONTROLS = st.builds(
    Control, NAMES.map("c_{}".format), st.lists(NAMES, min_size=1, max_size=12, unique=True).map(tuple)
)
FIELDS = st.from_regex(r"[A-Za-z0-9_]{1,6}(\.[A-Za-z0-9_]{1,6}){0,3}", fullmatch=True)


@given(
    st.lists(CONTROLS, min_size=1, max_size=3, unique_by=lambda control: control.name),
    NAMES.filter(lambda name: "," not in name),
    FIELDS,
)
def test_a_label_config_is_read_as_it_was_written(controls: list[Control], to_name: str, field: str) -> None:
    config = LabelConfig(tuple(controls), to_name, field)
    assert LabelConfig.parse(xml_of(config)) == config


def test_labels_alone_make_one_control_over_the_field_text() -> None:
    config = LabelConfig.parse(config_of_labels("SOFTWARE, OS"))
    assert config == LabelConfig((Control("label", ("SOFTWARE", "OS")),), "text", "text")
