"""For any WSGI server: `gunicorn "ml_backend.wsgi:application()"`. `python -m ml_backend` does more (see `serve`)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from ml_backend.libraries import make_app
from ml_backend.settings import ServerSettings

if TYPE_CHECKING:
    from flask import Flask


def application() -> Flask:
    """The app as the environment says. Raises ConfigError."""
    return make_app(ServerSettings.from_environ(os.environ), os.environ)
