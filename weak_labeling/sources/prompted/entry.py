"""The keys of `kind = "prompt"` in weak.toml, and what they may be."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field

from ner.containers import with_secret_files
from ner.errors import ConfigError
from weak_labeling.sources.entry import EntryError, SourceContext, SourceEntry, Text
from weak_labeling.sources.prompted.chat import ChatSettings
from weak_labeling.sources.prompted.reading import answer_schema
from weak_labeling.sources.prompted.source import PromptSource
from weak_labeling.sources.prompted.spending import SpendingLimits


class PromptEntry(SourceEntry):
    """The keys of a prompted model; docs/weak_labels.md explains each."""

    url: Text
    model: Text
    labels: tuple[Text, ...] = ()
    api_key: Text | None = None
    response_format: Literal["auto", "json_schema", "json_object", "none"] = "auto"
    body: dict[str, object] | None = None
    price_in: float | None = Field(None, ge=0)
    price_out: float | None = Field(None, ge=0)
    max_texts: int | None = Field(None, ge=0)
    max_cost: float | None = Field(None, ge=0)
    concurrency: int = Field(4, ge=1, le=64)
    seconds: float = Field(60.0, gt=0)
    retries: int = Field(4, ge=0, le=20)
    most_chars: int = Field(20_000, ge=1)
    examples: int = Field(0, ge=0, le=50)

    def used_labels(self) -> Iterator[tuple[str, str]]:
        """As of every entry."""
        yield from (("labels", label) for label in self.labels)

    def build(self, place: SourceContext) -> PromptSource:
        """The source, which has not asked anything yet."""
        wanted = self.labels or place.labels
        shown = place.tools.examples()[: self.examples] if self.examples else ()
        return PromptSource(
            self.name,
            self._chat(place, wanted),
            {label: place.definitions.get(label, "") for label in wanted},
            place.tools.answers,
            shown if len(shown) == self.examples else (),  # else the question would change with each new gold text
            SpendingLimits(self.max_texts, self.max_cost),
            self.concurrency,
            self.most_chars,
        )

    def _chat(self, place: SourceContext, labels: Sequence[str]) -> ChatSettings:
        body = _BODY if self.body is None else self.body
        _check_body(body)
        return ChatSettings(
            _address(self.url),
            self.model,
            None if self.api_key is None else _key(self.api_key, place),
            body,
            _formats(self.response_format, labels),
            self.seconds,
            self.retries,
            self._prices(),
        )

    def _prices(self) -> tuple[float, float] | None:
        if self.price_in is not None and self.price_out is not None:
            return self.price_in, self.price_out
        missing = "price_in" if self.price_in is None else "price_out"
        if self.max_cost is not None or self.price_in is not self.price_out:
            raise EntryError(
                "a cost is reckoned from the prices of a million tokens in and out",
                key="max_cost" if self.max_cost is not None else missing,
                value=f"no {missing}",
                next_step="Set price_in and price_out.",
            )
        return None


_VARIABLE = re.compile(r"[A-Z][A-Z0-9_]*")
_BODY = {"temperature": 0, "max_tokens": 2048}
_OWN_KEYS = {"model", "messages", "stream", "response_format", "n"}


def _formats(wanted: str, labels: Sequence[str]) -> tuple[Mapping[str, Any] | None, ...]:
    """Values of `response_format`, the best first."""
    schema = {"name": "entities", "strict": True, "schema": answer_schema(labels)}
    known: Mapping[str, Mapping[str, Any] | None] = {
        "json_schema": {"type": "json_schema", "json_schema": schema},
        "json_object": {"type": "json_object"},
        "none": None,
    }
    return tuple(known.values()) if wanted == "auto" else (known[wanted],)


def _check_body(body: Mapping[str, object]) -> None:
    """Raise EntryError for what cannot be sent, or is sent anyway."""
    try:
        json.dumps(body)
    except TypeError as error:
        raise EntryError("`body` can be sent as JSON", key="body", value=str(error)) from None
    if taken := sorted(_OWN_KEYS & body.keys()):
        raise EntryError(
            "`body` holds settings of the model alone", key="body", value=taken[0], next_step="Leave this key out."
        )


def _address(url: str) -> str:
    """The address before `/chat/completions`. Raises EntryError, which never shows a password."""
    next_step = 'Write url = "http://127.0.0.1:11434/v1", say.'
    try:
        parts = urlsplit(url)
        has_host = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        has_host = False
    if not has_host:
        raise EntryError("the address of a model is an http or https URL", key="url", value=url, next_step=next_step)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        raise EntryError(
            "the address of a model holds neither a user nor parameters",
            key="url",
            value=parts.hostname,
            next_step="Hand a key over in a variable, and name the variable as api_key.",
        )
    return url.strip().rstrip("/").removesuffix("/chat/completions")


def _key(variable: str, place: SourceContext) -> str:
    """The secret in this variable of the environment, or in the file that VARIABLE_FILE names; it is in no message."""
    if not _VARIABLE.fullmatch(variable):
        raise EntryError(
            "api_key is the name of a variable of the environment, and never the key itself",
            key="api_key",
            value="something else",
            next_step='Write api_key = "OPENAI_API_KEY", say, and set that variable.',
        )
    try:
        key = with_secret_files(place.tools.environ, [variable]).get(variable, "").strip()
    except ConfigError as error:
        raise EntryError(error.rule, key="api_key", value=error.value, next_step=error.next_step) from None
    if not key or not key.isascii() or not key.isprintable():
        raise EntryError(
            "api_key names a variable of the environment that holds a key of printable ASCII",
            key="api_key",
            value=f"{variable}, which {'holds another character' if key else 'is not set'}",
            next_step="Set the variable, or VARIABLE_FILE with the path of a file that holds the key.",
        )
    return key
