"""The sound engine: a process of its own that plays patches and files live, told by commands and by a ring of lanes.

Whoever only talks to it (`client`, `commands`, `patch`, `ring`) never loads pyo.
"""
