"""The command line: it parses, asks the core, and prints the answer. Nothing is decided here."""
