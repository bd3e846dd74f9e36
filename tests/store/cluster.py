"""A throw-away PostgreSQL of the tests' own: its own folder, port and user, gone when they end."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg

_BINARIES = Path("/usr/lib/postgresql")
_numbers = itertools.count()


def binaries() -> Path | None:
    """The folder of the newest PostgreSQL that Debian's packages installed, or None."""
    found = [folder for folder in _BINARIES.glob("*/bin") if (folder / "initdb").exists()]
    return max(found, key=lambda folder: float(folder.parent.name), default=None)


class Cluster:
    """A running server that trusts this machine; makes and drops databases."""

    def __init__(self, port: int) -> None:
        self._port = port

    def url(self, database: str) -> str:
        """The SQLAlchemy address of a database."""
        return f"postgresql+psycopg://loop@127.0.0.1:{self._port}/{database}"

    def create(self, template: str = "template1") -> str:
        """The name of a new database, a copy of the template."""
        name = f"test_{next(_numbers)}"
        self._execute(f"CREATE DATABASE {name} TEMPLATE {template}")
        return name

    def drop(self, database: str) -> None:
        """Drop a database, whoever is still connected to it."""
        self._execute(f"DROP DATABASE {database} WITH (FORCE)")

    def _execute(self, statement: str) -> None:
        address = f"host=127.0.0.1 port={self._port} user=loop dbname=postgres"
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[call-overload]


@contextmanager
def running(folder_of_binaries: Path) -> Iterator[Cluster]:
    """A server for as long as the block lasts; PostgreSQL refuses root, so root hands over to another user."""
    user = _user() if os.geteuid() == 0 else None
    # Root's own temporary folder may be closed to the other user; /tmp is not.
    folder = Path(tempfile.mkdtemp(prefix="store-tests-", dir=None if user is None else "/tmp"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    data, port = folder / "data", free_port()

    def call(program: str, *arguments: str) -> None:
        who = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        command = [str(folder_of_binaries / program), *arguments]
        with (folder / "output.log").open("ab") as output:
            subprocess.run(command, check=True, cwd=folder, stdout=output, stderr=output, timeout=120, **who)

    try:
        call("initdb", "-D", str(data), "-U", "loop", "-A", "trust", "-E", "UTF8", "--no-locale", "--no-sync")
        options = f"-p {port} -c listen_addresses=127.0.0.1 -c unix_socket_directories='{folder}' -c fsync=off"
        call("pg_ctl", "-D", str(data), "-w", "-l", str(folder / "server.log"), "-o", options, "start")
        try:
            yield Cluster(port)
        finally:
            call("pg_ctl", "-D", str(data), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("postgres")
    except KeyError:
        return pwd.getpwnam("nobody")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
