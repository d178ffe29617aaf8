"""`tfx-rcnn look`: a local page of data and predictions; without TensorFlow, TFX and Beam."""
