"""Entries of weak.toml that gold speaks for and that no source has yet."""
