"""The text in a task's data: where Label Studio's page finds a field, and how the page shows a value that is no string.

Both were read in the page's source and seen on the page (release 1.23). The server checks imported tasks by the same
paths, and takes strings, numbers, booleans and lists for the texts of a <Text>.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

from ner.errors import InputError

MISSING: Final = object()
"""What `find_field` gives for a field that is not there; null is a value."""

UNDEFINED: Final = "$undefined$"
"""What Label Studio names the only field of an imported list of texts."""

_LARGEST = 1e308
_EXACT = 2.0**53
# JavaScript writes smaller numbers with an exponent.
_PLAIN_FROM = 1e-6


def find_field(data: Mapping[str, Any], field: str) -> object:
    """The value of `field`, or MISSING.

    A key with the whole name wins, points included. Otherwise "data.body" is `body` in the object `data`; a number
    counts places in a list.
    """
    if field in data:
        return data[field]
    found: object = data
    for key in field.split("."):
        if isinstance(found, list) and re.fullmatch("0|[1-9][0-9]{0,8}", key):
            found = found[int(key)] if int(key) < len(found) else MISSING
        else:
            found = found.get(key, MISSING) if isinstance(found, Mapping) else MISSING
    return found


def nested(field: str, value: object) -> dict[str, Any]:
    """The data of a task with `value` as `field`: objects in objects, which the server demands for "data.body"."""
    first, _, rest = field.partition(".")
    return {first: nested(rest, value) if rest else value}


def without_field(data: Mapping[str, Any], field: str) -> dict[str, Any]:
    """The rest of the data: a copy without `field`, and without the objects that held nothing else."""
    if field in data:
        return {key: value for key, value in data.items() if key != field}
    first, _, rest = field.partition(".")
    inner = data.get(first)
    if not rest or not isinstance(inner, Mapping):
        return dict(data)
    left = without_field(inner, rest)
    return {key: left if key == first else value for key, value in data.items() if key != first or left}


def field_names(data: Mapping[str, Any]) -> tuple[str, ...]:
    """The names of all fields, sorted, as a label config would name them: "id", "data.body"."""
    names: list[str] = []
    waiting: list[tuple[str, Mapping[str, Any]]] = [("", data)]
    while waiting:
        before, inner = waiting.pop()
        for key, value in inner.items():
            if isinstance(value, Mapping) and value:
                waiting.append((f"{before}{key}.", value))
            else:
                names.append(f"{before}{key}")
    return tuple(sorted(names))


def shown_text(value: object) -> str:
    """The text that the page shows for a value, in which the offsets of its regions count.

    Numbers are written as JavaScript writes them (3.0 is "3"). The values of a list are joined by commas, without
    spaces; a null among the values is empty. Raises InputError for null, for an object, which the page shows as
    "[object Object]", for a list in a list, and for a float that is not finite or not below 2**53.
    """
    if isinstance(value, list):
        return ",".join("" if item is None else _scalar(item) for item in value)
    return _scalar(value)


def _scalar(value: object) -> str:
    if isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return _number(value)
    raise InputError("a text is a string, a number or a list of these", value="null" if value is None else value)


def _number(value: float) -> str:
    """A whole number as in JSON, any other as JavaScript's String writes it (ECMA-262, Number::toString).

    The page keeps the digits of whole numbers that JavaScript cannot hold. Floats of that size are refused: the page
    shows them as the server happens to write them.
    """
    largest = _LARGEST if isinstance(value, int) else _EXACT
    if not abs(value) < largest:
        raise InputError(f"a number as a text is whole, or smaller than {_EXACT:.0f}", value=value)
    if isinstance(value, int) or value == 0:
        return str(int(value))
    if abs(value) < _PLAIN_FROM:
        return re.sub("e-0", "e-", repr(value))
    return f"{Decimal(repr(value)):f}".removesuffix(".0")
