"""Languages in the layouts of other tools: ONNX, sentence-transformers and Immich."""
