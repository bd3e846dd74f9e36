"""`loop weak ...`, a room of commands: sources of weak labels, suggestions for weak.toml, and files of votes."""
