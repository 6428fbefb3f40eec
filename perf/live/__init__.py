"""Benchmarks of live transcription."""
