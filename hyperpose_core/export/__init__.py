"""Networks as ONNX files, and the engine that runs them."""
