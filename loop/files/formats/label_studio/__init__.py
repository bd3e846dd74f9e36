"""What Label Studio exports and imports: JSON, JSON-MIN, CSV, CONLL2003, bare tasks."""
