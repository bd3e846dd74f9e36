"""The control of a project's Label Studio config that is learned from, under the names that the project gave it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

from ner.errors import InputError
from ner.labels import LabelSet

OTHER_CONTROL = "other control"
UNSUPPORTED_OBJECT = "unsupported object (HyperText/Paragraphs)"
MAX_CONFIG_CHARS = 1_000_000

_UNSUPPORTED_CONTROLS = frozenset({"hypertextlabels", "paragraphlabels"})
_UNSUPPORTED_OBJECTS = frozenset({"hypertext", "paragraphs"})
_WANTED = 'The config needs <Labels> over a <Text> that shows a data field, e.g. value="$text".'


@dataclass(frozen=True, slots=True)
class NotLearned:
    """Something that cannot be learned from: the name of the reason, and the JSON as it came."""

    reason: str
    payload: Any


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """The one control that is learned from: the first <Labels> (in document order) over a <Text>.

    labels: the names that Label Studio writes into results: a label's `alias`, or its `value` where there is no alias.
    set_aside: the config's other controls, each as {"tag", "name", "toName"}.
    """

    from_name: str
    to_name: str
    data_field: str
    object_type: str
    labels: tuple[str, ...]
    set_aside: tuple[NotLearned, ...] = ()

    @classmethod
    def parse(cls, xml: str) -> LabelConfig:
        """Read a labelling config. Tag and attribute names match in any case and any XML namespace.

        Raises InputError for XML that is malformed or declares a DTD, for a config without <Labels> over a <Text> that
        shows one data field, and for labels that are missing, repeated or break a rule of `LabelSet`.
        """
        elements = [_Element.of(node) for node in _parse_xml(xml).iter() if isinstance(node.tag, str)]
        objects = {element.name: element for element in elements if element.name and not element.targets}
        controls = [element for element in elements if element.name and element.targets]
        chosen = next(_learnable(controls, objects), None)
        if chosen is None:
            raise _no_labels_over_text(controls, objects)
        control, text, field = chosen
        others = tuple(_set_aside(other, objects) for other in controls if other is not control)
        return cls(control.name, text.name, field, "Text", _labels_of(control), others)


@dataclass(frozen=True, slots=True, eq=False)
class _Element:
    tag: str
    attributes: dict[str, str]
    node: ElementTree.Element

    @classmethod
    def of(cls, node: ElementTree.Element) -> _Element:
        attributes = {_local(key): value for key, value in node.attrib.items()}
        return cls(_local(node.tag), attributes, node)

    @property
    def name(self) -> str:
        return self.attributes.get("name", "")

    @property
    def targets(self) -> tuple[str, ...]:
        return tuple(name.strip() for name in self.attributes.get("toname", "").split(",") if name.strip())


def _parse_xml(xml: object) -> ElementTree.Element:
    """The root. A document type is refused, since it can declare entities that grow without bound (CVE-2003-1564)."""
    if not isinstance(xml, str):
        raise InputError("a labelling config is a string of XML", value=xml)
    if len(xml) > MAX_CONFIG_CHARS:
        raise InputError(f"a labelling config has at most {MAX_CONFIG_CHARS:,} characters", value=f"{len(xml):,}")
    if "<!DOCTYPE" in xml or "<!ENTITY" in xml:
        raise InputError("a labelling config declares no document type or entity", next_step="Remove the declaration.")
    try:
        return ElementTree.fromstring(xml)
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError("a labelling config is well-formed XML", value=str(error), next_step=_WANTED) from error


def _learnable(controls: list[_Element], objects: dict[str, _Element]) -> Iterator[tuple[_Element, _Element, str]]:
    """Each <Labels>, the <Text> it labels, and the data field shown there."""
    for control in controls:
        for target in control.targets if control.tag == "labels" else ():
            shown = objects.get(target)
            field = _data_field(shown) if shown is not None and shown.tag == "text" else None
            if shown is not None and field is not None:
                yield control, shown, field


def _data_field(text: _Element) -> str | None:
    """The task field that a <Text> shows as it is; None for fixed words, templates, addresses and encoded text."""
    if text.attributes.get("valuetype", "text").lower() != "text":
        return None
    if text.attributes.get("encoding", "none").lower() != "none":
        return None
    bound = re.fullmatch(r"\$([^${}\[\]]+)", text.attributes.get("value", "").strip())
    return bound.group(1) if bound else None


def _labels_of(control: _Element) -> tuple[str, ...]:
    found = [_Element.of(node) for node in control.node.iter() if isinstance(node.tag, str)]
    labels = [element.attributes for element in found if element.tag == "label"]
    names = [label.get("alias") or label.get("value", "") for label in labels]
    if not names:
        raise InputError(
            "a <Labels> control lists its labels",
            value=f"{control.name} without <Label>",
            next_step='Labels that come from task data cannot be learned: write <Label value="..."/> for each type.',
        )
    return LabelSet(tuple(names)).types


def _set_aside(control: _Element, objects: dict[str, _Element]) -> NotLearned:
    shown = {objects[target].tag for target in control.targets if target in objects}
    spans_elsewhere = control.tag == "labels" and shown & _UNSUPPORTED_OBJECTS
    reason = UNSUPPORTED_OBJECT if control.tag in _UNSUPPORTED_CONTROLS or spans_elsewhere else OTHER_CONTROL
    payload = {"tag": _local_as_written(control.node), "name": control.name, "toName": ",".join(control.targets)}
    return NotLearned(reason, payload)


def _no_labels_over_text(controls: list[_Element], objects: dict[str, _Element]) -> InputError:
    aside = [_set_aside(control, objects) for control in controls]
    unsupported = [item.payload["name"] for item in aside if item.reason == UNSUPPORTED_OBJECT]
    if unsupported:
        rule = f"{UNSUPPORTED_OBJECT}: only <Labels> over a <Text> can be learned"
        return InputError(rule, value=", ".join(unsupported), next_step=_WANTED)
    found = ", ".join(f"<{item.payload['tag']} name={item.payload['name']!r}>" for item in aside) or "no control"
    return InputError("a config has <Labels> over a <Text>", value=found, next_step=_WANTED)


def _local_as_written(node: ElementTree.Element) -> str:
    return str(node.tag).rpartition("}")[2]


def _local(name: str) -> str:
    """The name without its namespace, in lower case, as the page of Label Studio matches tags."""
    return name.rpartition("}")[2].lower()
