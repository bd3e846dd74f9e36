"""Backup, restore and upgrade of a project."""
