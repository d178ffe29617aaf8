"""Names of the custom properties of a PushedModel; the first three are TFX's own."""

PUSHED = "pushed"  # int, 1 or 0
DESTINATION = "pushed_destination"  # the version's folder
VERSION = "pushed_version"  # str
MODEL_ID = "model_id"  # str
