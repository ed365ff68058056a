"""Sources and the pieces made of them: what a performance emits, before anything is heard, seen or stored."""
