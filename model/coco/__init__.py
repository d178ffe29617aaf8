"""The one checked reader of COCO's files; knows nothing of TensorFlow, Beam or TFX."""
