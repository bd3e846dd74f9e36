"""What of a project's Label Studio config is learned from, under the names that the project gave it."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Any
from xml.etree import ElementTree

from ner.errors import InputError
from ner.labels import LabelSet

OTHER_CONTROL = "other control"
UNSUPPORTED_OBJECT = "unsupported object (HyperText/Paragraphs)"
MAX_CONFIG_CHARS = 1_000_000

_SPAN_CONTROLS = frozenset({"labels", "hypertextlabels", "paragraphlabels"})
_UNSUPPORTED_OBJECTS = frozenset({"hypertext", "paragraphs"})
_WANTED = 'The config needs <Labels> over a <Text> that shows a data field, e.g. value="$text".'
# What the page takes for a variable. For any other value, the page fills a template in or shows the words as they are.
_FIELD = re.compile(r"\$([A-Za-z0-9_]+(?:\.[A-Za-z0-9_]+){0,19})")


@dataclass(frozen=True, slots=True)
class NotLearned:
    """Something that cannot be learned from: the name of the reason, and the JSON as it came."""

    reason: str
    payload: Any


@dataclass(frozen=True, slots=True)
class Control:
    """A <Labels> control that is learned from, with its labels in document order."""

    name: str
    labels: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class OtherControl:
    """A control of the config over objects that are not learned from.

    to_names: these objects. labels: the labels of a control that marks spans of text; () for any
    other control. why: the reason in words, for people.
    """

    tag: str
    name: str
    to_names: tuple[str, ...]
    labels: tuple[str, ...]
    why: str

    def __str__(self) -> str:
        labels = f" ({', '.join(self.labels)})" if self.labels else ""
        return f"<{self.tag} name={self.name!r}>{labels}: {self.why}"


@dataclass(frozen=True, slots=True)
class LabelConfig:
    """The one <Text> that is learned from, and all <Labels> over that <Text>.

    The <Text> is the first (in the document order of the controls) that can be read and has <Labels>.

    data_field: the field of a task's data that the <Text> shows, such as "text" or "data.body" (`task_data` finds it).
    others: the controls of the config that are not learned from.
    foreign: further pairs of `from_name` and `to_name` whose regions are read as regions of the learned controls.
    """

    controls: tuple[Control, ...]
    to_name: str
    data_field: str
    others: tuple[OtherControl, ...] = ()
    foreign: tuple[tuple[str, str], ...] = ()

    @classmethod
    def parse(cls, xml: str) -> LabelConfig:
        """Read a labelling config. Tag and attribute names match in any case and any XML namespace.

        Raises InputError for XML that is malformed or declares a DTD, for a config without <Labels> over a <Text>, for
        a <Text> that does not show one field of the task as it is (the attribute at fault is named), and for labels
        that are missing, repeated within a control or break a rule of `LabelSet`.
        """
        elements = [_Element.of(node) for node in _parse_xml(xml).iter() if isinstance(node.tag, str)]
        objects = {element.name: element for element in elements if element.name and not element.targets}
        controls = [element for element in elements if element.name and element.targets]
        text = _learned_text(controls, objects)
        labels = [control for control in controls if control.tag == "labels" and text.name in control.targets]
        named = tuple(Control(control.name, _labels_of(control)) for control in labels)
        rests = [(control, _not_learned(control, text.name)) for control in controls]
        others = tuple(_other(control, rest, objects, text) for control, rest in rests if rest)
        config = cls(named, text.name, text.attributes["value"].strip().removeprefix("$"), others)
        LabelSet(config.labels)
        return config

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of all controls, each once, in document order.

        They are the names that Label Studio writes into results: a label's `alias`, or its `value` without an alias.
        """
        return tuple(dict.fromkeys(label for control in self.controls for label in control.labels))

    @property
    def left_out(self) -> tuple[OtherControl, ...]:
        """The other controls that mark spans, as <Labels> do: what people label with them is not learned."""
        return tuple(other for other in self.others if other.tag.lower() in _SPAN_CONTROLS)

    def control_of(self, label: str) -> str:
        """The name of the control to write `label` with: the first that has the label.

        Raises InputError for a label that no control has: the server drops a prediction with such a label in silence.
        """
        for control in self.controls:
            if label in control.labels:
                return control.name
        raise InputError(f"a label is one of {', '.join(self.labels)}", value=label)

    def accepts(self, from_name: object, to_name: object) -> bool:
        """Whether a region with these names is of a learned control over the learned text, or of a foreign pair."""
        own = to_name == self.to_name and any(control.name == from_name for control in self.controls)
        return own or any(pair == (from_name, to_name) for pair in self.foreign)

    def knows(self, from_name: object, to_name: object) -> bool:
        """Whether the config has such a control over such an object, and does not learn from that pair.

        Such a region says nothing of the learned text. A region that is neither accepted nor known is of a control that
        the config does not have.
        """
        return any(
            _fits(other.name, from_name) and any(_fits(one, to_name) for one in other.to_names) for other in self.others
        )

    def with_control(self, from_name: str, to_name: str) -> LabelConfig:
        """A copy that also reads the regions of a control of another config, such as the only one of a file."""
        return replace(self, foreign=(*self.foreign, (from_name, to_name)))


