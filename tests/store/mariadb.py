"""A throw-away MariaDB of the tests' own: its own folder, port and user, gone when they end."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pymysql
from pymysql.constants import CLIENT

from tests.store.cluster import free_port

_START_SECONDS = 30
# One statement a line; LOOP is a word of MariaDB's, hence the quotes.
_USER = "CREATE USER 'loop'@'127.0.0.1';\nGRANT ALL ON *.* TO 'loop'@'127.0.0.1';\n"
_numbers = itertools.count()


def binaries() -> tuple[str, str] | None:
    """The programs that make a data folder and that serve it, or None."""
    path = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/usr/bin"])
    install, serve = shutil.which("mariadb-install-db", path=path), shutil.which("mariadbd", path=path)
    return None if install is None or serve is None else (install, serve)


class Server:
    """A running server that trusts this machine; makes and drops databases."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._copies: dict[str, str] = {}

    def url(self, database: str) -> str:
        """The SQLAlchemy address of a database."""
        # Without TLS: pymysql reads all certificates of the system anew for each connection.
        return f"mariadb+pymysql://loop@127.0.0.1:{self._port}/{database}?ssl_disabled=true"

    def create(self, template: str | None = None) -> str:
        """The name of a new database, with the tables of the template, its triggers and its schema's version."""
        name = f"test_{next(_numbers)}"
        if template is not None and template not in self._copies:
            self._copies[template] = self._statements(template)
        # By another collation than the store's own: it must not lean on the database's.
        made = f"CREATE DATABASE {name} CHARACTER SET latin1; USE {name}; "
        self._execute(made + (self._copies[template] if template else ""))
        return name

    def drop(self, database: str) -> None:
        """Drop a database, whoever is still connected to it."""
        with self._connect() as connection, connection.cursor() as cursor:
            cursor.execute("SELECT id FROM information_schema.processlist WHERE db = %s", [database])
            for (process,) in cursor.fetchall():
                with suppress(pymysql.err.OperationalError):  # it has gone meanwhile
                    cursor.execute(f"KILL {process}")
            cursor.execute(f"DROP DATABASE {database}")

    def _statements(self, database: str) -> str:
        """What makes the tables, triggers and version of a database again: MariaDB has no templates."""
        with self._connect(database=database) as connection, connection.cursor() as cursor:

            def rows(statement: str) -> list[Any]:
                cursor.execute(statement)
                return list(cursor.fetchall())

            made = ["SET foreign_key_checks = 0"]
            made += [rows(f"SHOW CREATE TABLE `{table}`")[0][1] for (table,) in rows("SHOW TABLES")]
            made += [rows(f"SHOW CREATE TRIGGER `{row[0]}`")[0][2] for row in rows("SHOW TRIGGERS")]
            version = rows("SELECT version_num FROM alembic_version")[0][0]
            made += [f"INSERT INTO alembic_version VALUES ('{version}')", "SET foreign_key_checks = 1"]
        return "; ".join(made)

    def _execute(self, statements: str) -> None:
        with self._connect(client_flag=CLIENT.MULTI_STATEMENTS) as connection, connection.cursor() as cursor:
            cursor.execute(statements)
            while cursor.nextset():
                pass

    def _connect(self, **options: Any) -> Any:
        return pymysql.connect(
            host="127.0.0.1", port=self._port, user="loop", ssl_disabled=True, autocommit=True, **options
        )


@contextmanager
def running(programs: tuple[str, str]) -> Iterator[Server]:
    """A server for as long as the block lasts; as root it runs under another user."""
    user = _user() if os.geteuid() == 0 else None
    # Root's own temporary folder may be closed to the other user; /tmp is not.
    folder = Path(tempfile.mkdtemp(prefix="store-tests-", dir=None if user is None else "/tmp"))
    if user is not None:
        os.chown(folder, user.pw_uid, user.pw_gid)
    who: dict[str, Any] = {} if user is None else {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
    data, port = folder / "data", free_port()
    (folder / "init.sql").write_text(_USER)
    install, serve = programs
    with (folder / "output.log").open("ab") as output:
        where = ["--no-defaults", f"--datadir={data}"]
        made = [install, *where, "--auth-root-authentication-method=normal", "--skip-test-db"]
        options = [
            *(f"--port={port}", "--bind-address=127.0.0.1", "--skip-name-resolve", f"--socket={folder / 'socket'}"),
            *(f"--pid-file={folder / 'pid'}", f"--init-file={folder / 'init.sql'}", "--innodb-flush-method=nosync"),
            *("--innodb-flush-log-at-trx-commit=0", "--innodb-buffer-pool-size=64M", "--innodb-doublewrite=0"),
            # Tables are made and dropped for each test: not a file for each, and nothing waits for the disk.
            *("--innodb-file-per-table=0", "--sync-frm=0", "--innodb-stats-persistent=0", "--skip-log-bin"),
        ]
        try:
            subprocess.run(made, check=True, cwd=folder, stdout=output, stderr=output, timeout=120, **who)
            process = subprocess.Popen([serve, *where, *options], cwd=folder, stdout=output, stderr=output, **who)
            try:
                _wait_for(port, process, folder / "output.log")
                yield Server(port)
            finally:
                process.kill()
                process.wait(60)
        finally:
            shutil.rmtree(folder, ignore_errors=True)


def _wait_for(port: int, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while True:
        try:
            pymysql.connect(host="127.0.0.1", port=port, user="loop", ssl_disabled=True).close()
            return
        except pymysql.err.OperationalError:
            if process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"mariadbd did not start: {log.read_text(errors='replace')[-2000:]}") from None
            time.sleep(0.05)


def _user() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("mysql")
    except KeyError:
        return pwd.getpwnam("nobody")
