"""Routes, and what they answer."""
