"""The environment of each child: what it needs, and nothing of ours that it would take for its own."""

from __future__ import annotations

from collections.abc import Mapping

from loop.settings.settings import sqlite_url
from loop.up.credentials import Credentials
from loop.up.options import HOST, Options

# Label Studio reads its settings from variables with and without its prefix, so that our PORT would become its.
_NOT_LABEL_STUDIOS = ("HOST", "PORT", "LOG_LEVEL", "DEBUG", "WORKERS", "THREADS", "MODEL_DIR", "SECRET_KEY")
# What the project's own loop.toml says; a variable left over in the shell would point its commands elsewhere.
_NOT_THE_LOOPS = ("LOOP_HOME", "LOOP_STORE_URL", "MODEL_DIR", "PORT", "HOST")


def label_studio_environment(environ: Mapping[str, str], options: Options, user: Credentials) -> dict[str, str]:
    """Headless, local, nothing phoned home, and allowed to call a backend on this machine."""
    kept = {name: value for name, value in environ.items() if _is_kept(name)}
    return kept | {
        "LABEL_STUDIO_BASE_DATA_DIR": str(options.data / "label-studio"),
        "LABEL_STUDIO_HOST": options.url,
        "LABEL_STUDIO_USERNAME": user.user,
        "LABEL_STUDIO_PASSWORD": user.password,
        "LABEL_STUDIO_USER_TOKEN": user.api_key,
        "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
        "LABEL_STUDIO_COLLECT_ANALYTICS": "false",
        "LABEL_STUDIO_LATEST_VERSION_CHECK": "false",
        "LABEL_STUDIO_SENTRY_DSN": "",
        "LABEL_STUDIO_FRONTEND_SENTRY_DSN": "",
        "LABEL_STUDIO_ML_BLOCK_LOCAL_IP": "false",
        "LABEL_STUDIO_SSRF_PROTECTION_ENABLED": "false",
    }


def loop_environment(environ: Mapping[str, str], options: Options, user: Credentials) -> dict[str, str]:
    """For commands on the project, which its loop.toml configures."""
    kept = _without(environ, *_NOT_THE_LOOPS)
    return kept | {"LABEL_STUDIO_URL": options.url, "LABEL_STUDIO_API_KEY": user.api_key}


def backend_environment(environ: Mapping[str, str], options: Options) -> dict[str, str]:
    """For the ML backend, which reads the environment alone."""
    kept = _without(environ, *_NOT_THE_LOOPS, "LABEL_STUDIO_API_KEY")
    return kept | {
        "LOOP_STORE_URL": sqlite_url(options.project / "loop.db"),
        "MODEL_DIR": str(options.project / "models"),
        "HOST": HOST,
        "PORT": str(options.backend_port),
    }


def _is_kept(name: str) -> bool:
    foreign = ("LABEL_STUDIO_", "HEARTEX_", "DJANGO_", "POSTGRE", "BASIC_AUTH_", "LOOP_")
    return name not in _NOT_LABEL_STUDIOS and not name.startswith(foreign)


def _without(environ: Mapping[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in environ.items() if name not in names}
