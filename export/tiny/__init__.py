"""The tiny checkpoints: Qwen3-ASR's architecture, small enough for git, trained on spoken digits."""
