"""What a service of a container does where only a person can mend its start: it says so once, and waits.

An engine starts a container that has ended again and again. The log then fills with one and the same error, and looks
as if something were at work. A service that waits is shown as unhealthy, with the error as the last line of its log.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping

from ner.errors import ConfigError

VARIABLE = "HOLD_WHEN_MISCONFIGURED"


def hold(environ: Mapping[str, str], exit_code: int, told: str = "") -> None:
    """Wait for a signal where the variable is set and a service is about to end with the exit code of a ConfigError.

    `told` is printed before. SIGTERM and SIGINT end the process with that exit code: the first process of a container
    does not heed a signal that it has no handler for.
    """
    if not environ.get(VARIABLE) or exit_code != ConfigError.exit_code:
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: sys.exit(exit_code))
    waits = "This service waits now. Mend the above, then restart it."
    print(*filter(None, (told, waits)), sep="\n", file=sys.stderr, flush=True)  # noqa: T201 - the edge prints
    while True:
        signal.pause()
