"""What goes round: the steps of a cycle, the service that repeats them, and the status."""
