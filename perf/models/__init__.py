"""Networks of random weights in true dimensions, and the rooms without Triton."""
