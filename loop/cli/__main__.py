"""`python -m loop.cli` is the `loop` command."""

from loop.cli.app import main

if __name__ == "__main__":
    main()
