"""What a profile takes of a GPU's memory, added up from dimensions: nothing here needs a GPU, or PyTorch."""
