"""`label-studio-ml start` runs this file; gunicorn takes `_wsgi:app`. The models are loaded before it answers."""

import argparse
import logging
import os
import sys

from model import NerTagger

from ml_backend.label_studio_ml_model import application
from ner.errors import RuleError

logging.basicConfig(
    level=os.environ.get("LOG_LEVEL") or "INFO", format="%(asctime)s %(levelname)s %(name)s: %(message)s"
)
try:
    app = application(NerTagger)
except RuleError as error:
    print(error, file=sys.stderr)  # noqa: T201
    # gunicorn ends, too, when a worker ends with 3 or 4 before it has started: a fault of the settings is no crash.
    sys.exit(3)

if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("-p", "--port", type=int, default=9090)
    parser.add_argument("--host", default="127.0.0.1")
    options = parser.parse_args()
    app.run(host=options.host, port=options.port, threaded=True)
