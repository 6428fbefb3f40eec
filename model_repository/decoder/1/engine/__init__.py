"""Who runs next, step by step."""
