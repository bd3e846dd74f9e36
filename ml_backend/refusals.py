"""Why a request is refused: each rule with the HTTP status that goes with it."""

from __future__ import annotations

from typing import Any

from ner.errors import InputError, RuleError, show

_SHOWN = 200


class RefusalError(RuleError):
    """A request that cannot be answered; `status` is a 4xx."""

    status = 400


class UnknownProjectError(RefusalError):
    """No project of the store is linked to the request's project, or more than one is."""

    status = 404


class NoModelError(RefusalError):
    """The project has no model in service, or one that its label config has left behind.

    Label Studio opens the task all the same and stores no empty prediction, so it asks again later.
    """

    status = 409


class TooSlowError(RefusalError):
    """A body that did not arrive in time."""

    status = 408


class TooLargeError(RefusalError):
    """More than one request may hold or one answer may take."""

    status = 413


class WrongTypeError(RefusalError):
    """A body that does not call itself JSON."""

    status = 415


def status_of(error: RuleError) -> int:
    """The HTTP status for a refusal; anything that is not the client's doing is a 503."""
    if isinstance(error, RefusalError):
        return error.status
    return 400 if isinstance(error, InputError) else 503


def as_json(error: RuleError) -> dict[str, Any]:
    """The refusal as `error_body` shows it."""
    return error_body(error.rule, error.value, error.next_step)


def error_body(rule: str, value: object = None, next_step: str = "") -> dict[str, Any]:
    """The one shape of every error answer; of a long value, the first 200 characters."""
    shown = value if isinstance(value, str) or value is None else show(value)
    if isinstance(value, str) and len(value) > _SHOWN:
        shown = f"{value[:_SHOWN]}… ({len(value)} characters)"
    return {"error": {"rule": rule, "value": shown, "next_step": next_step}}
