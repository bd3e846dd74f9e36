"""JSON as RFC 8259 has it: no NaN, no Infinity, no key twice; every refusal is an InputError."""

from __future__ import annotations

import json
import math
from typing import Any

from ner.errors import InputError


class MalformedJsonError(InputError):
    """Text that is no JSON, or ends before its value does."""


def parse_json(text: str) -> Any:
    """The value of one JSON text; InputError when it is malformed, nests too deep, or carries a number no store can."""
    return _translated(lambda: _DECODER.decode(text))


def parse_json_at(text: str, position: int) -> tuple[Any, int]:
    """The value that starts at `position`, and the position behind it.

    A value that is well-formed and breaks another rule comes as the InputError. Raises MalformedJsonError.
    """
    try:
        value, end = _translated(lambda: _DECODER.raw_decode(text, position))
    except MalformedJsonError:
        raise
    except InputError as error:
        return error, _translated(lambda: _LENIENT.raw_decode(text, position))[1]
    return value, end


def _translated(decode: Any) -> Any:
    try:
        return decode()
    except json.JSONDecodeError as error:
        raise MalformedJsonError(
            "a record is well-formed JSON", value=str(error), next_step="Correct the JSON."
        ) from error
    except RecursionError as error:
        raise MalformedJsonError("JSON nests less than about 900 levels", next_step="Flatten the record.") from error
    except ValueError as error:
        raise InputError("a number in JSON has a sane length", value=str(error), next_step="Shorten it.") from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = next(key for i, (key, _) in enumerate(pairs) if any(key == other for other, _ in pairs[:i]))
        raise InputError("a JSON object has each key once", value=twice, next_step="Remove one of the two.")
    return value


def _float(digits: str) -> float:
    value = float(digits)
    return value if math.isfinite(value) else _constant(digits)


def _constant(name: str) -> float:
    raise InputError("a number in JSON is finite", value=name, next_step="Leave the value out or use null.")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_constant=_constant)
# Finds the end of a value that breaks a rule; its numbers are not even made.
_LENIENT = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=str)
