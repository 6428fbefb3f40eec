"""Other ways to run Qwen3-ASR on the same machine, weights and clips, each in an environment of its own."""
