from __future__ import annotations

import pytest

from ner.errors import InputError
from ner.label_studio.label_config import Control, LabelConfig, label_hints

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
    assert LabelConfig.parse(PLAIN) == LabelConfig((Control("label", ("SOFTWARE", "OS")),), "text", "text")


def test_any_names_nesting_case_and_namespace_are_read() -> None:
    xml = """<?xml version="1.0" encoding="utf-16"?>
    <!-- <Labels name="no" toName="no"/> -->
    <v:View xmlns:v="urn:views"><v:View style="x"><v:LABELS name="my tags" toname="body">
      <v:View><v:Label value="Betriebssystem"/></v:View></v:LABELS></v:View>
      <v:Collapse><v:text name="body" value=" $ticket.body_2 "/></v:Collapse></v:View>"""
    config = LabelConfig.parse(xml)
    assert (config.to_name, config.data_field) == ("body", "ticket.body_2")
    assert config.controls == (Control("my tags", ("Betriebssystem",)),)


def test_the_alias_of_a_label_is_what_results_hold() -> None:
    xml = labels_over('<Text name="t" value="$t"/>', label='<Label value="Operating system" alias="OS"/>')
    assert LabelConfig.parse(xml).labels == ("OS",)


SEVERAL = """<View>
  <Labels name="sound" toName="audio"><Label value="Noise"/></Labels>
  <Labels name="first" toName="t"><Label value="B"/><Label value="A"/></Labels>
  <Labels name="second" toName="i, t"><Label value="C"/><Label value="A"/></Labels>
  <Labels name="third" toName="title"><Label value="D"/></Labels>
  <Audio name="audio" value="$wav"/><Text name="t" value="$t"/><Text name="title" value="$title"/>
  <Image name="i" value="$i"/>
  <Choices name="mood" toName="t"><Choice value="good"/></Choices>
</View>"""


def test_all_labels_over_the_first_text_are_learned() -> None:
    config = LabelConfig.parse(SEVERAL)
    assert config.controls == (Control("first", ("B", "A")), Control("second", ("C", "A")))
    assert (config.to_name, config.labels) == ("t", ("B", "A", "C"))


def test_a_label_is_written_with_the_first_control_that_has_it() -> None:
    config = LabelConfig.parse(SEVERAL)
    assert [config.control_of(label) for label in config.labels] == ["first", "first", "second"]
    with pytest.raises(InputError, match="a label is one of B, A, C: got D"):
        config.control_of("D")


def test_what_is_not_learned_from_is_named_with_the_reason() -> None:
    others = LabelConfig.parse(SEVERAL).others
    assert [(other.tag, other.name, other.to_names, other.labels) for other in others] == [
        ("Labels", "sound", ("audio",), ("Noise",)),
        ("Labels", "second", ("i",), ("C", "A")),
        ("Labels", "third", ("title",), ("D",)),
        ("Choices", "mood", ("t",), ()),
    ]
    assert others[0].why == "it labels <Audio name='audio'>, and <Text name='t'> is learned"
    assert others[2].why == "it labels <Text name='title'>, and <Text name='t'> is learned"


@pytest.mark.parametrize(
    ("from_name", "to_name", "accepted", "known"),
    [
        ("first", "t", True, False),
        ("second", "t", True, False),
        ("second", "i", False, True),
        ("first", "title", False, False),
        ("third", "title", False, True),
        ("third", "t", False, False),
        ("mood", "t", False, True),
        ("ner_tags", "t", False, False),
        (["first"], {"t": 1}, False, False),
        (None, None, False, False),
    ],
)
def test_a_region_is_of_a_learned_control_of_another_or_of_none(
    from_name: object, to_name: object, accepted: bool, known: bool
) -> None:
    config = LabelConfig.parse(SEVERAL)
    assert (config.accepts(from_name, to_name), config.knows(from_name, to_name)) == (accepted, known)


def test_a_foreign_control_is_accepted_beside_the_own_and_writes_nothing() -> None:
    config = LabelConfig.parse(SEVERAL).with_control("ner_tags", "doc")
    assert config.accepts("ner_tags", "doc") and config.accepts("first", "t")
    assert not config.accepts("ner_tags", "t") and not config.accepts(["ner_tags"], "doc")
    assert config.control_of("A") == "first"


