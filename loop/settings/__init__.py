"""What loop.toml and the environment say, and the files of a project."""
