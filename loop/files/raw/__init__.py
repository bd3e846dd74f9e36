"""A file before a format reads it: unpacked, as lines or values of JSON; and what a file is that no format reads."""
