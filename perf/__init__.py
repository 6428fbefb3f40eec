"""Clients that measure and show: benchmarks, load generators, the demo."""
