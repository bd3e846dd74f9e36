"""Typed reading of TOML tables: a frozen dataclass is the schema, and every complaint names the key and the value."""

from __future__ import annotations

import collections.abc
import difflib
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields
from typing import Any, TypeVar

from ner.errors import ConfigError

T = TypeVar("T")

_SPOKEN = {str: "a string", int: "a whole number", float: "a number", bool: "true or false", dict: "a table"}


def read_table(schema: type[T], table: Mapping[str, Any], name_of: Callable[[str], str]) -> T:
    """`table` as an instance of the dataclass `schema`; fields that it lacks keep their defaults.

    `name_of(key)` is how a complaint names the key, e.g. `train.epochs` or the environment variable that set it.
    Raises ConfigError for an unknown key (with the nearest known one), a wrong type, or a missing required key.
    """
    hints = typing.get_type_hints(schema)
    known = [field.name for field in fields(schema)]  # type: ignore[arg-type]
    refuse_unknown(table, known, name_of)
    values = {key: check_type(value, hints[key], name_of(key)) for key, value in table.items()}
    try:
        return schema(**values)
    except TypeError as error:
        raise ConfigError(f"a required key is missing: {error}", next_step=_among(known, name_of)) from error


def refuse_unknown(table: Mapping[str, Any], known: Iterable[str], name_of: Callable[[str], str]) -> None:
    """Raise ConfigError for the first key outside `known`, naming the nearest one."""
    known = list(known)
    for key in table:
        if key not in known:
            nearest = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
            hint = f"Did you mean {name_of(nearest[0])}?" if nearest else _among(known, name_of)
            raise ConfigError("loop.toml has only known keys", value=name_of(key), next_step=hint)


def check_type(value: Any, hint: Any, name: str) -> Any:
    """`value` as `hint` asks (ints become floats, lists tuples), or ConfigError naming the key and the value."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        hint = next(part for part in typing.get_args(hint) if part is not type(None))
    origin = typing.get_origin(hint)
    if origin is tuple:
        return tuple(check_type(item, str, name) for item in _expect(value, list, name, "a list of strings"))
    if origin in (dict, collections.abc.Mapping):
        table, kind = _expect(value, dict, name, "a table"), typing.get_args(hint)[1]
        return {key: check_type(item, kind, f"{name}.{key}") for key, item in table.items()}
    if origin is typing.Literal:
        return _one_of(value, typing.get_args(hint), name)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(value)
    return _expect(value, hint, name, _SPOKEN.get(hint, str(hint)))


def from_words(words: str, hint: Any, name: str) -> Any:
    """The value of an environment variable as the type that its key has; ConfigError names the variable."""
    wanted = next((kind for kind in (bool, int, float) if hint == kind or kind in typing.get_args(hint)), str)
    try:
        return wanted(words) if wanted is not bool else words.lower() in {"1", "true", "yes", "on"}
    except ValueError as error:
        raise ConfigError(f"{name} is {_SPOKEN[wanted]}", value=words, next_step=f"Correct {name}.") from error


def _expect(value: Any, kind: type, name: str, spoken: str) -> Any:
    wrong_bool = isinstance(value, bool) and kind is not bool
    if wrong_bool or not isinstance(value, kind):
        raise ConfigError(f"{name} is {spoken}", value=value, next_step=f"Correct {name}.")
    return value


def _one_of(value: Any, allowed: tuple[Any, ...], name: str) -> Any:
    if value not in allowed:
        raise ConfigError(f"{name} is one of {', '.join(map(str, allowed))}", value=value, next_step=f"Correct {name}.")
    return value


def _among(known: Iterable[str], name_of: Callable[[str], str]) -> str:
    return f"Known here: {', '.join(name_of(key) for key in known)}."
