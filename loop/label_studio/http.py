"""One way to speak HTTP to a Label Studio server: tokens, time limits, retries, and errors that name the rule.

The requests library is used rather than label-studio-sdk. The SDK parses each row into typed models, so that one
malformed annotation fails a whole page, and each call would need its own translation of errors.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from ner.errors import ConfigError, RuleError

logger = logging.getLogger(__name__)

_BUSY = 429
_PASSING = frozenset({_BUSY, 502, 503, 504})
_IDEMPOTENT = frozenset({"GET", "PUT", "PATCH", "DELETE"})
_REFRESH = "/api/token/refresh/"
_ACCESS_SECONDS = 240.0  # an access token of Label Studio lives for 300 s
_LONGEST_PAUSE = 30
_SHOWN_DETAIL = 400


class LabelStudioError(RuleError):
    """Label Studio cannot be reached, or refused. `status` is its HTTP status, None when no answer came."""

    exit_code = 5

    def __init__(self, rule: str, *, value: object = None, next_step: str = "", status: int | None = None) -> None:
        super().__init__(rule, value=value, next_step=next_step)
        self.status = status


@dataclass(frozen=True)
class Patience:
    """Time limits and pauses in seconds. The first repetition comes at once, the later ones after growing pauses."""

    connect: float = 5.0
    read: float = 60.0
    bulk_read: float = 540.0
    retries: int = 4
    first_pause: float = 1.0


class _SafeRetry(Retry):
    """Repeats a request that changes nothing twice, and any request that the server cannot have acted upon.

    The server did not act where no connection was made, or where it was too busy (429).
    """

    def is_retry(self, method: str, status_code: int, has_retry_after: bool = False) -> bool:
        return status_code == _BUSY or super().is_retry(method, status_code, has_retry_after)


class LabelStudioHttp:
    """Requests to one server under one API key; the key is in no message, no log line and no repr."""

    def __init__(self, url: str, api_key: str, *, patience: Patience | None = None) -> None:
        self.url = url.rstrip("/")
        self.patience = patience or Patience()
        self.seconds = 0.0
        """How long this object has waited for answers, in all, pauses between repetitions included."""
        self._api_key = api_key.strip()
        _check_key(self._api_key)
        self._is_personal = self._api_key.count(".") == 2
        self._access: tuple[str, float] | None = None  # an access token, and when it was fetched
        self._session = requests.Session()
        # A proxy that the environment names cannot reach this machine's own addresses.
        self._session.trust_env = not _is_loopback(self.url)
        retry = _SafeRetry(
            self.patience.retries,
            other=0,
            allowed_methods=_IDEMPOTENT,
            status_forcelist=_PASSING,
            backoff_factor=self.patience.first_pause / 2,
            backoff_max=_LONGEST_PAUSE,
            retry_after_max=_LONGEST_PAUSE,
            raise_on_status=False,
        )
        self._session.mount(self.url, HTTPAdapter(max_retries=retry))
        # To fetch an access token twice does no harm.
        self._session.mount(self.url + _REFRESH, HTTPAdapter(max_retries=retry.new(allowed_methods=None)))

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    def get(self, path: str, params: Mapping[str, Any] | None = None, *, bulk: bool = False) -> Any:
        """The JSON that GET answers. `bulk` grants the long time limit."""
        return self.request("GET", path, params=params, bulk=bulk)

    def post(self, path: str, body: Any, params: Mapping[str, Any] | None = None, *, bulk: bool = False) -> Any:
        """The JSON that POST answers. The request is sent again only when the server cannot have acted upon it."""
        return self.request("POST", path, params=params, body=body, bulk=bulk)

    def patch(self, path: str, body: Any) -> Any:
        """The JSON that PATCH answers."""
        return self.request("PATCH", path, body=body)

    def delete(self, path: str) -> Any:
        """What DELETE answers: None when the answer is empty."""
        return self.request("DELETE", path)

    def request(
        self, method: str, path: str, *, params: Mapping[str, Any] | None = None, body: Any = None, bulk: bool = False
    ) -> Any:
        """The parsed answer of `method path`.

        Raises LabelStudioError when no answer comes in time, or when the server refuses.
        """
        answer = self._send(method, path, self._authorized, params, body, bulk)
        if answer.status_code == 401 and self._access is not None:
            self._access = None  # the token was revoked or expired early: one new token is fetched
            answer = self._send(method, path, self._authorized, params, body, bulk)
        return self._parsed(method, path, answer)

    def _send(
        self,
        method: str,
        path: str,
        auth: Any,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        bulk: bool = False,
    ) -> requests.Response:
        begin = time.monotonic()
        try:
            answer = self._session.request(
                method,
                self.url + path,
                params=params,
                json=body,
                auth=auth,
                timeout=(self.patience.connect, self.patience.bulk_read if bulk else self.patience.read),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise self._unreachable(method, path, error) from error
        finally:
            took = time.monotonic() - begin
            self.seconds += took
        logger.debug("%s %s -> %d in %.2f s", method, path, answer.status_code, took)
        return answer

    def _authorized(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sets the header. It stands as `auth` of the request, so that an entry of ~/.netrc does not replace it."""
        scheme, token = ("Bearer", self._access_token()) if self._is_personal else ("Token", self._api_key)
        request.headers["Authorization"] = f"{scheme} {token}"
        return request

    def _access_token(self) -> str:
        """A personal key (a JSON Web Token) buys access tokens, each for several requests."""
        if self._access is None or time.monotonic() - self._access[1] > _ACCESS_SECONDS:
            answer = self._send("POST", _REFRESH, lambda request: request, body={"refresh": self._api_key})
            body = self._parsed("POST", _REFRESH, answer)
            if not isinstance(body, dict) or not isinstance(body.get("access"), str):
                rule = f"POST {self.url}{_REFRESH} answers an access token"
                raise LabelStudioError(rule, value=type(body).__name__, next_step=_ANOTHER_PROGRAM)
            self._access = body["access"], time.monotonic()
        return self._access[0]

    def _parsed(self, method: str, path: str, answer: requests.Response) -> Any:
        where = f"{method} {self.url}{path}"
        if 300 <= answer.status_code < 400:
            raise _redirected(where, answer)
        if answer.status_code >= 400:
            raise _refused(where, answer, self._is_personal)
        try:
            return answer.json() if answer.content else None
        except ValueError as error:
            raise LabelStudioError(
                f"{where} answers JSON",
                value=answer.text[:80],
                next_step=_ANOTHER_PROGRAM,
                status=answer.status_code,
            ) from error

    def _unreachable(self, method: str, path: str, error: requests.RequestException) -> LabelStudioError:
        return LabelStudioError(
            f"{method} {self.url}{path} is answered in time",
            value=f"{type(error).__name__}: {_innermost(error)}",
            next_step="Start Label Studio, or correct LABEL_STUDIO_URL. Nothing was lost: the next run picks up here.",
        )


