"""Why a request is refused: each rule, the HTTP status that belongs to the rule, and the JSON that says so."""

from __future__ import annotations

from typing import Any

from ner.errors import InputError, RuleError, show

_SHOWN = 200


class RefusalError(RuleError):
    """A request that cannot be answered; `status` is a 4xx."""

    status = 400


class UnknownProjectError(RefusalError):
    """No project of the store is linked to the request's project, or more than one project is."""

    status = 404


class NoModelError(RefusalError):
    """The project has no model in service, or its label config has other labels than the model.

    Label Studio opens the task all the same. It stores no empty prediction, so it asks again later.
    """

    status = 409


class TooSlowError(RefusalError):
    """A body that did not arrive in time."""

    status = 408


class TooLargeError(RefusalError):
    """More than one request may hold, or more than can be answered in time."""

    status = 413


class WrongTypeError(RefusalError):
    """A body whose Content-Type is not JSON."""

    status = 415


def status_of(error: RuleError) -> int:
    """The HTTP status for a refusal: a 4xx where the client is at fault, else 503."""
    if isinstance(error, RefusalError):
        return error.status
    return 400 if isinstance(error, InputError) else 503


def as_json(error: RuleError) -> dict[str, Any]:
    """The refusal in the shape of `error_body`."""
    return error_body(error.rule, error.value, error.next_step)


def error_body(rule: str, value: object = None, next_step: str = "") -> dict[str, Any]:
    """The shape that every error answer has; a long value is cut to its first 200 characters."""
    shown = value if isinstance(value, str) or value is None else show(value)
    if isinstance(value, str) and len(value) > _SHOWN:
        shown = f"{value[:_SHOWN]}… ({len(value)} characters)"
    return {"error": {"rule": rule, "value": shown, "next_step": next_step}}
