"""The commands of `loop`, thin: each asks the core and prints what it returned."""
