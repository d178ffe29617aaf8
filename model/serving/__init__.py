"""A local endpoint in TensorFlow Serving's REST form, and a page to try a model on."""
