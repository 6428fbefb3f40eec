"""Prompts, and tokens as text."""
