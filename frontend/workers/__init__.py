"""Several processes that serve on one port, and the one that owns them and Triton."""
