"""Unsaved work, kept in a file after every change."""
