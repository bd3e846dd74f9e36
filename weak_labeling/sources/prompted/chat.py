"""A client of chat completions over HTTP, as OpenAI, Ollama, vLLM and llama.cpp serve them (`/v1/chat/completions`).

Whatever a server does, a question ends within a bounded time, in an answer or in an error that names what was wrong.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError, ReadTimeoutError
from urllib3.util import Retry

from ner.errors import InputError
from weak_labeling.sources.answers import PromptAnswer

_LARGEST_ANSWER = 8 * 1024 * 1024
_PIECE = 64 * 1024
_SHOWN = 160
_PASSING = frozenset({408, 425, 429})
_REFUSED = frozenset({400, 422})
_CHARACTERS_A_TOKEN = 3
_PORTS: Mapping[str, int] = {"http": 80, "https": 443}

Messages = Sequence[Mapping[str, str]]


class ChatError(InputError):
    """A server gave no answer. `down`: the next question will most likely end in the same way."""

    def __init__(self, rule: str, *, value: object, next_step: str = "", down: bool = False) -> None:
        super().__init__(rule, value=value, next_step=next_step)
        self.down = down


class _PassingError(ChatError):
    """What may be gone a moment later. `pause`: the seconds that the server asks for."""

    pause: float = 0.0


@dataclass(frozen=True)
class ChatSettings:
    """What is asked, and how.

    url: the address before `/chat/completions`. api_key: None for a server without one. body: what is sent beside the
    model, the messages and the format. formats: values of `response_format`, the best first; None sends none. seconds:
    how long one request may take. retries: how often a request is repeated. prices: per million tokens in and out.
    first_pause, longest_pause: seconds; pauses double. The longest pause also bounds what a server asks for.
    """

    url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    body: Mapping[str, Any] = field(default_factory=dict)
    formats: tuple[Mapping[str, Any] | None, ...] = (None,)
    seconds: float = 60.0
    retries: int = 4
    prices: tuple[float, float] | None = None
    first_pause: float = 1.0
    longest_pause: float = 30.0

    @property
    def server(self) -> str:
        """The address as one server is told from another: without a user, a password and parameters."""
        parts = urlsplit(self.url)
        port = parts.port or _PORTS.get(parts.scheme)
        return f"{parts.scheme}://{parts.hostname}:{port}{parts.path.rstrip('/')}"


class ChatClient:
    """Asks one server. Threads may share a client. The API key is in no message and no repr.

    wait: sleeps for so many seconds, and says whether the client should give up meanwhile.
    """

    def __init__(self, settings: ChatSettings, wait: Callable[[float], bool]) -> None:
        self._settings, self._wait = settings, wait
        self._formats = list(settings.formats)
        self._session = requests.Session()
        # A proxy that the environment names cannot reach this machine's own addresses.
        self._session.trust_env = not _is_loopback(settings.url)

    def ask(self, messages: Messages) -> PromptAnswer:
        """The first choice of the server. Raises ChatError.

        Repeated, with pauses that double, are requests that found no server, a broken connection, a time limit, or a
        status of 408, 425, 429 or 500 and above. `Retry-After` is heeded.
        """
        pause = self._settings.first_pause
        for turn in range(self._settings.retries + 1):
            try:
                return self._in_a_format(messages)
            except _PassingError as error:
                asked = min(max(pause, error.pause), self._settings.longest_pause)
                if turn == self._settings.retries or self._wait(asked):
                    raise
                pause *= 2
        raise AssertionError("the last turn returns or raises")

    def _in_a_format(self, messages: Messages) -> PromptAnswer:
        """Asked in the best format that the server takes. A format that it refuses is not sent again."""
        while True:
            form = self._formats[0]
            try:
                return self._once(messages, form)
            except _FormatError:
                if self._formats[0] is form:  # else another thread has dropped it already
                    del self._formats[0]

    def _once(self, messages: Messages, form: Mapping[str, Any] | None) -> PromptAnswer:
        begin = time.monotonic()
        body = {"model": self._settings.model, "messages": list(messages), "stream": False, **self._settings.body}
        if form is not None:
            body["response_format"] = form
        try:
            status, headers, payload = self._send(body, begin + self._settings.seconds)
        except (requests.ReadTimeout, ReadTimeoutError, TimeoutError):
            raise _PassingError(
                "the server of a prompted model answers in time",
                value=f"{self._settings.url}: no whole answer within {self._settings.seconds:g} s",
                next_step="Raise `seconds`, or lower `concurrency`, or `max_tokens` in `body`.",
                down=True,
            ) from None
        except (requests.RequestException, HTTPError, OSError) as error:
            raise _PassingError(
                "the server of a prompted model answers",
                value=f"{self._settings.url}: {type(error).__name__}",
                next_step="Start the server, or correct `url`.",
                down=True,
            ) from None
        if status != 200:
            self._refuse(status, headers, payload, can_change=form is not None and len(self._formats) > 1)
        return self._answer(payload, messages, time.monotonic() - begin)

    def _send(self, body: Mapping[str, Any], deadline: float) -> tuple[int, Mapping[str, str], bytes]:
        """(status, headers, body of the answer)."""
        with self._session.post(
            f"{self._settings.url}/chat/completions",
            json=body,
            auth=self._authorized,
            timeout=(min(10.0, self._settings.seconds), self._settings.seconds),
            allow_redirects=False,
            stream=True,
        ) as answer:
            payload = bytearray()
            while piece := answer.raw.read1(_PIECE, decode_content=True):
                payload += piece
                if len(payload) > _LARGEST_ANSWER:
                    raise ChatError(
                        f"an answer has at most {_LARGEST_ANSWER:,} bytes", value="more", next_step="Lower max_tokens."
                    )
                if time.monotonic() > deadline:  # it comes drop by drop
                    raise TimeoutError
            return answer.status_code, answer.headers, bytes(payload)

    def _authorized(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        """Sets the header. It stands as `auth` of the request, so that an entry of ~/.netrc does not replace it."""
        if self._settings.api_key is not None:
            request.headers["Authorization"] = f"Bearer {self._settings.api_key}"
        return request

    def _refuse(self, status: int, headers: Mapping[str, str], payload: bytes, *, can_change: bool) -> None:
        told = self._told(payload)
        if can_change and status in _REFUSED and any(word in told for word in ("format", "schema", "json", "grammar")):
            raise _FormatError("", value="")
        rule, value = "the server of a prompted model answers", f"status {status}: {told}"
        if status >= 500 or status in _PASSING:
            passing = _PassingError(rule, value=value, next_step="Look into the server's own log.", down=True)
            passing.pause = _retry_after(headers)
            raise passing
        raise ChatError(rule, value=value, next_step=_ADVICE.get(status, ""), down=status not in _REFUSED)

    def _told(self, payload: bytes) -> str:
        """The server's own words, on one line, without the key that was sent."""
        told = " ".join(payload[: 16 * _SHOWN].decode("utf-8", "replace").split())
        if self._settings.api_key:
            told = told.replace(self._settings.api_key, "(the API key)")
        return "".join(letter for letter in told[:_SHOWN] if letter.isprintable()) or "no reason given"

    def _answer(self, payload: bytes, messages: Messages, seconds: float) -> PromptAnswer:
        try:
            told = json.loads(payload)
            choice = told["choices"][0]
            content, finish = choice["message"]["content"], choice.get("finish_reason")
            if not isinstance(content, str):
                raise TypeError
        except (ValueError, RecursionError, LookupError, TypeError, AttributeError):
            raise ChatError(
                "the server answers a chat completion in JSON, with words in it",
                value=self._told(payload),
                next_step="Correct `url`: another program may listen there.",
            ) from None
        usage = told.get("usage")
        counts = [_count(usage, name) for name in ("prompt_tokens", "completion_tokens")]
        sent = sum(len(message["content"]) for message in messages)
        cost = self._cost(counts, (sent, len(content)))
        return PromptAnswer(content, str(finish or "stop"), seconds, counts[0], counts[1], cost)

    def _cost(self, tokens: Sequence[int | None], characters: tuple[int, int]) -> float | None:
        """What the tokens cost; tokens that the server does not tell are reckoned from the characters."""
        if self._settings.prices is None:
            return None
        reckoned = [
            length / _CHARACTERS_A_TOKEN if number is None else number
            for number, length in zip(tokens, characters, strict=True)
        ]
        return sum(price * number for price, number in zip(self._settings.prices, reckoned, strict=True)) / 1e6


class _FormatError(ChatError):
    """The server does not know this `response_format`."""


_ADVICE = {
    401: "Correct the API key.",
    403: "Correct the API key.",
    404: "Correct `model` and `url`; for Ollama, fetch the model by `ollama pull`.",
    **dict.fromkeys(range(300, 400), "Set `url` to the address that it redirects to."),
}


def _count(usage: object, name: str) -> int | None:
    number = usage.get(name) if isinstance(usage, dict) else None
    return number if type(number) is int and 0 <= number < 2**31 else None


def _retry_after(headers: Mapping[str, str]) -> float:
    try:
        return max(0.0, Retry().parse_retry_after(headers.get("Retry-After", "0")))
    except (HTTPError, OverflowError):
        return 0.0


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
