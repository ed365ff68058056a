"""Textual widgets of the studio."""
