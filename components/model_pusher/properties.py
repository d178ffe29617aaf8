"""Names of custom properties of artifacts; the first three are TFX's own, of a PushedModel."""

PUSHED = "pushed"  # int, 1 or 0
DESTINATION = "pushed_destination"  # the version's folder
VERSION = "pushed_version"  # str
MODEL_ID = "model_id"  # str

# Of a ModelBlessing, beside TFX's: what was evaluated, by digests (docs/evaluation_gate.md).
MODEL_DIGEST = "model_digest"  # str, of the model's files
EXAMPLES_DIGEST = "examples_digest"  # str
SPLIT = "split"  # str
DECISION_DIGEST = "decision_digest"  # str, of decision.json, settings and thresholds included
