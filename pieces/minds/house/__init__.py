"""The house mind: the drawings it has learned from, how it was trained, and by what it is judged."""
