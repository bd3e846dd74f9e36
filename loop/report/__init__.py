"""The report of an attempt at a promotion, or of a rollback: its content, and that content as HTML and Markdown."""
