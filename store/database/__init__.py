"""The database itself: its tables, how a program opens it, how its schema changes, and its content as a file."""
