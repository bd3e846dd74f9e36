"""The server that pre-labels tasks for Label Studio."""
