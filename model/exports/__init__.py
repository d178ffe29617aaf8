"""Other forms of an exported model: float16, ONNX, TFLite; each compared with the SavedModel."""
