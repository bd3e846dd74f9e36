"""`python -m ml_backend` starts the server."""

import sys

from ml_backend.serve import main

sys.exit(main())
