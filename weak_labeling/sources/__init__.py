"""The kinds of sources that `weak.toml` declares, one module each."""
