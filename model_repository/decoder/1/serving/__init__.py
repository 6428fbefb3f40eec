"""Between Triton and the engine: inputs, answers, metrics, settings."""
