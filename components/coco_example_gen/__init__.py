"""CocoExampleGen: a COCO-format folder in, examples and rejects out."""
