"""`make bench`: how fast and how large, as a table, beside a named alternative measured in the same run."""
