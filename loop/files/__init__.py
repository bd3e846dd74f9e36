"""People's files: one module for each format, and import, export and prediction."""
