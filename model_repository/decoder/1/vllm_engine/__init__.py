"""vLLM's engine behind the decoder's tensors; it runs in a process and an environment of its own (process/)."""
