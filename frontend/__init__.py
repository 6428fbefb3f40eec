"""The HTTP frontend: a translator from OpenAI's API to Triton, and the embedded Triton it can start."""

__version__ = "0.1.0"
