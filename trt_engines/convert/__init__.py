"""One-time converters of third-party weights to ONNX. They read data; they never execute it."""
