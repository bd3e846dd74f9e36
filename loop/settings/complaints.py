"""What is wrong with a setting, in words: pydantic's complaint as an error that names the key, the value and a way."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ner.errors import ConfigError

_UNKNOWN = "extra_forbidden"
_KEY = "[key]"
# pydantic's types of faults, and the rule that each breaks, in words. A rule that is not here has pydantic's own words.
_RULES = {
    "model_type": "is a table",
    "dict_type": "is a table",
    "string_type": "is a string",
    "int_type": "is a whole number",
    "int_parsing": "is a whole number",
    "float_type": "is a number",
    "bool_type": "is true or false",
    "greater_than": "is above {gt}",
    "greater_than_equal": "is at least {ge}",
    "less_than": "is below {lt}",
    "less_than_equal": "is at most {le}",
    "value_error": "{error}",
}


def complaint(error: ValidationError, root: type[BaseModel], variables: Mapping[tuple[str, str], str]) -> ConfigError:
    """The first fault of `error` as a ConfigError.

    root: the model of all sections. variables: the environment variable by the (section, key) that it has set.
    A value that no repr shows is not quoted.
    """
    fault = error.errors(include_url=False)[0]
    place = [str(part) for part in fault["loc"]]
    if fault["type"] == _UNKNOWN:
        return _unknown_key(place, root)
    if place[-1] == _KEY:  # of a table: what is wrong is the key, not its value
        return _unlisted(_name(place[:-1]), fault["ctx"]["expected"])
    if fault["type"] == "missing":
        name = _name(place)
        return ConfigError(f"loop.toml sets {name}", value="nothing", next_step=f"Write {name} into loop.toml.")
    name = variables.get((place[0], place[-1])) or _name(place)
    shown = repr(fault["input"]) if _may_be_shown(place, root) else "a value that is not shown"
    return ConfigError(f"{name} {_rule(fault)}", value=shown, next_step=f"Correct {name}.")


def _unknown_key(place: Sequence[str], root: type[BaseModel]) -> ConfigError:
    model = root if len(place) == 1 else root.model_fields[place[0]].annotation
    assert isinstance(model, type) and issubclass(model, BaseModel)
    nearest = difflib.get_close_matches(place[-1], model.model_fields, n=1, cutoff=0.5)
    known = [_name([*place[:-1], key]) for key in nearest or model.model_fields]
    if not nearest:
        return _unlisted(_name(place), ", ".join(known))
    return ConfigError("loop.toml has only known keys", value=_name(place), next_step=f"Did you mean {known[0]}?")


def _unlisted(name: str, known: str) -> ConfigError:
    return ConfigError("loop.toml has only known keys", value=name, next_step=f"Known here: {known}.")


def _name(place: Sequence[str]) -> str:
    """`[train]`, `train.passes`, `gates.types.OS.f1`."""
    return f"[{place[0]}]" if len(place) == 1 else ".".join(place)


def _rule(fault: ErrorDetails) -> str:
    """What the value must be."""
    words = _RULES.get(fault["type"])
    if words is None:
        return fault["msg"].replace("Input should be", "is", 1)
    return words.format_map({name: _plain(limit) for name, limit in fault.get("ctx", {}).items()})


def _plain(limit: object) -> object:
    """A limit as people write it: 1, not 1.0."""
    return int(limit) if isinstance(limit, float) and limit.is_integer() else limit


def _may_be_shown(place: Sequence[str], root: type[BaseModel]) -> bool:
    section: Any = root.model_fields[place[0]].annotation
    fields = getattr(section, "model_fields", {})
    return len(place) == 1 or place[1] not in fields or fields[place[1]].repr