def _check_key(key: str) -> None:
    """Headers hold no more than ASCII; the key itself is in no message."""
    if not key.isascii() or not key.isprintable():
        raise ConfigError(
            "an API key is printable ASCII",
            value="another character in it",
            next_step="Copy it again from Account & Settings; an editor may have put in a dash or an ellipsis.",
        )


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False


def _innermost(error: BaseException) -> str:
    """The last part of a message in which each library quotes the one below it."""
    text = str(error.args[0]) if error.args else str(error)
    return text.split(": ")[-1].strip(")'\"") or type(error).__name__


_ANOTHER_PROGRAM = "Another program may listen there: check LABEL_STUDIO_URL."
_KEY_ADVICE = {
    True: "The personal token may be revoked: make a new one under Account & Settings.",
    False: "Copy it again from Account & Settings; a legacy key also needs legacy tokens enabled for the organization.",
}
_REFUSALS = {
    403: ("is allowed to this user", "Use the key of a user of that organization."),
    404: ("exists", "Check the project's id with `loop doctor`; it may have been deleted."),
}


def _redirected(where: str, answer: requests.Response) -> LabelStudioError:
    target = urlsplit(answer.headers.get("Location", ""))
    return LabelStudioError(
        f"{where} answers for itself",
        value=f"a redirect to {target.scheme}://{target.netloc}{target.path}" if target.netloc else "a redirect",
        next_step="Set LABEL_STUDIO_URL to the address that it redirects to.",
        status=answer.status_code,
    )


def _refused(where: str, answer: requests.Response, is_personal: bool) -> LabelStudioError:
    status = answer.status_code
    if status == 401:
        rule, advice = "accepts LABEL_STUDIO_API_KEY", _KEY_ADVICE[is_personal]
    elif status >= 500:
        rule, advice = "works", "Look into Label Studio's own log, then run this again."
    else:
        rule, advice = _REFUSALS.get(status, ("accepts what is sent", "Correct what it names."))
    detail = f"{status}: {_detail(answer)}"
    return LabelStudioError(f"{where} {rule}", value=detail, next_step=advice, status=status)


def _detail(answer: requests.Response) -> str:
    """What the server says was wrong, without the page of HTML around it."""
    try:
        body = answer.json()
    except ValueError:
        return answer.reason or "no reason given"
    if not isinstance(body, dict):
        return str(body)[:_SHOWN_DETAIL]
    return str(body.get("validation_errors") or body.get("detail") or body)[:_SHOWN_DETAIL]
