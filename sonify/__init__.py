"""How frames become sound: score, mappings, lanes, instruments, offline rendering, and ears that measure the result."""
