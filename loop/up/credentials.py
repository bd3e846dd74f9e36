"""The first user of Label Studio: made once, kept in a file that only its owner can read."""

from __future__ import annotations

import json
import os
import secrets
from dataclasses import asdict, dataclass, field
from pathlib import Path

from ner.errors import ConfigError

USER = "annotator@loop.local"
FILE_NAME, KEY_NAME = "credentials", "api-key"


@dataclass(frozen=True)
class Credentials:
    """Log-in and API key (a legacy token of 40 hexadecimal digits)."""

    user: str
    password: str = field(repr=False)
    api_key: str = field(repr=False)


def credentials_in(data: Path) -> Credentials:
    """Those in `data/credentials`, made up and stored first when there are none; the key also stands in `data/api-key`.

    Raises ConfigError for a file that is not what this wrote.
    """
    path = data / FILE_NAME
    if not path.exists():
        made = Credentials(USER, secrets.token_urlsafe(12), secrets.token_hex(20))
        write_private(path, json.dumps(asdict(made), indent=2) + "\n")
    try:
        found = Credentials(**json.loads(path.read_text("utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise ConfigError(
            f"{path} holds user, password and api_key as JSON",
            value=type(error).__name__,
            next_step="Restore it, or start anew in another folder with --data.",
        ) from error
    write_private(data / KEY_NAME, found.api_key + "\n")
    return found


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner may read at any moment, whole or not at all."""
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())
    draft.replace(path)
