"""Other people's formats: PyTorch, ONNX, C."""
