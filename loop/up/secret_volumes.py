"""`python -m loop.up.secret_volumes make|show|set NAME`: the passwords and tokens of docker-compose.yml, in files.

`make` keeps every secret that is there, makes at random what is missing, and writes each service's files anew from the
kept ones. Each service's files are a volume of their own, so no service sees what is another's. `show` prints what a
person needs to log in. `set` replaces one secret by what a person types, or by a line on standard input.
"""

from __future__ import annotations

import getpass
import json
import os
import secrets
import shlex
import sys
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from urllib.parse import quote

from loop import console
from loop.settings.whole_files import write_whole
from ner.errors import ConfigError, InputError, RuleError

PLACE = Path("/run")
_KEPT = "secrets-kept/secrets.json"
# The volumes are read by the users of other images. Who may read a file is decided by who has the volume.
_FOR_EVERY_USER = 0o444


@dataclass(frozen=True, repr=False)
class Secrets:
    """Every secret of the installation; the first three are PostgreSQL's."""

    postgres_password: str
    label_studio_database_password: str
    store_database_password: str
    label_studio_password: str
    label_studio_token: str
    backend_password: str


def make(place: Path) -> tuple[str, ...]:
    """Make what is missing, and write the files of every service; the names of the secrets that are new."""
    kept = _read(place / _KEPT)
    # Label Studio's legacy token has 40 hexadecimal digits.
    made = {field.name: secrets.token_hex(20) for field in fields(Secrets) if not kept.get(field.name)}
    whole = Secrets(**{field.name: made.get(field.name) or kept[field.name] for field in fields(Secrets)})
    _write(place / _KEPT, json.dumps(asdict(whole), indent=2) + "\n", 0o400)
    for name, text in files_of(whole).items():
        _write(place / name, text, _FOR_EVERY_USER)
    return tuple(made)


def replace(place: Path, name: str, ask: Callable[[], str]) -> None:
    """Keep what `ask` gives as the secret `name`, and write the files of every service."""
    kept = _made_before(place / _KEPT)
    names = [field.name for field in fields(Secrets)]
    if name not in names:
        raise ConfigError("a secret is one of " + ", ".join(names), value=name)
    value = ask().strip()
    if not value:
        raise ConfigError("a secret is a line of text", value="nothing", next_step="Nothing was changed.")
    _write(place / _KEPT, json.dumps({**kept, name: value}, indent=2) + "\n", 0o400)
    make(place)


def files_of(whole: Secrets) -> dict[str, str]:
    """The text of each file that services read, by its path under the place of the volumes."""
    names = ("postgres_password", "label_studio_database_password", "store_database_password")
    environment = {
        "POSTGRE_PASSWORD": whole.label_studio_database_password,
        "LABEL_STUDIO_PASSWORD": whole.label_studio_password,
        "LABEL_STUDIO_USER_TOKEN": whole.label_studio_token,
    }
    store_url = f"postgresql+psycopg://loop:{quote(whole.store_database_password, safe='')}@postgres:5432/loop"
    return {
        **{f"secrets-postgres/{name}": getattr(whole, name) for name in names},
        "secrets-label-studio/environment": "".join(
            f"export {name}={shlex.quote(value)}\n" for name, value in environment.items()
        ),
        "secrets-backend/store_url": store_url,
        "secrets-backend/backend_password": whole.backend_password,
        "secrets-loop/store_url": store_url,
        "secrets-loop/label_studio_token": whole.label_studio_token,
        "secrets-loop/backend_password": whole.backend_password,
    }


def _read(path: Path) -> dict[str, str]:
    try:
        kept = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return {}
    except PermissionError:
        raise _other_owner(path) from None
    except (OSError, ValueError) as error:
        raise _unreadable(path, type(error).__name__) from None
    if not isinstance(kept, dict) or not all(isinstance(value, str) for value in kept.values()):
        raise _unreadable(path, "not what `make` writes")
    return kept


def _typed(name: str) -> str:
    return getpass.getpass(f"{name}: ") if sys.stdin.isatty() else sys.stdin.readline()


def _made_before(path: Path) -> dict[str, str]:
    kept = _read(path)
    if not kept.get("label_studio_password"):
        raise ConfigError(
            "the secrets were made",
            value=f"none in {path}",
            next_step="Make them first: `docker compose up` does, with the word make.",
        )
    return kept


def _unreadable(path: Path, why: str) -> ConfigError:
    return ConfigError(
        "the kept secrets can be read",
        value=f"{path} ({why})",
        next_step="Restore the volume of that file from a backup.",
    )


def _other_owner(path: Path) -> ConfigError:
    return ConfigError(
        "the volumes of the secrets can be read and written",
        value=f"{path.parent} as user {os.getuid()}",
        next_step=f"The volume may be of an older installation: `chown -R {os.getuid()}` its folder.",
    )


def _write(path: Path, text: str, mode: int) -> None:
    try:
        write_whole(path, text)
        path.chmod(mode)
    except (OSError, InputError) as error:
        raise _other_owner(path) from error


def main(words: list[str], environ: Mapping[str, str], place: Path = PLACE) -> int:
    """Do what the one word says. Gives the exit code."""
    os.umask(0o077)
    try:
        if words == ["make"]:
            new = make(place)
            console.stderr().print("secrets made: " + ", ".join(new) if new else "every secret was there already")
        elif words == ["show"]:
            kept = _made_before(place / _KEPT)
            console.stdout().print(f"user      {environ.get('LABEL_STUDIO_USERNAME', '')}", highlight=False)
            console.stdout().print(f"password  {kept['label_studio_password']}", highlight=False)
        elif words[:1] == ["set"] and len(words) == 2:
            replace(place, words[1], lambda: _typed(words[1]))
            console.stderr().print(f"{words[1]} was replaced: restart the services that use it", highlight=False)
        else:
            raise ConfigError("the words are make, show, or set NAME", value=" ".join(words))
    except RuleError as error:
        console.stderr().print(str(error), markup=False, highlight=False)
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
