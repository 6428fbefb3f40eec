"""The network and its memory: weights, KV arena, products, CUDA graphs."""
