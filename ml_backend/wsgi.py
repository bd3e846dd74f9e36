"""For any WSGI server: `gunicorn "ml_backend.wsgi:application()"`. `python -m ml_backend` does more (see `serve`)."""

from __future__ import annotations

import os

from flask import Flask

from ml_backend.app import create_app
from ml_backend.settings import Settings


def application() -> Flask:
    """The app as the environment says. Raises ConfigError."""
    return create_app(Settings.from_environ(os.environ))
