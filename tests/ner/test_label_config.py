from __future__ import annotations

import pytest

from ner.errors import InputError
from ner.label_config import OTHER_CONTROL, UNSUPPORTED_OBJECT, LabelConfig, NotLearned

PLAIN = """
<View>
  <Labels name="label" toName="text">
    <Label value="SOFTWARE" background="red"/>
    <Label value="OS"/>
  </Labels>
  <Text name="text" value="$text"/>
</View>
"""


def labels_over(text: str, extra: str = "", label: str = '<Label value="OS"/>') -> str:
    return f'<View><Labels name="ner" toName="t">{label}</Labels>{text}{extra}</View>'


def test_names_field_and_labels_come_from_the_config() -> None:
    assert LabelConfig.parse(PLAIN) == LabelConfig("label", "text", "text", "Text", ("SOFTWARE", "OS"))


def test_any_names_nesting_case_and_namespace_are_read() -> None:
    xml = """<?xml version="1.0" encoding="utf-16"?>
    <!-- <Labels name="no" toName="no"/> -->
    <v:View xmlns:v="urn:views"><v:View style="x"><v:LABELS name="my tags" toname="body">
      <v:View><v:Label value="Betriebssystem"/></v:View></v:LABELS></v:View>
      <v:Collapse><v:text name="body" value="$ticket body"/></v:Collapse></v:View>"""
    config = LabelConfig.parse(xml)
    assert (config.from_name, config.to_name, config.data_field) == ("my tags", "body", "ticket body")
    assert config.labels == ("Betriebssystem",)


def test_the_alias_of_a_label_is_what_results_hold() -> None:
    xml = labels_over('<Text name="t" value="$t"/>', label='<Label value="Operating system" alias="OS"/>')
    assert LabelConfig.parse(xml).labels == ("OS",)


def test_of_several_labels_controls_the_first_over_a_text_is_learned_and_the_others_named() -> None:
    xml = """<View>
      <Labels name="sound" toName="audio"><Label value="Noise"/></Labels>
      <Labels name="first" toName="t"><Label value="A"/></Labels>
      <Labels name="second" toName="t"><Label value="B"/></Labels>
      <Audio name="audio" value="$wav"/><Text name="t" value="$t"/>
      <Choices name="mood" toName="t"><Choice value="good"/></Choices>
    </View>"""
    config = LabelConfig.parse(xml)
    assert (config.from_name, config.labels) == ("first", ("A",))
    assert config.set_aside == (
        NotLearned(OTHER_CONTROL, {"tag": "Labels", "name": "sound", "toName": "audio"}),
        NotLearned(OTHER_CONTROL, {"tag": "Labels", "name": "second", "toName": "t"}),
        NotLearned(OTHER_CONTROL, {"tag": "Choices", "name": "mood", "toName": "t"}),
    )


def test_hypertext_and_paragraphs_beside_a_text_are_named() -> None:
    extra = """<HyperTextLabels name="h" toName="html"><Label value="X"/></HyperTextLabels>
      <HyperText name="html" value="$html"/>
      <ParagraphLabels name="p" toName="talk"><Label value="X"/></ParagraphLabels>
      <Labels name="l" toName="talk"><Label value="X"/></Labels>
      <Paragraphs name="talk" value="$talk"/>"""
    config = LabelConfig.parse(labels_over('<Text name="t" value="$t"/>', extra))
    assert [(item.reason, item.payload["name"]) for item in config.set_aside] == [
        (UNSUPPORTED_OBJECT, "h"),
        (UNSUPPORTED_OBJECT, "p"),
        (UNSUPPORTED_OBJECT, "l"),
    ]


@pytest.mark.parametrize("tag", ["HyperText", "Paragraphs"])
def test_a_config_with_only_hypertext_or_paragraphs_is_refused_by_that_rule(tag: str) -> None:
    with pytest.raises(InputError, match=r"unsupported object \(HyperText/Paragraphs\).*ner"):
        LabelConfig.parse(labels_over(f'<{tag} name="t" value="$t"/>'))


@pytest.mark.parametrize(
    "text",
    [
        '<Text name="t" value="Read this"/>',
        '<Text name="t"/>',
        '<Text name="t" value="$"/>',
        '<Text name="t" value="$title: $body"/>',
        '<Text name="t" value="$items[{{idx}}].text"/>',
        '<Text name="t" value="$t" valueType="url"/>',
        '<Text name="t" value="$t" encoding="base64"/>',
        '<Text name="other" value="$t"/>',
        "",
    ],
)
def test_a_text_that_does_not_show_one_data_field_cannot_be_learned_over(text: str) -> None:
    with pytest.raises(InputError, match="a config has <Labels> over a <Text>"):
        LabelConfig.parse(labels_over(text))


def test_of_several_objects_of_one_control_the_text_is_learned() -> None:
    xml = labels_over('<Image name="i" value="$i"/><Text name="t" value="$t" valueType="text"/>')
    assert LabelConfig.parse(xml.replace('toName="t"', 'toName="i, t"')).to_name == "t"


@pytest.mark.parametrize(
    ("label", "rule"),
    [
        ("", "lists its labels"),
        ("<Label/>", "not empty"),
        ('<Label value=" OS"/>', "no whitespace at its ends"),
        ('<Label value="O"/>', "not named"),
        ('<Label value="OS"/><Label value="OS"/>', "unique"),
        ('<Label value="a" alias="OS"/><Label value="OS"/>', "unique"),
    ],
)
def test_labels_that_break_a_rule_are_refused(label: str, rule: str) -> None:
    with pytest.raises(InputError, match=rule):
        LabelConfig.parse(labels_over('<Text name="t" value="$t"/>', label=label))


@pytest.mark.parametrize(
    "xml", ["", "<View>", "plain words", "<View></View><View/>", "\ud800", "<a\0/>", None, b"<View/>", 7]
)
def test_what_is_no_xml_is_refused(xml: str) -> None:
    with pytest.raises(InputError, match="labelling config"):
        LabelConfig.parse(xml)


@pytest.mark.parametrize(
    "declaration", ['<!DOCTYPE v [<!ENTITY a "ha"><!ENTITY b "&a;&a;">]>', '<!DOCTYPE v SYSTEM "file:///etc/passwd">']
)
def test_document_types_and_entities_are_refused_before_they_are_read(declaration: str) -> None:
    with pytest.raises(InputError, match="document type"):
        LabelConfig.parse(declaration + PLAIN)


def test_an_enormous_config_is_refused() -> None:
    with pytest.raises(InputError, match="1,000,000"):
        LabelConfig.parse(PLAIN + " " * 1_000_000)


def test_a_deeply_nested_config_is_read() -> None:
    deep = "<View>" * 20_000 + labels_over('<Text name="t" value="$t"/>') + "</View>" * 20_000
    assert LabelConfig.parse(deep).labels == ("OS",)
