"""`python -m perf speakers`: how right it is who speaks, and what it costs."""
