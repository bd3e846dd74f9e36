"""The report of an attempt at a promotion, or of a rollback: facts, then sections, then HTML, Markdown and JSON."""
