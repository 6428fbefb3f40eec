"""What the room and the process of vLLM share, and that process itself."""
