"""The components of the pipeline: TFX wiring around code of our own, one folder each."""
