"""What `scripts/up` may be told, and what must hold before anything is started."""

from __future__ import annotations

import argparse
import fcntl
import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ner.errors import ConfigError, RuleError

HOST = "127.0.0.1"


class InUseError(RuleError):
    """Another `up` holds the data folder."""

    exit_code = 6


@dataclass(frozen=True)
class Options:
    """Ports on this machine, and the folder that everything is kept in."""

    port: int
    backend_port: int
    data: Path

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
        """Where every child's output goes."""
        return self.data / "logs"


def read_options(words: Sequence[str]) -> Options:
    """Parse the command line; argparse ends the program with 2 for wrong usage."""
    parser = argparse.ArgumentParser(
        prog="scripts/up",
        description="Start Label Studio, the ML backend and the loop on the bundled example, with everything set up. "
        "Run it again and it picks up where it was. Ctrl-C ends all of it.",
    )
    parser.add_argument("--port", type=_port, default=8080, help="of Label Studio (default: 8080)")
    parser.add_argument("--backend-port", type=_port, default=9090, help="of the ML backend (default: 9090)")
    parser.add_argument(
        "--data",
        type=Path,
        default=Path("data"),
        metavar="DIR",
        help="everything is kept there: Label Studio's files, the store, the models, the logs (default: ./data)",
    )
    read = parser.parse_args(list(words))
    return Options(read.port, read.backend_port, read.data.expanduser().resolve())


def check_ports(options: Options) -> None:
    """Raise ConfigError for a port that is taken: Label Studio itself would silently take the next one."""
    if options.port == options.backend_port:
        raise ConfigError("the two ports differ", value=options.port, next_step="Give --backend-port another one.")
    for option, port in (("--port", options.port), ("--backend-port", options.backend_port)):
        if not _is_free(port):
            raise ConfigError(
                f"the port of {option} is free",
                value=f"{port} is in use on this machine",
                next_step=f"Stop what listens there, or choose another: ./scripts/up {option} {port + 1}",
            )


@contextmanager
def held(data: Path) -> Iterator[None]:
    """Hold the data folder, which is made when missing; InUseError while another process does.

    The lock is the kernel's and ends with the process, however it ends. ConfigError for a folder that cannot be made
    or written to.
    """
    handle = _lock_file(data)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        os.close(handle)
        raise InUseError(
            "one `up` at a time works in a data folder",
            value=str(data),
            next_step="Stop the other one, or name another folder with --data.",
        ) from error
    try:
        yield
    finally:
        os.close(handle)


def _lock_file(data: Path) -> int:
    try:
        data.mkdir(parents=True, exist_ok=True)
        return os.open(data / ".up.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise ConfigError(
            "--data names a folder that can be made and written to",
            value=f"{data} ({error.strerror})",
            next_step="Name another with --data DIR.",
        ) from error


def _port(word: str) -> int:
    if not word.isdigit() or not 0 < int(word) < 65536:
        raise argparse.ArgumentTypeError(f"a port lies in 1..65535, got {word}")
    return int(word)


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True