def test_the_controls_of_a_repeater_are_known_by_their_numbers() -> None:
    repeated = '<Repeater><Labels name="turn_{{i}}" toName="said_{{i}}"><Label value="X"/></Labels></Repeater>'
    config = LabelConfig.parse(labels_over('<Text name="t" value="$t"/>', repeated))
    assert config.knows("turn_12", "said_12")
    assert not config.knows("turn_x", "said_12") and not config.knows("turn_", "said_")


def test_hypertext_and_paragraphs_beside_a_text_are_named() -> None:
    extra = """<HyperTextLabels name="h" toName="html"><Label value="X"/></HyperTextLabels>
      <HyperText name="html" value="$html"/>
      <ParagraphLabels name="p" toName="talk"><Label value="X"/></ParagraphLabels>
      <Labels name="l" toName="talk"><Label value="X"/></Labels>
      <Paragraphs name="talk" value="$talk"/>"""
    config = LabelConfig.parse(labels_over('<Text name="t" value="$t"/>', extra))
    assert [other.why for other in config.others] == [
        f"it labels <{shown}>, and only <Labels> over a <Text> can be learned"
        for shown in ("HyperText name='html'", "Paragraphs name='talk'", "Paragraphs name='talk'")
    ]


@pytest.mark.parametrize("tag", ["HyperText", "Paragraphs"])
def test_a_config_with_only_hypertext_or_paragraphs_is_refused_by_that_rule(tag: str) -> None:
    with pytest.raises(
        InputError, match=rf"<Labels name='ner'> \(OS\): it labels <{tag} name='t'>, and only <Labels> over"
    ):
        LabelConfig.parse(labels_over(f'<{tag} name="t" value="$t"/>'))


@pytest.mark.parametrize("text", ['<Text name="other" value="$t"/>', '<Header name="t" value="$t"/>', ""])
def test_a_config_without_labels_over_a_text_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="a config has <Labels> over a <Text>: got <Labels name='ner'>"):
        LabelConfig.parse(labels_over(text))


@pytest.mark.parametrize(
    ("attributes", "at_fault", "mend"),
    [
        ('value="Read this"', "value='Read this'", "Fixed words"),
        ("", "value=''", "Show one field"),
        ('value="$"', "value='$'", "Show one field"),
        ('value="$title: $body"', "value='$title: $body'", "templates"),
        ('value="$ticket body"', "value='$ticket body'", "letters a-z"),
        ('value="$ticket-body"', "value='$ticket-body'", "letters a-z"),
        ('value="$parts[0]"', "value='$parts[0]'", "places in a list"),
        ('value="$items[{{idx}}].text"', "value='$items[{{idx}}].text'", "places in a list"),
        ('value="$data..body"', "value='$data..body'", "points for nested fields"),
        ('value="$t" valueType="url"', "valueType='url'", "import them as a field"),
        ('value="$t" encoding="base64"', "encoding='base64'", "decode them"),
        ('value="$t" resolver="csv"', "resolver='csv'", "import them as a field"),
    ],
)
def test_a_text_that_does_not_show_one_field_is_refused_by_the_attribute_at_fault(
    attributes: str, at_fault: str, mend: str
) -> None:
    with pytest.raises(InputError) as refused:
        LabelConfig.parse(labels_over(f'<Text name="t" {attributes}/>'))
    assert f"<Text name='t'> has {at_fault}" in str(refused.value)
    assert mend in (refused.value.next_step or "")


def test_of_several_texts_the_first_that_can_be_read_is_learned_and_the_other_named() -> None:
    extra = '<Labels name="more" toName="u"><Label value="X"/></Labels><Text name="u" value="$u" valueType="text"/>'
    config = LabelConfig.parse(labels_over('<Text name="t" value="$t" valueType="url"/>', extra))
    assert (config.to_name, config.labels) == ("u", ("X",))
    assert [other.why for other in config.others] == [
        "it labels <Text name='t'>, which cannot be read: valueType='url'"
    ]


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


def test_the_hints_of_labels_are_known_by_the_names_that_results_have():
    xml = (
        '<View><Labels name="l" toName="t"><Label value="Ship" alias="VESSEL" hint=" the name of a ship "/>'
        '<Label value="PORT"/></Labels><Text name="t" value="$text"/></View>'
    )
    assert label_hints(xml) == {"VESSEL": "the name of a ship"}
