"""The text of loop.toml: a new one with every setting explained, and one in which some settings are changed."""

from __future__ import annotations

import re
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import tomlkit
from tomlkit.exceptions import ParseError

from loop.settings.model import SettingsSection
from loop.settings.settings import Settings, about
from ner.errors import ConfigError

# What a key of loop.toml may be set to.
SettingValue = str | int | float | Sequence[Any] | Mapping[str, Any]
_WIDTH, _KEY_WIDTH = 120, 36
_HEAD = (
    "A project of the annotation loop. Relative paths are relative to this file. Everything but the name has a "
    "default. A key that is commented out shows its default, or an example where the default is none. A variable of "
    "the environment wins over this file. No secret belongs in here."
)


def new_loop_toml(name: str) -> str:
    """The text of the loop.toml of a new project: every key with its default and its explanation, commented out."""
    sections = ("".join(_lines(section)) for section in Settings.model_fields)
    return with_values("\n".join([_comment(_HEAD), *sections]), {"project.name": name})


def with_values(text: str, values: Mapping[str, SettingValue]) -> str:
    """`text` with `section.key` set to each value; its comments and the rest of it stay.

    A key that is commented out becomes the setting in its place. A key without a line is added at the end of its
    section, a missing section at the end of the text.
    """
    for name, value in values.items():
        section, _, key = name.partition(".")
        text = _with_value(text, section, key, value)
    return text


def _with_value(text: str, section: str, key: str, value: SettingValue) -> str:
    try:
        document = tomlkit.parse(text)
    except ParseError as error:
        raise ConfigError("loop.toml is TOML", value=str(error), next_step="Correct that line.") from error
    if key not in document.get(section, {}):
        commented_out = rf"(?m)^(\[{section}\].*\n(?:(?!\[).*\n)*?)# ?{key} *=[^#\n]*(#.*)?$"
        setting = f"{key} = {_written(value)}"
        line = re.search(commented_out, text)
        if line:
            written = f"{line[1]}{setting:<{_KEY_WIDTH - 1}} {line[2] or ''}".rstrip()
            return text[: line.start()] + written + text[line.end() :]
    document.setdefault(section, tomlkit.table())[key] = value
    return tomlkit.dumps(document)


def _lines(section: str) -> Iterator[str]:
    """A section: its header, its explanation, then a line or more for each key."""
    field = Settings.model_fields[section]
    kind = field.annotation
    if not (isinstance(kind, type) and issubclass(kind, SettingsSection)):
        yield _comment(field.description or "")
        yield f"# [{section}]\n"
        for example in field.examples or ():
            yield from (f"# {key} = {_written(value)}\n" for key, value in example.items())
        return
    yield f"[{section}]\n{_comment(kind.__doc__ or '')}"
    for key, found in kind.model_fields.items():
        variable, why = about(found)["variable"], found.description or ""
        shown = found.examples[0] if found.examples else found.default
        if about(found)["secret"]:
            yield _beside(f"# ({variable})", f"{why} Only a variable, never a key of this file.")
        else:
            yield _beside(f"# {key} = {_written(shown)}", f"{why} Variable: {variable}." if variable else why)


def _beside(setting: str, explanation: str) -> str:
    first, *more = textwrap.wrap(explanation, _WIDTH - _KEY_WIDTH - 2)
    setting = f"{setting:<{_KEY_WIDTH - 1}} "
    return f"{setting}# {first}\n" + "".join(f"{'':<{_KEY_WIDTH}}# {line}\n" for line in more)


def _comment(words: str) -> str:
    return textwrap.fill(" ".join(words.split()), _WIDTH, initial_indent="# ", subsequent_indent="# ") + "\n"


def _written(value: Any) -> str:
    """A value as TOML has it, a table on one line."""
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_written(item)}' for key, item in value.items())} }}"
    return str(tomlkit.item(value).as_string())
