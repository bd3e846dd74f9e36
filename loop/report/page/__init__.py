"""A report as its readers see it: sections made of blocks, as HTML and as Markdown."""
