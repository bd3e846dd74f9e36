"""What `scripts/up` may be told, and what must hold before anything is started."""

from __future__ import annotations

import argparse
import fcntl
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ner.errors import ConfigError, RuleError

HOST = "127.0.0.1"
DEFAULT_EXAMPLE = "it_support"


class InUseError(RuleError):
    """Another `up` holds the data folder."""

    exit_code = 6


@dataclass(frozen=True)
class Options:
    """Ports on this machine, the folder that everything is kept in, and the example that was asked for, if any."""

    port: int
    backend_port: int
    data: Path
    example: str | None = None

    @property
    def url(self) -> str:
        """Label Studio's address."""
        return f"http://{HOST}:{self.port}"

    @property
    def backend_url(self) -> str:
        """The ML backend's address."""
        return f"http://{HOST}:{self.backend_port}"

    @property
    def project(self) -> Path:
        """The project folder, with its loop.toml."""
        return self.data / "project"

    @property
    def logs(self) -> Path:
        """Where the output of every child goes."""
        return self.data / "logs"


def read_options(words: Sequence[str]) -> Options:
    """Parse the command line; argparse ends the program with 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="scripts/up",
        description="Start Label Studio, the ML backend and the loop on a bundled example, with everything set up. "
        "Run it again and it picks up where it was. Ctrl-C ends all of it.",
    )
    parser.add_argument("--port", type=_port, default=8080, help="of Label Studio (default: 8080)")
    parser.add_argument("--backend-port", type=_port, default=9090, help="of the ML backend (default: 9090)")
    example = f"a folder of examples/ (default: the one that is in the data folder, or {DEFAULT_EXAMPLE})"
    parser.add_argument("--example", metavar="NAME", help=example)
    folder = (
        "everything is kept there: Label Studio's files, the store, the models, the logs. It holds one example "
        f"(default: ./data for {DEFAULT_EXAMPLE}, ./data-NAME for another example)"
    )
    parser.add_argument("--data", type=Path, metavar="DIR", help=folder)
    read = parser.parse_args(list(words))
    data = read.data or Path("data" if read.example in (None, DEFAULT_EXAMPLE) else f"data-{read.example}")
    return Options(read.port, read.backend_port, data.expanduser().resolve(), read.example)


def _port(word: str) -> int:
    if not word.isdigit() or not 0 < int(word) < 65536:
        raise argparse.ArgumentTypeError(f"a port lies in 1..65535, got {word}")
    return int(word)


def check_ports(options: Options) -> None:
    """Raise ConfigError for a port that is taken. Label Studio itself would silently take the next port."""
    if options.port == options.backend_port:
        raise ConfigError("the two ports differ", value=options.port, next_step="Choose another --backend-port.")
    for option, port in (("--port", options.port), ("--backend-port", options.backend_port)):
        try:
            socket.create_server((HOST, port)).close()
        except OSError as error:
            raise ConfigError(
                f"the port of {option} is free",
                value=f"{port} is in use on this machine",
                next_step=f"Stop what listens there, or choose another: ./scripts/up {option} {port + 1}",
            ) from error


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Make the data folder if it is missing, and hold it.

    The lock is the kernel's and ends with the process, however the process ends. Raises InUseError while another
    process holds the folder, ConfigError for a folder that cannot be made or written to.
    """
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / ".up.lock").open("a")
    except OSError as error:
        raise ConfigError(
            "--data names a folder that can be made and written to",
            value=f"{data} ({error.strerror})",
            next_step="Choose another --data DIR.",
        ) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InUseError(
                "one `up` at a time works in a data folder",
                value=str(data),
                next_step="Stop the other `up`, or choose another folder with --data.",
            ) from error
        yield
