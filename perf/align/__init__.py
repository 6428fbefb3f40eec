"""`python -m perf align`: how right, how costly and how late word times are."""