def label_hints(xml: str) -> dict[str, str]:
    """What the config says of its labels for people (`hint`), by the name that results have. Raises InputError."""
    elements = [_Element.of(node) for node in _parse_xml(xml).iter() if isinstance(node.tag, str)]
    labels = [one.attributes for one in elements if one.tag == "label" and one.attributes.get("hint", "").strip()]
    return {one.get("alias") or one.get("value", ""): one["hint"].strip() for one in labels}


def _fits(written: str, name: object) -> bool:
    """Whether `name` is the name in the config; in a <Repeater>, the page puts a number for each {{variable}}."""
    pattern = r"[0-9]+".join(re.escape(part) for part in re.split(r"\{\{\w+\}\}", written))
    return isinstance(name, str) and re.fullmatch(pattern, name) is not None


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


def _learned_text(controls: list[_Element], objects: dict[str, _Element]) -> _Element:
    """The first <Text> under <Labels> that can be read. Raises InputError that names what stands in the way."""
    targets = [name for control in controls if control.tag == "labels" for name in control.targets]
    texts = [objects[name] for name in targets if name in objects and objects[name].tag == "text"]
    if not texts:
        raise _no_labels_over_text(controls, objects)
    readable = next((text for text in texts if _fault(text) is None), None)
    if readable is None:
        raise _unreadable(texts[0])
    return readable


def _not_learned(control: _Element, text: str) -> list[str]:
    """The objects of a control from which nothing is learned."""
    return [name for name in control.targets if control.tag != "labels" or name != text]


def _fault(text: _Element) -> tuple[str, str] | None:
    """The name and the value of the attribute for which the texts of a <Text> cannot be read; None if they can be."""
    for name, harmless in (("valueType", "text"), ("encoding", "none"), ("resolver", "")):
        written = text.attributes.get(name.lower(), harmless)
        if written.lower() != harmless:
            return name, written
    value = text.attributes.get("value", "")
    return None if _FIELD.fullmatch(value.strip()) else ("value", value)


_MENDS = {
    "valueType": "The texts must stand in the tasks: import them as a field of the tasks and remove the attribute.",
    "encoding": "The texts must stand in the tasks as they are: decode them, import them and remove the attribute.",
    "resolver": "The texts must stand in the tasks: import them as a field of the tasks and remove the attribute.",
    "value": 'Show one field of the tasks as it is, e.g. value="$text" or value="$data.body": letters a-z, digits, '
    "underscores and points for nested fields. Fixed words, templates and places in a list cannot be read; write the "
    "text that they make into a field.",
}


def _unreadable(text: _Element) -> InputError:
    name, written = _fault(text) or ("value", "")
    shown = f"<{_local_as_written(text.node)} name={text.name!r}> has {name}={written!r}"
    return InputError("a <Text> under <Labels> shows one field of the task", value=shown, next_step=_MENDS[name])


def _label_names(control: _Element) -> list[str]:
    found = [_Element.of(node) for node in control.node.iter() if isinstance(node.tag, str)]
    labels = [element.attributes for element in found if element.tag == "label"]
    return [label.get("alias") or label.get("value", "") for label in labels]


def _labels_of(control: _Element) -> tuple[str, ...]:
    names = _label_names(control)
    if not names:
        raise InputError(
            "a <Labels> control lists its labels",
            value=f"{control.name} without <Label>",
            next_step='Labels that come from task data cannot be learned: write <Label value="..."/> for each type.',
        )
    return LabelSet(tuple(names)).types


def _other(
    control: _Element, targets: list[str], objects: dict[str, _Element], learned: _Element | None
) -> OtherControl:
    marks = control.tag in _SPAN_CONTROLS
    labels = tuple(_label_names(control)) if marks else ()
    why = _why_not(control, targets, objects, learned) if marks else "it does not mark spans"
    return OtherControl(_local_as_written(control.node), control.name, tuple(targets), labels, why)


def _why_not(control: _Element, targets: list[str], objects: dict[str, _Element], learned: _Element | None) -> str:
    over = [objects[target] for target in targets if target in objects]
    shown = ", ".join(f"<{_local_as_written(one.node)} name={one.name!r}>" for one in over) or "no object of the config"
    if control.tag != "labels" or any(one.tag in _UNSUPPORTED_OBJECTS for one in over):
        return f"it labels {shown}, and only <Labels> over a <Text> can be learned"
    faults = [_fault(one) for one in over if one.tag == "text"]
    fault = next((fault for fault in faults if fault is not None), None)
    if fault is not None:
        return f"it labels {shown}, which cannot be read: {fault[0]}={fault[1]!r}"
    return f"it labels {shown}" + (f", and <Text name={learned.name!r}> is learned" if learned is not None else "")


def _no_labels_over_text(controls: list[_Element], objects: dict[str, _Element]) -> InputError:
    others = [_other(control, list(control.targets), objects, None) for control in controls]
    found = "; ".join(map(str, others)) or "no control"
    return InputError("a config has <Labels> over a <Text>", value=found, next_step=_WANTED)


def _local_as_written(node: ElementTree.Element) -> str:
    return str(node.tag).rpartition("}")[2]


def _local(name: str) -> str:
    """The name without its namespace, in lower case, as the page of Label Studio matches tags."""
    return name.rpartition("}")[2].lower()
