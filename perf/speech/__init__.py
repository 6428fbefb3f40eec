"""Clips and conversations to measure with."""
