"""Exhibitions: what a programme plays, in order, unattended."""
