"""Benchmarks of the parts alone."""
