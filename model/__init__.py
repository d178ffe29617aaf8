"""The detector as a plain library: input, model, training, export. Knows neither TFX nor Beam."""

from tfx_rcnn import settle_if_main

settle_if_main()
