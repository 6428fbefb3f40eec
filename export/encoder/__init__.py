"""The block encoder: as PyTorch, ONNX, eight bits and TensorRT plans."""
