"""`scripts/up`: Label Studio, the ML backend and the service as children of one supervisor, on a ready project."""
