"""The detector as a plain library: input, model, training, export. Knows neither TFX nor Beam."""
