"""`python -m ml_backend` starts the server."""

import sys

from ml_backend.serve import main

if __name__ == "__main__":  # a worker process imports this module under another name
    sys.exit(main())
