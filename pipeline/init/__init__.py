"""`tfx-rcnn init`: looks at a folder of pictures and writes a config that is fitted to it."""
