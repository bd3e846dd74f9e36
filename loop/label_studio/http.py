"""One way to speak HTTP to a Label Studio server: tokens, time limits, retries, and errors that name the rule.

Plain requests rather than label-studio-sdk: the SDK parses every row into typed models, so that one malformed
annotation fails a whole page, and every call would need its own translation of errors.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests

from ner.errors import ConfigError, RuleError

logger = logging.getLogger(__name__)

_RETRIED = frozenset({429, 502, 503, 504})
_IDEMPOTENT = frozenset({"GET", "PUT", "PATCH", "DELETE"})
_ACCESS_SECONDS = 240.0  # Label Studio's access tokens live for 300 s
_LONGEST_PAUSE = 30.0
_SHOWN_DETAIL = 400


class LabelStudioError(RuleError):
    """Label Studio cannot be reached, or refused. `status` is its HTTP status, None when no answer came."""

    exit_code = 5

    def __init__(self, rule: str, *, value: object = None, next_step: str = "", status: int | None = None) -> None:
        super().__init__(rule, value=value, next_step=next_step)
        self.status = status


@dataclass(frozen=True)
class Patience:
    """How long to wait, in seconds, and how often to ask again."""

    connect: float = 5.0
    read: float = 60.0
    bulk_read: float = 540.0  # within the ten minutes after which other hosts take a silent run for dead
    retries: int = 4
    first_pause: float = 0.5


class LabelStudioHttp:
    """Requests to one server under one API key; the key is in no message, no log line and no repr."""

    def __init__(
        self,
        url: str,
        api_key: str,
        *,
        patience: Patience | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self.patience = patience or Patience()
        self._api_key = api_key.strip()
        self._sleep = sleep
        _check_key(self._api_key)
        self._session = requests.Session()
        # A proxy that the environment names cannot reach this machine's own addresses.
        self._session.trust_env = not _is_loopback(self.url)
        self._access: tuple[str, float] | None = None
        self.seconds = 0.0
        """How long this object has waited for answers, in all."""
        self.announce: Callable[[], None] = lambda: None
        """Called before each request and each repetition of one."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.url!r})"

    @contextmanager
    def announcing(self, announce: Callable[[], None]) -> Iterator[None]:
        """Call this before each request: a run tells other hosts so that it is alive, however slow the server is."""
        before, self.announce = self.announce, announce
        try:
            yield
        finally:
            self.announce = before

    def get(self, path: str, params: Mapping[str, Any] | None = None, *, bulk: bool = False) -> Any:
        """The JSON that GET answers. `bulk` grants it the long time limit."""
        return self.request("GET", path, params=params, bulk=bulk)

    def post(self, path: str, body: Any, params: Mapping[str, Any] | None = None, *, bulk: bool = False) -> Any:
        """The JSON that POST answers. Sent again only when it cannot have been acted upon."""
        return self.request("POST", path, params=params, body=body, bulk=bulk)

    def patch(self, path: str, body: Any) -> Any:
        """The JSON that PATCH answers."""
        return self.request("PATCH", path, body=body)

    def delete(self, path: str) -> Any:
        """What DELETE answers: None when it answers nothing."""
        return self.request("DELETE", path)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, Any] | None = None,
        body: Any = None,
        bulk: bool = False,
    ) -> Any:
        """The parsed answer of `method path`, asked again with growing pauses where that is safe.

        Raises LabelStudioError when no answer comes in time, or one that refuses.
        """
        for attempt in range(self.patience.retries + 1):
            last = attempt == self.patience.retries
            self.announce()
            try:
                answer = self._send(method, path, params, body, bulk)
            except requests.RequestException as error:
                if last or not _safe_to_repeat(method, error):
                    raise self._unreachable(method, path, error) from error
                self._pause(attempt, method, path, type(error).__name__)
                continue
            if answer.status_code in _RETRIED and not last and (method in _IDEMPOTENT or answer.status_code == 429):
                self._pause(attempt, method, path, str(answer.status_code), answer.headers.get("Retry-After"))
                continue
            return self._parsed(method, path, answer)
        raise AssertionError("the last attempt returns or raises")

    def _send(
        self, method: str, path: str, params: Mapping[str, Any] | None, body: Any, bulk: bool
    ) -> requests.Response:
        answer = self._send_once(method, path, params, body, bulk)
        if answer.status_code == 401 and self._access is not None:
            self._access = None  # revoked or expired early: fetch a new one, once
            answer = self._send_once(method, path, params, body, bulk)
        return answer

    def _send_once(
        self, method: str, path: str, params: Mapping[str, Any] | None, body: Any, bulk: bool
    ) -> requests.Response:
        begin = time.monotonic()
        try:
            answer = self._session.request(
                method,
                self.url + path,
                params=params,
                json=body,
                auth=self._authorized,
                timeout=(self.patience.connect, self.patience.bulk_read if bulk else self.patience.read),
                allow_redirects=False,
            )
        finally:
            took = time.monotonic() - begin
            self.seconds += took
        logger.debug("%s %s -> %d in %.2f s", method, path, answer.status_code, took)
        return answer

    def _authorization(self) -> str:
        """Legacy keys go as they are; personal ones (JSON Web Tokens) buy access tokens of five minutes."""
        if self._api_key.count(".") != 2:
            return f"Token {self._api_key}"
        if self._access is None or time.monotonic() - self._access[1] > _ACCESS_SECONDS:
            self._access = (self._fresh_access(), time.monotonic())
        return f"Bearer {self._access[0]}"

    def _authorized(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """As `auth` of a request, so that no ~/.netrc puts another header in the place of this one."""
        request.headers["Authorization"] = self._authorization()
        return request

    def _fresh_access(self) -> str:
        answer = self._session.post(
            f"{self.url}/api/token/refresh/",
            json={"refresh": self._api_key},
            auth=_as_it_is,
            timeout=(self.patience.connect, self.patience.read),
            allow_redirects=False,
        )
        if answer.status_code in _RETRIED:
            raise requests.ConnectionError(f"status {answer.status_code} while refreshing the access token")
        body = self._parsed("POST", "/api/token/refresh/", answer)
        if not isinstance(body, dict) or not isinstance(body.get("access"), str):
            raise LabelStudioError(
                f"POST {self.url}/api/token/refresh/ answers an access token",
                value=type(body).__name__,
                next_step="Another program may listen there: check LABEL_STUDIO_URL.",
            )
        return str(body["access"])

    def _pause(self, attempt: int, method: str, path: str, why: str, asked: str | None = None) -> None:
        seconds = min(self.patience.first_pause * 2**attempt, _LONGEST_PAUSE)
        if asked and asked.isdigit():
            seconds = min(float(asked), _LONGEST_PAUSE)
        logger.info("%s %s: %s; asking again in %.1f s", method, path, why, seconds)
        self._sleep(seconds)

    def _parsed(self, method: str, path: str, answer: requests.Response) -> Any:
        where = f"{method} {self.url}{path}"
        if 300 <= answer.status_code < 400:
            raise _redirected(where, answer)
        if answer.status_code >= 400:
            raise _refused(where, answer, personal=self._api_key.count(".") == 2)
        if not answer.content:
            return None
        try:
            return answer.json()
        except ValueError as error:
            raise LabelStudioError(
                f"{where} answers JSON",
                value=answer.text[:80],
                next_step="Another program may listen there: check LABEL_STUDIO_URL.",
                status=answer.status_code,
            ) from error

    def _unreachable(self, method: str, path: str, error: requests.RequestException) -> LabelStudioError:
        return LabelStudioError(
            f"{method} {self.url}{path} is answered in time",
            value=f"{type(error).__name__}: {_innermost(error)}",
            next_step="Start Label Studio, or correct LABEL_STUDIO_URL; nothing was lost, the next run picks up here.",
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


def _as_it_is(request: requests.PreparedRequest) -> requests.PreparedRequest:
    return request


def _safe_to_repeat(method: str, error: requests.RequestException) -> bool:
    """A request that changes nothing twice, or one that never reached the server."""
    if isinstance(error, (requests.ConnectTimeout, requests.exceptions.ProxyError)):
        return True
    connection_trouble = isinstance(error, (requests.ConnectionError, requests.Timeout))
    refused = "NewConnectionError" in repr(error) or "Connection refused" in str(error)
    return connection_trouble and (method in _IDEMPOTENT or refused)


def _innermost(error: BaseException) -> str:
    text = str(error.args[0]) if error.args else str(error)
    return text.split(": ")[-1].strip(")'\"") or type(error).__name__


def _redirected(where: str, answer: requests.Response) -> LabelStudioError:
    target = urlsplit(answer.headers.get("Location", ""))
    return LabelStudioError(
        f"{where} answers for itself",
        value=f"a redirect to {target.scheme}://{target.netloc}{target.path}" if target.netloc else "a redirect",
        next_step="Set LABEL_STUDIO_URL to the address that it redirects to.",
        status=answer.status_code,
    )


_KEY_ADVICE = {
    True: "The personal token may be revoked: make a new one under Account & Settings.",
    False: "Copy it again from Account & Settings; a legacy key also needs legacy tokens enabled for the organization.",
}


def _refused(where: str, answer: requests.Response, *, personal: bool) -> LabelStudioError:
    detail = _detail(answer)
    status = answer.status_code
    if status == 401:
        rule, advice = f"{where} accepts LABEL_STUDIO_API_KEY", _KEY_ADVICE[personal]
    elif status == 403:
        rule, advice = f"{where} is allowed to this user", "Use the key of a user of that organization."
    elif status == 404:
        rule, advice = f"{where} exists", "Check the project's id with `loop doctor`; it may have been deleted."
    elif status >= 500:
        rule, advice = f"{where} works", "Look into Label Studio's own log, then run this again."
    else:
        rule, advice = f"{where} accepts what is sent", "Correct what it names."
    return LabelStudioError(rule, value=f"{status}: {detail}", next_step=advice, status=status)


def _detail(answer: requests.Response) -> str:
    """What the server says was wrong, without its page of HTML around it."""
    try:
        body = answer.json()
    except ValueError:
        return answer.reason or "no reason given"
    if not isinstance(body, dict):
        return str(body)[:_SHOWN_DETAIL]
    return str(body.get("validation_errors") or body.get("detail") or body)[:_SHOWN_DETAIL]
