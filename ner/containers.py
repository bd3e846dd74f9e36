"""What a program does for the container it may run in: secrets from files, and no restart where only a person can help.

Where NAME is a variable with a secret, NAME_FILE may name a file that holds the secret. Container engines and
orchestrators hand secrets over this way: a variable shows in `docker inspect`, a file does not.

An engine starts a container that has ended again and again. The log then fills with one and the same error, and looks
as if something were at work. A service that waits is shown as unhealthy, with the error as the last line of its log.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path

from ner.errors import ConfigError

HOLD = "HOLD_WHEN_MISCONFIGURED"


def with_secret_files(environ: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """The environment, with NAME set from the file that NAME_FILE names, for each of `names`.

    White space at both ends of the file's content does not count. Raises ConfigError where both variables are set, and
    for a file that cannot be read as UTF-8 or holds nothing; no message shows what is in the file.
    """
    found = dict(environ)
    for name in names:
        path = environ.get(f"{name}_FILE", "")
        if path:
            found[name] = _secret(name, path, is_set=bool(environ.get(name)))
    return found


def with_variables(environ: Mapping[str, str], values: Mapping[str, str]) -> dict[str, str]:
    """The environment with `values`. A NAME_FILE of one of them is left out: the value takes the place of the file."""
    replaced = {f"{name}_FILE" for name in values}
    return {**{name: value for name, value in environ.items() if name not in replaced}, **values}


def hold(environ: Mapping[str, str], exit_code: int, told: str = "") -> None:
    """Wait for a signal where the variable is set and a service is about to end with the exit code of a ConfigError.

    `told` is printed before. SIGTERM and SIGINT end the process with that exit code: the first process of a container
    does not heed a signal that it has no handler for.
    """
    if not environ.get(HOLD) or exit_code != ConfigError.exit_code:
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(exit_code))
    waits = "This service waits now. Mend the above, then restart it."
    print(*filter(None, (told, waits)), sep="\n", file=sys.stderr, flush=True)  # noqa: T201 - the edge prints
    while True:
        signal.pause()


def _secret(name: str, path: str, *, is_set: bool) -> str:
    if is_set:
        both = f"both {name} and {name}_FILE"
        raise ConfigError(
            f"a secret stands in {name} or in the file of {name}_FILE", value=both, next_step="Unset one."
        )
    try:
        secret = Path(path).read_text("utf-8-sig").strip()
    except (OSError, ValueError) as error:  # a UnicodeDecodeError's own words may quote the secret
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8"
        raise ConfigError(
            f"{name}_FILE names a file that this user can read",
            value=f"{path} ({reason})",
            next_step="Correct the path, or the owner and the mode of the file and of its folders.",
        ) from None
    if not secret:
        raise ConfigError(
            f"the file of {name}_FILE holds the secret", value=f"{path}, which is empty", next_step="Write it."
        )
    return secret
